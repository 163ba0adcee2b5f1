"""How a pipeline is run: once, or, if it says so, in rounds."""

from __future__ import annotations

from collections.abc import Sequence, Set

from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, StopLevel, never_stop
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.tuning.tuner import Tuning

__all__ = ["Run", "Tuning", "run_of"]


def run_of(
    pipeline: Pipeline,
    *,
    on: object = "local",
    devices: Sequence[str] = ("auto",),
    pool: Pool | None = None,
    anew: Set[str] = frozenset(),
    stopping: StopLevel = never_stop,
) -> Run | Tuning:
    """Return the run of a pipeline: a `Tuning` if it has `tune:`, else a `Run`. The keywords are those of `Run`.

    Raises `InputError` if its files cannot be written.
    """
    kind = Run if pipeline.tune is None else Tuning
    return kind(pipeline, on=on, devices=devices, pool=pool, anew=anew, stopping=stopping)
