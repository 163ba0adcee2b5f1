"""What an evaluation found, as events: metrics for tables and curves, and the verdict as a line."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from lorapipe.evaluation.selection import following, identity
from lorapipe.pipeline.events import Log, Metric

if TYPE_CHECKING:
    from lorapipe.evaluation.evaluation_result import EvaluationResult
    from lorapipe.pipeline.context import Context


def emit_metrics(result: EvaluationResult, context: Context) -> None:
    """Emit the scores of the snapshots as metrics, and the verdict as a log line."""
    for cell in result.row:
        scores, probe = result.scored[cell].scores, result.results.probes[cell.step]
        values = {"probe/training": fmean(probe.training)}
        if probe.held_out:
            values["probe/held_out"] = fmean(probe.held_out)
        if scores is not None:
            values["identity"] = identity(scores)
            if (asked := following(scores)) is not None:
                values["following"] = asked
        context.emit(Metric(step=cell.step, values=values))
    context.emit(Log(text=" ".join([f"{result.verdict.state}:", result.verdict.headline, *result.verdict.reasons])))
