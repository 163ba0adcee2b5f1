"""The rounds of a tuning: the pipeline of each, what its judges say, and which of them the store already has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError, Problem
from lorapipe.percent import percent
from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Artifact, Report, Weights
from lorapipe.pipeline.plan import Plan, plan
from lorapipe.pipeline.tune_options import CAPTIONS_FROM, TUNE, Tunable, TuneOptions, problems, tunable
from lorapipe.spec import Ref
from lorapipe.training_record import TrainingRecord
from lorapipe.tuning.judgement import Advice, Judgement, judgement_of
from lorapipe.tuning.knobs import shown, values_of, with_values
from lorapipe.tuning.search import Change, End, Limits, Origin, Round, Values, best_of, next_change

if TYPE_CHECKING:
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.pipeline import Pipeline

LEAKS = "leaks"
"""The state of a LoRA that paints unasked what all its pictures share."""
SURER = "surer"
"""The knob of a judge that lets it paint more pictures."""
WHY: Mapping[Origin, str] = {
    "start": "The pipeline's own settings.",
    "advice": "Round {0} is {1}:",
    "further": "Round {0} is {1}, and asks for the same as before, so it goes twice as far:",
    "halved": "From round {0}, which is {1}, the whole of this made it worse, so half of it is tried:",
    "bisected": "Verdicts are opposed, so it goes between them, from round {0}, which is {1}:",
}
ENDS: Mapping[str, str] = {
    "good": "It is good at strength 1.",
    "rounds": "All rounds are used.",
    "hours": "Another round would take too long.",
    "nothing": "No free setting is known that would make it better.",
}


@dataclass(frozen=True)
class TuningState:
    """A tuning so far: its rounds, the reports and the change of each, and how it ended (None: it has not)."""

    pipeline: Pipeline
    of: Tunable
    rounds: tuple[Round, ...] = ()
    reports: tuple[Mapping[str, Report], ...] = ()
    changes: tuple[Change | None, ...] = ()
    end: End | None = None

    @property
    def best(self) -> Round:
        """The best round."""
        return self.rounds[best_of(self.rounds)]

    def settings(self, change: Change | None) -> Values:
        """All settings that differ from the pipeline's own after a change."""
        return {} if change is None else {**self.rounds[change.base].change, **change.values}


def begun(pipeline: Pipeline) -> TuningState:
    """A tuning without rounds. Raises `InputError` with all that keeps the pipeline from being tuned."""
    options = pipeline.tune or TuneOptions()
    if found := [*problems(options, pipeline.stages)]:
        raise InputError([pipeline.located(each.under(TUNE)) for each in found])
    return TuningState(pipeline, tunable(options, pipeline.stages))


def limits_of(pipeline: Pipeline) -> Limits:
    """The limits of a tuning."""
    options = pipeline.tune or TuneOptions()
    return Limits(options.rounds, options.hours * 3600 if options.hours else math.inf)


def pipeline_of(tuned: TuningState, settings: Values) -> Pipeline:
    """The whole pipeline with these settings of the tuned stage. `InputError` if the stage refuses them.

    Judges paint more pictures where they are not sure, since a verdict that is not names no settings.
    """
    stages = dict(tuned.pipeline.stages)
    for judge in tuned.of.judges:
        if getattr(stages[judge], SURER, "") == "never":
            stages[judge] = replace(stages[judge], **{SURER: "auto"})
    own = {name: value for name, value in settings.items() if name != CAPTIONS_FROM}
    stage = stages[tuned.of.stage] = with_values(stages[tuned.of.stage], own)
    if settings.get(CAPTIONS_FROM):
        stages[tuned.of.dataset] = replace(stages[tuned.of.dataset], **{CAPTIONS_FROM: Ref(tuned.of.captions)})
    found: list[Problem] = [*stage.problems(), *stage.problems_among(stages)]
    if found:
        raise InputError([replace(each, where=each.where or tuned.of.stage) for each in found])
    order, _ = references.in_order({name: references.needs(each) for name, each in stages.items()})
    return replace(tuned.pipeline, stages={name: stages[name] for name in order})


def next_of(tuned: TuningState) -> Change | End:
    """What the search says after the rounds so far. Settings that the stage refuses are passed over."""

    def allowed(settings: Values) -> bool:
        try:
            pipeline_of(tuned, settings)
        except InputError:
            return False
        return True

    free = tuned.of.free | ({CAPTIONS_FROM} if tuned.of.captions else frozenset[str]())
    return next_change(tuned.rounds, free, limits_of(tuned.pipeline), allowed)


