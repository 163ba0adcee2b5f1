"""A comparison of trainings that were judged alike: their ranking, and which of their settings mattered.

Merits are those of the best snapshot at strength 1, with a standard error by the jackknife over pictures (Efron & Stein
1981). What a setting accounts for is the adjusted R² of a model of that setting alone: of a parabola in its value (in the
logarithm where values differ by factors), since the best rate lies between others; of means where it is no number. Whether
that is more than chance is asked of shuffled merits (a permutation test: Fisher 1935).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lorapipe.evaluation.report_data import at_full_strength
from lorapipe.evaluation.report_json import as_json as json_text
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from lorapipe.pipeline.artifacts import Report

SHUFFLES = 400
CHANCE = 0.1
"""The share of shuffles that may account for as much, for a setting to count as one that mattered."""
FEWEST = 4
"""Trainings below which nothing is said of settings."""
FACTOR = 3.0
"""Values of a setting that differ by more are compared in the logarithm."""
Plain = float | str


@dataclass(frozen=True)
class Entry:
    """A training: its settings by dotted names, its scores at strength 1, and its report. `place` is its number, from 0.

    `step` is the snapshot of the scores, `pictures` the folder of its report's pictures. `left_at` is the step after which
    it was left out of a matrix that is halved; None where it was trained to its end.
    """

    place: int
    settings: Mapping[str, Plain]
    state: str
    strength: float
    step: int
    identity: float
    following: float | None
    merit: float
    error: float
    prompts: tuple[str, ...]
    pictures: Path
    page: Path
    left_at: int | None = None


@dataclass(frozen=True)
class Effect:
    """What a setting accounts for of the differences in merit, 0 … 1, and whether that is more than chance.

    Where trainings were left out it is the ranking that it accounts for. `best` is its value in the best training.
    """

    setting: str
    share: float
    matters: bool
    best: Plain


@dataclass(frozen=True)
class Comparison:
    """Trainings, the best first; the settings in which they differ, those that account for most first."""

    ranking: tuple[Entry, ...]
    effects: tuple[Effect, ...]
    equal: int
    """How many of the first cannot be told from the best: within one standard error of the difference."""
    differing: str = ""
    """What the reports have not in common, though they should."""

    @property
    def leaves_out(self) -> bool:
        """Whether trainings were left out; these are the last."""
        return _leaves_out(self.ranking)

    @property
    def varied(self) -> tuple[str, ...]:
        """The settings in which the trainings differ."""
        return tuple(each.setting for each in self.effects)

    @property
    def headline(self) -> str:
        """The best in a sentence."""
        told = label(self.ranking[0], self.varied)
        if self.equal > 1:
            return f"The best is {told}; {self.equal - 1} more cannot be told from it."
        return f"The best is {told}."


def label(entry: Entry, varied: Sequence[str]) -> str:
    """A training by the settings in which it differs from the others."""
    told = [f"{name} {written(entry.settings[name])}" for name in varied if name in entry.settings]
    return ", ".join(told) or f"number {entry.place + 1}"


def written(value: Plain) -> str:
    """A value of a setting, as people write it."""
    return f"{value:g}" if isinstance(value, float) else value


def entries_of(reports: Sequence[Report]) -> list[Entry]:
    """Read what each report and the record of its training say."""
    return [_entry(place, report) for place, report in enumerate(reports)]


def _entry(place: int, report: Report) -> Entry:
    data = json.loads(report.data.read_text(encoding="utf-8"))
    cell = at_full_strength(data)
    training = report.best.training
    record = TrainingRecord.load(training) if training else None
    settings = dict(_flat(record.settings)) | {"steps": float(record.planned_steps)} if record else {}
    is_whole = record is None or record.stopped or record.steps >= record.planned_steps
    return Entry(
        place, settings, data["verdict"]["state"], data["verdict"]["best"]["strength"], cell["step"],
        cell.get("identity") or 0.0, cell.get("following"), cell.get("merit") or 0.0, cell.get("merit_error") or 0.0,
        tuple(data["prompts"]), report.data.parent / "pictures", report.page,
        None if record is None or is_whole else record.steps,
    )  # fmt: skip


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, Plain]]:
    """Settings by dotted names; lists are texts."""
    found: list[tuple[str, Plain]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        elif value is not None:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            found.append((f"{before}{name}", float(value) if is_number else str(value)))
    return found


def compared(entries: Sequence[Entry]) -> Comparison:
    """Rank the trainings, and find what mattered. Those that were left out come after those that went on."""
    ranking = tuple(sorted(entries, key=_order))
    names = dict.fromkeys(name for each in entries for name in each.settings)
    varied = [name for name in names if len({each.settings.get(name) for each in entries}) > 1]
    figures = _figures(ranking)
    effects = [_effect(name, ranking, figures) for name in varied]
    differing = "prompts" if len({each.prompts for each in entries}) > 1 else ""
    return Comparison(ranking, tuple(sorted(effects, key=lambda each: -each.share)), _equal(ranking), differing)


def _order(entry: Entry) -> tuple[float, float, int]:
    return -(entry.left_at or math.inf), -entry.merit, entry.place


def _equal(ranking: Sequence[Entry]) -> int:
    """How many of the first cannot be told from the best."""
    best = ranking[0]
    beside = [each for each in ranking if each.left_at == best.left_at]
    return sum(best.merit - each.merit <= math.hypot(best.error, each.error) for each in beside)


def _leaves_out(ranking: Sequence[Entry]) -> bool:
    """Whether the last of a ranking was left out before its end."""
    return ranking[-1].left_at is not None


def _figures(ranking: Sequence[Entry]) -> list[float]:
    """What settings are to account for: merits; the ranking where trainings were left out, at other numbers of steps."""
    if _leaves_out(ranking):
        return [float(-place) for place in range(len(ranking))]
    return [each.merit for each in ranking]


def _effect(name: str, ranking: Sequence[Entry], figures: Sequence[float]) -> Effect:
    values = [each.settings.get(name, "") for each in ranking]
    if len(ranking) < FEWEST:
        return Effect(name, 0.0, False, values[0])
    columns = _columns(values)
    share = explained(columns, figures)
    rng = Random(name)
    as_much = sum(explained(columns, rng.sample(figures, len(figures))) >= share for _ in range(SHUFFLES))
    return Effect(name, share, share > 0 and as_much < CHANCE * SHUFFLES, values[0])


def _columns(values: Sequence[Plain]) -> list[list[float]]:
    """The terms of a setting's model: value and square, or one for each value but the first."""
    numbers = [each for each in values if isinstance(each, float)]
    if len(numbers) == len(values):
        if min(numbers) > 0 and max(numbers) / min(numbers) > FACTOR:
            numbers = [math.log(each) for each in numbers]
        middle, width = fmean(numbers), max(numbers) - min(numbers)
        scaled = [(each - middle) / width for each in numbers]
        return [scaled, [each * each for each in scaled]] if len({*numbers}) > 2 else [scaled]
    kinds = [*dict.fromkeys(values)]
    return [[float(value == kind) for value in values] for kind in kinds[1:]]


