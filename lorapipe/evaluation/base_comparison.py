"""Compares what the same weights do on several bases: where they work, at which strength, and the snapshot for all.

Each base is judged by itself, its pictures against what it paints without the weights. The snapshot to use on all is the
one with the highest mean merit, each base at the strength that it needs there; that of the first base stays if it is as
good, by the margin within which merits are equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from lorapipe.evaluation.diagnosis import FAITHLESS, is_weak
from lorapipe.evaluation.failure_rules import RUINED
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import LEAST_MARGIN, Scores, choose, following, identity, merit


@dataclass(frozen=True)
class OnBase:
    """A snapshot on one base: the strength that it needs there, and why it fails, empty where it works.

    `scores` are None where nothing could be measured, which is a failure too.
    """

    name: str
    strength: float
    scores: Scores | None
    failure: str = ""

    @property
    def merit(self) -> float:
        """Identity × following × soundness, within 0 … 1; 0 where nothing could be measured."""
        return merit(self.scores) if self.scores else 0.0


@dataclass(frozen=True)
class BaseComparison:
    """The snapshot to use on all bases, and each base by its name, in the order in which they were given."""

    step: int
    bases: tuple[OnBase, ...]

    @property
    def works(self) -> bool:
        """Whether it works on every base."""
        return not any(each.failure for each in self.bases)

    @property
    def best(self) -> OnBase:
        """The base on which it works best."""
        return max(self.bases, key=lambda each: (not each.failure, each.merit))

    def reasons(self) -> tuple[str, ...]:
        """Return a sentence for each base, the best first."""
        others = [each for each in self.bases if each is not self.best]
        return (_first(self.best), *map(_other, others))

    def usage(self) -> str:
        """Return what a user of the file must know, in a sentence: "works best on A; on C at 0.7"."""
        best, others = self.best, [each for each in self.bases if each is not self.best]
        if best.failure:
            return f"Works on none of {', '.join(each.name for each in self.bases)}."
        said = [f"Works best on {best.name}{_at(best.strength)}"]
        said += [f"on {each.name} at {each.strength:g}" for each in others if not each.failure]
        said += [f"not on {each.name}: {each.failure}" for each in others if each.failure]
        return f"{'; '.join(said)}."


def compare(results: Mapping[str, Results], best: Cell) -> BaseComparison:
    """Compare the results of the same cells on several bases; `best` is the verdict's cell on the first."""
    steps = sorted({cell.step for each in results.values() for cell in each.cells if cell.step})
    by_step = {step: [_on_base(name, each, step) for name, each in results.items()] for step in steps}
    means = {step: fmean(each.merit for each in found) for step, found in by_step.items()}
    highest = max(means, key=lambda step: means[step])
    step = best.step if means.get(best.step, 0.0) >= means[highest] - LEAST_MARGIN else highest
    return BaseComparison(step, tuple(by_step[step]))


def _on_base(name: str, results: Results, step: int) -> OnBase:
    """A snapshot on a base at the strength that it needs there: the nearest to 1 of those that are as good as the best."""
    cells = {cell: each for cell, each in results.pooled.items() if cell.step == step and cell.uniform}
    if not cells:
        broken = any(cell.step == step for cell in results.broken)
        return OnBase(name, 1.0, None, "its pictures are broken" if broken else "nothing could be measured")
    chosen = choose(cells)
    scores = cells[chosen]
    return OnBase(name, chosen.strength, scores, _failure(results, scores))


def _failure(results: Results, scores: Scores) -> str:
    asked = following(scores)
    if scores.sound and fmean(scores.sound) < RUINED:
        return "its pictures are noise or burnt"
    if not math.isfinite(identity(scores)) or is_weak(results, scores):
        return "the likeness is weak"
    if asked is not None and asked < FAITHLESS:
        return "prompts are not followed"
    return ""


def _first(best: OnBase) -> str:
    if best.failure:
        return f"On {best.name} it fails: {best.failure}."
    return f"It works best on {best.name}, at strength {best.strength:g}."


def _other(each: OnBase) -> str:
    if each.failure:
        return f"On {each.name} it fails: {each.failure}."
    return f"On {each.name} it works at strength {each.strength:g}."


def _at(strength: float) -> str:
    return "" if strength == 1 else f" at {strength:g}"