def with_round(
    tuned: TuningState, change: Change | None, pipeline: Pipeline, artifacts: Mapping[str, Artifact], seconds: float
) -> TuningState:
    """The tuning with a round more, by its artifacts; `seconds` is what it cost."""
    of = tuned.of
    reports = {name: cast(Report, artifacts[name]) for name in of.judges}
    judgements = tuple(judgement_of(name, report.data) for name, report in reports.items())
    settings = tuned.settings(change)
    values = values_of(pipeline.stages[of.stage], of.free, _steps(cast(Weights, artifacts[of.stage])))
    if of.captions:
        values[CAPTIONS_FROM] = settings.get(CAPTIONS_FROM, 0.0)
        judgements = tuple(with_other_captions(each, of.captions) for each in judgements)
    round = Round(
        values,
        judgements,
        settings,
        -1 if change is None else change.base,
        "start" if change is None else change.origin,
        () if change is None else (*change.values,),
        seconds,
    )
    return replace(
        tuned,
        rounds=(*tuned.rounds, round),
        reports=(*tuned.reports, reports),
        changes=(*tuned.changes, change),
    )


def with_other_captions(judgement: Judgement, captions: str) -> Judgement:
    """A judgement that says first, where the LoRA leaks, to take the captions of stage `captions`."""
    if judgement.state != LEAKS:
        return judgement
    what = f"Its captions do not say what all its pictures share, so the dataset takes those of {captions}."
    return replace(judgement, advice=(Advice(what, {CAPTIONS_FROM: 1.0}), *judgement.advice))


def _steps(weights: Weights) -> int:
    """The steps that were trained."""
    return TrainingRecord.load(weights.training).steps if weights.training else weights.snapshots[-1].step


def seconds_of(pipeline: Pipeline, of: Tunable, ledger: Ledger) -> float:
    """How long a round's training and judges took, whichever run has made their results."""
    return _seconds(plan(pipeline, ledger), of)


def _seconds(planned: Plan, of: Tunable) -> float:
    names = {of.stage, *of.judges}
    found = [step.result.manifest for step in planned.stages if step.name in names and step.result is not None]
    return sum(float(each["finished"]) - float(each["started"]) for each in found)


def stored(pipeline: Pipeline, ledger: Ledger) -> tuple[TuningState, Change | None, Pipeline]:
    """The rounds whose results are in the store, the change that follows them (None before the first), and the pipeline to
    run next: that of the next round, or, at the end, the whole one with the best settings. Runs and writes nothing.
    """
    tuned, change = begun(pipeline), None
    while True:
        following = pipeline_of(tuned, tuned.settings(change)).with_needs(tuned.of.judges)
        planned = plan(following, ledger)
        if planned.artifacts is None:
            return tuned, change, following
        tuned = with_round(tuned, change, following, planned.artifacts, _seconds(planned, tuned.of))
        found = next_of(tuned)
        if isinstance(found, End):
            return replace(tuned, end=found), None, pipeline_of(tuned, tuned.best.change)
        change = found


# -------------------------------------------------------------------------------------------------------------- texts


def moved_text(rounds: Sequence[Round], change: Change) -> str:
    """What a change moves: `unet_lr 0.0008 → 0.0001, steps 600 → 800`."""
    before = rounds[change.base].values
    return ", ".join(_moved(name, before[name], value) for name, value in change.values.items())


def _moved(name: str, before: float, value: float) -> str:
    if name == CAPTIONS_FROM:
        return "the captions of the caption stage" if value else "its own captions"
    return f"{name} {shown(before)} → {shown(value)}"


def why_text(change: Change) -> str:
    """Why a change is made, in a sentence or two."""
    return f"{WHY[change.origin].format(change.base + 1, change.state)} {change.why}"


def change_text(rounds: Sequence[Round], change: Change) -> str:
    """A change for the log: `round 2: unet_lr 0.0008 → 0.0001. Round 1 is broken: …`."""
    return f"round {len(rounds) + 1}: {moved_text(rounds, change)}. {why_text(change)}"


def told(tuned: TuningState, change: Change | None) -> list[str]:
    """The rounds that are done, and what comes next, as a plan shows them."""
    lines = [
        f"round {place + 1}: {', '.join(f'{each.state} at strength {each.strength:g}' for each in round.judgements)}, "
        f"merit {percent(round.merit)} at strength 1"
        for place, round in enumerate(tuned.rounds)
    ]
    if tuned.end is not None:
        return [*lines, end_text(tuned)]
    most = f"at most {limits_of(tuned.pipeline).rounds} rounds, of which this is the first:"
    return [*lines, change_text(tuned.rounds, change) if change else most]


def end_text(tuned: TuningState) -> str:
    """How a tuning has ended, in two sentences."""
    assert tuned.end is not None
    return f"{_the_best(tuned)} {ENDS[tuned.end.reason]}"


def _the_best(tuned: TuningState) -> str:
    place = best_of(tuned.rounds)
    return f"Round {place + 1} of {len(tuned.rounds)} is the best: merit {percent(tuned.rounds[place].merit)} at strength 1."
