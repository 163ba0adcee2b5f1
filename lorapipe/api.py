"""The Python API: load a pipeline, plan it, run it.

    import lorapipe

    pipeline = lorapipe.load("cat.yaml", ["penny.steps=2000"])
    for stage in lorapipe.plan(pipeline).stages:
        print(stage.name, stage.action, stage.reason)
    artifacts = lorapipe.run(pipeline)

`Run` iterates over the events: `for event in lorapipe.Run(pipeline): …`. Nothing here loads torch: stages do, in processes
of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import closing

from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.events import Event
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.loader import load
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import Plan
from lorapipe.pipeline.plan import plan as make_plan
from lorapipe.tuning.next_run import next_run
from lorapipe.tuning.run_class import run_class
from lorapipe.tuning.tuner import Tuning

__all__ = ["Pipeline", "Plan", "Run", "Tuning", "load", "plan", "run"]


def plan(pipeline: Pipeline, anew: Set[str] = frozenset()) -> Plan:
    """Plan a run of the pipeline: which stages would run, and why. Writes nothing. Stages in `anew` always run.

    Of a pipeline that is tuned, or whose matrix is halved, it is the next round or part: see `next_run`.

    Raises `InputError` if a source cannot be read.
    """
    with closing(Ledger(pipeline.folder)) as ledger:
        return make_plan(next_run(pipeline, ledger).pipeline, ledger, anew)


def run(
    pipeline: Pipeline,
    on_event: Callable[[Event], None] | None = None,
    *,
    on: object = "local",
    devices: Sequence[str] = ("auto",),
    pool: Pool | None = None,
    anew: Set[str] = frozenset(),
    stopping: StopLevel = never_stop,
) -> dict[str, Artifact]:
    """Run the pipeline to the end, call `on_event` with every event, and return the artifacts by stage name.

    A pipeline with `tune:` is tuned, and the artifacts are those of the best round's settings.

    The keywords are those of `Run`: a launcher (`on`) and devices, or a `pool` of warm workers; stages to run `anew`;
    `stopping()` returns how urgently to stop. Raises `LorapipeError` with all failures, after every stage that does not
    depend on them has run, and `InputError` if the user must correct something before a run.
    """
    kind = run_class(pipeline)
    return kind(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping).finish(on_event)
