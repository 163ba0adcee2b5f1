"""How a pipeline is run: once, or several times if it says so (`tune:`, `keep:`)."""

from __future__ import annotations

from lorapipe.pipeline.execution.runner import PipelineRun, Run
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.tuning.successive_halving import SuccessiveHalving
from lorapipe.tuning.tuner import Tuning


def run_class(pipeline: Pipeline) -> type[PipelineRun]:
    """Return the class that runs a pipeline: `Tuning` if it has `tune:`, `SuccessiveHalving` if `keep:`, else `Run`."""
    if pipeline.tune is not None:
        return Tuning
    return Run if pipeline.halved is None else SuccessiveHalving
