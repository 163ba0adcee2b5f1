"""How a pipeline is run: once, or, if it says so, in rounds."""

from __future__ import annotations

from collections.abc import Sequence, Set

from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.tuning.halving import Halving
from lorapipe.tuning.run_in_rounds import RunInRounds
from lorapipe.tuning.tuner import Tuning

__all__ = ["Run", "RunInRounds", "run_of"]


def run_of(
    pipeline: Pipeline,
    *,
    on: object = "local",
    devices: Sequence[str] = ("auto",),
    pool: Pool | None = None,
    anew: Set[str] = frozenset(),
    stopping: StopLevel = never_stop,
) -> Run | RunInRounds:
    """Return the run of a pipeline: a `Tuning` if it has `tune:`, a `Halving` if it has `keep:`, else a `Run`.

    The keywords are those of `Run`. Raises `InputError` if its files cannot be written.
    """
    if pipeline.tune is not None:
        return Tuning(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
    if pipeline.halved is not None:
        return Halving(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
    return Run(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
