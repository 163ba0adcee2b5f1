"""Writes the report as data (`report.json`, see `report_data`). The same results give the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from lorapipe.evaluation.base_comparison import BaseComparison, OnBase
from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.grid_plan import PART_PROMPTS, Cell
from lorapipe.evaluation.probe_losses import Probe
from lorapipe.evaluation.report_data import (
    CellData,
    OnBaseData,
    ProbeData,
    ReportData,
    ScoredCell,
    TagData,
    VerdictData,
)
from lorapipe.evaluation.results import TagEffect
from lorapipe.evaluation.scorer import CellScores
from lorapipe.evaluation.selection import following, identity, merit, merit_error
from lorapipe.evaluation.tag_effects import idle_tags
from lorapipe.evaluation.verdict import Verdict


def report_data(
    result: EvaluationResult, about: Mapping[str, str], compared: BaseComparison | None = None
) -> ReportData:
    """The data of a report. `about` are the settings by name, `compared` is there where there were several bases."""
    probes = sorted({0: result.results.probe, **result.results.probes}.items())
    data = ReportData(
        version=2,
        verdict=_verdict(result.verdict),
        cells=[_scored_cell(cell, scored) for cell, scored in sorted(result.scored.items())],
        idle_tags=[*idle_tags(result.scored[result.best].tags, result.verdict.state)],
        apart=[_scored_cell(cell, scored) for cell, scored in sorted(result.apart.items())],
        apart_prompts=min(PART_PROMPTS, len(result.images.prompts)) if result.apart else 0,
        probe={str(step): _probe(probe) for step, probe in probes},
        prompts=list(result.images.prompts),
        about=dict(about),
    )
    if compared is not None:
        data["bases"] = [_on_base(each) for each in compared.bases]
    return data


def _on_base(each: OnBase) -> OnBaseData:
    scores = each.scores
    return OnBaseData(
        name=each.name,
        strength=each.strength,
        works=not each.failure,
        failure=each.failure,
        identity=identity(scores) if scores else None,
        following=following(scores) if scores else None,
        merit=merit(scores) if scores else None,
    )


def _verdict(verdict: Verdict) -> VerdictData:
    return VerdictData(
        state=verdict.state,
        best=_cell(verdict.best),
        agreement=verdict.agreement,
        headline=verdict.headline,
        reasons=list(verdict.reasons),
        advice=[{"what": advice.what, "patch": dict(advice.patch)} for advice in verdict.advice],
    )


def _cell(cell: Cell) -> CellData:
    return CellData(step=cell.step, strength=cell.strength, text_encoder=cell.text_encoder)


def _scored_cell(cell: Cell, scored: CellScores) -> ScoredCell:
    scores, stats = scored.scores, scored.image_stats
    return ScoredCell(
        **_cell(cell),
        identity=identity(scores) if scores else None,
        following=following(scores) if scores else None,
        merit=merit(scores) if scores else None,
        merit_error=merit_error(scores) if scores else None,
        measures=scored.means,
        tags={tag: _tag(each) for tag, each in scored.tags.items()},
        saturation=stats.saturation,
        contrast=stats.contrast,
        broken=scored.broken,
    )


def _tag(found: TagEffect) -> TagData:
    return TagData(effect=found.effect, error=found.error, captions=found.captions)


def _probe(probe: Probe) -> ProbeData:
    return ProbeData(training=fmean(probe.training), held_out=fmean(probe.held_out) if probe.held_out else None)


def as_json(value: Mapping[str, object]) -> str:
    """Readable JSON: floats of six digits (no small rate becomes 0), and null for what is not finite."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
