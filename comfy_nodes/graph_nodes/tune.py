"""Tune the training behind a report: `tune:` of a pipeline as a node."""

from __future__ import annotations

import inspect

from lorapipe.pipeline.artifacts import Report
from lorapipe.pipeline.tune_options import TuneOptions
from lorapipe.spec import from_dict, knobs

from ..graph_call import GraphCall, Shown
from ..node import Input, Node, Output
from ..results import results_of
from ..widgets import ABSENT, widget

NODE = Node(
    id="LorapipeTune",
    title="Tune (lorapipe)",
    category="lorapipe",
    help=f"{inspect.getdoc(TuneOptions)} Link the report of Evaluate. Nodes after this one get the best training of all "
    "rounds; later rounds reuse what did not change, and a cancelled tuning goes on where it was.",
    role="graph",
    search_words=("hyperparameters", "auto tune", "grid search"),
    inputs=(
        Input("report", "the report of the training to tune: of Evaluate", True, "LORAPIPE_REPORT"),
        *(
            Input(knob.name, knob.param.told, widget=shown, syntax=shown.syntax.strip())
            for knob in knobs(TuneOptions)
            for shown in (widget(knob),)
        ),
    ),
    outputs=(
        Output("report", "LORAPIPE_REPORT", "The report of the best round."),
        Output("best", "LORAPIPE_WEIGHTS", "The best weights of all rounds.", ("best",)),
        *(Output(each.name, each.socket, each.help) for each in results_of(Report) if each.socket != "IMAGE"),
        Output("page", "STRING", "The page that tells of all rounds."),
    ),
    is_end=True,
)


async def execute(call: GraphCall) -> Shown:
    """Run the rounds."""
    document: dict[str, object] = {}
    for each in NODE.inputs:
        if each.widget is not None and call.given.get(each.name) is not None:
            value = each.widget.from_widget(call.given[each.name])
            document |= {} if value is ABSENT else {each.name: value}
    options = from_dict(TuneOptions, document)
    stages, judge = call.reference("report")
    tuned = await call.tune(stages, options)
    report = tuned.artifacts[judge]
    places = {"report": f"${judge}", "best": f"${judge}.best"}
    links = {name: {"stages": tuned.stages, "value": place} for name, place in places.items()}
    found = {each.name: each.of(report) for each in results_of(Report) if each.socket != "IMAGE"}
    files = [str(path) for path in tuned.files]
    return Shown({**found, **links, "page": files[0]}, {"text": [*tuned.told, *files]}, tuned.files)
