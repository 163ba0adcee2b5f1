"""The report as data: `report.json`, for programs. The same results give the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean

from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.scorer import CellScores
from lorapipe.evaluation.selection import merit


def data(result: EvaluationResult, about: Mapping[str, str]) -> dict[str, object]:
    """Everything as JSON types. `about` are the settings by name."""
    results = result.results
    return {
        "version": 1,
        "verdict": {**asdict(result.verdict), "best": asdict(result.best)},
        "cells": [_cell(cell, scored) for cell, scored in sorted(result.scored.items())],
        "probe": {
            str(step): {
                "training": fmean(probe.training),
                "held_out": fmean(probe.held_out) if probe.held_out else None,
            }
            for step, probe in sorted({0: results.probe, **results.probes}.items())
        },
        "prompts": result.images.prompts,
        "about": dict(about),
    }


def _cell(cell: Cell, scored: CellScores) -> dict[str, object]:
    scores = scored.scores
    return {
        **asdict(cell),
        "likeness": fmean(scores.likeness) if scores else None,
        "following": fmean(scores.following) if scores and scores.following else None,
        "merit": merit(scores) if scores else None,
        "clip_i": scored.image_similarity,
        "clip_t": scored.text_similarity,
        **asdict(scored.image_stats),
        "broken": scored.broken,
    }


def as_json(value: Mapping[str, object]) -> str:
    """Readable JSON: floats of six decimals, and null for what is not finite."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