def explained(columns: Sequence[Sequence[float]], merits: Sequence[float]) -> float:
    """Adjusted R² of a least-squares model with these terms and a constant, not below 0."""
    import numpy as np

    merit, count, terms = np.asarray(merits), len(merits), len(columns)
    whole = float(((merit - merit.mean()) ** 2).sum())
    if whole <= 1e-12 or count - terms - 1 <= 0:
        return 0.0
    matrix = np.column_stack([np.ones(count), *(np.asarray(each) for each in columns)])
    solution, *_ = np.linalg.lstsq(matrix, merit, rcond=None)
    left = float(((merit - matrix @ solution) ** 2).sum())
    return max(0.0, 1 - (left / whole) * (count - 1) / (count - terms - 1))


def as_json(found: Comparison) -> str:
    """The comparison for programs."""
    return json_text(
        {
            "version": 1,
            "headline": found.headline,
            "equal": found.equal,
            "ranking": [
                {
                    "report": each.place,
                    "settings": {name: each.settings.get(name) for name in found.varied},
                    "state": each.state,
                    "strength": each.strength,
                    "step": each.step,
                    "left_at": each.left_at,
                    "identity": each.identity,
                    "following": each.following,
                    "merit": each.merit,
                    "merit_error": each.error,
                }
                for each in found.ranking
            ],
            "effects": [
                {"setting": each.setting, "share": each.share, "matters": each.matters, "best": each.best}
                for each in found.effects
            ],
        }
    )
