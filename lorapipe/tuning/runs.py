"""How a pipeline is run: once, or, if it says so, in rounds."""

from __future__ import annotations

from collections.abc import Sequence, Set

from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.tuning.multi_run import MultiRun
from lorapipe.tuning.successive_halving import SuccessiveHalving
from lorapipe.tuning.tuner import Tuning

__all__ = ["MultiRun", "Run", "run_of"]


def run_of(
    pipeline: Pipeline,
    *,
    on: object = "local",
    devices: Sequence[str] = ("auto",),
    pool: Pool | None = None,
    anew: Set[str] = frozenset(),
    stopping: StopLevel = never_stop,
) -> Run | MultiRun:
    """Return the run of a pipeline: a `Tuning` if it has `tune:`, a `SuccessiveHalving` if it has `keep:`, else a `Run`.

    The keywords are those of `Run`. Raises `InputError` if its files cannot be written.
    """
    if pipeline.tune is not None:
        return Tuning(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
    if pipeline.halved is not None:
        return SuccessiveHalving(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
    return Run(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
