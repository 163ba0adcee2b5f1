"""Selects the best snapshot and strength: arithmetic on figures of pictures, with neither torch nor pictures.

What is wanted first is that the pictures show the subject (or the style): **identity**. Prompts are followed best where
the subject is absent, because such pictures look like the base's; so cells are compared by **following** only if their
identity is at least half of the highest there is. Their *merit* is identity × following × the share that has no artefacts.

Figures come from a few pictures, so the highest is often the luckiest. A snapshot's figures are pooled with those of its
neighbours at the same strength, a quarter from each side (a triangular kernel: Nadaraya 1964), since trainings move
smoothly. Cells whose merit is within one standard error of the highest count as equal to it (the one-standard-error rule:
Breiman et al. 1984; Hastie et al. 2009, §7.10). Strength 1 is where a LoRA should work, and that it does not takes evidence:
the strength nearest 1 is chosen that has a cell equal to the highest, however large the error is. Of equals at that strength
the latest is chosen whose loss on held-out pictures, if there are enough, is not clearly above the lowest: training goes
on to mend details that features of a few pictures do not show, and over-fitting shows in that loss and in the merit. The
error is that of the *difference* between two cells, whose pictures share prompts and noise one by one: a jackknife over
those pairs (Efron & Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

from lorapipe.evaluation.grid_plan import Cell

LEAST_MARGIN, MOST_MARGIN = 0.02, 0.10
"""Merits closer than 0.02 are equal to the eye; and of snapshots, however noisy the pictures, a tenth is a difference."""
GATE = 0.5
"""Cells with this share of the highest identity show the subject, and are compared."""
ENOUGH = 0.7
"""With this share of another strength's merit strength 1 is as good to the eye: merit differs more than pictures do."""
NEIGHBOUR = 0.5
"""What a neighbouring snapshot counts, beside 1 of the snapshot itself."""


@dataclass(frozen=True)
class Scores:
    """How the pictures of a cell did, a number for each picture, in the same order of prompts and seeds in every cell.

    `identity`: 0 none of the subject or style, 1 as the training pictures show it. `following`: the share of what was
    asked for that can be seen, NaN where nothing was; None where it cannot be measured. `sound`: 1 no artefacts, 0
    nothing but these. `copied`: 1 a training picture itself, 0 as far from them as they are from each other. `heeded`:
    how much it is of its own prompt and not of the others, by what the base paints of them, NaN where a prompt asks for
    nothing.
    """

    identity: tuple[float, ...]
    following: tuple[float, ...] | None = None
    sound: tuple[float, ...] = ()
    copied: tuple[float, ...] = ()
    heeded: tuple[float, ...] = ()

    def of(self, places: Sequence[int]) -> Scores:
        """The same of some of its pictures, which may be there more than once."""

        def some(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(values[place] for place in places) if values else ()

        asked = None if self.following is None else some(self.following)
        return Scores(some(self.identity), asked, some(self.sound), some(self.copied), some(self.heeded))

    @cached_property
    def merits_without(self) -> tuple[float, ...]:
        """The merit of all pictures but one, for each of them: what a jackknife is made of."""
        asked = self.following
        factors = [_shares_without(each) for each in (self.identity, asked or (), self.sound) if each]
        return tuple(map(math.prod, zip(*factors, strict=True)))


def identity(scores: Scores) -> float:
    """Mean identity, 0 … 1."""
    return _share(scores.identity)


def following(scores: Scores) -> float | None:
    """Mean following of the pictures for which something was asked, 0 … 1."""
    return None if scores.following is None else _share(scores.following)


def following_error(scores: Scores) -> float:
    """The standard error of the mean following; 0 where fewer than two pictures have a figure."""
    kept = [value for value in scores.following or () if not math.isnan(value)]
    return stdev(kept) / math.sqrt(len(kept)) if len(kept) > 1 else 0.0


def heeded(scores: Scores) -> float | None:
    """Mean of `heeded` over the pictures whose prompt asks for something, 0 … 1; None where there are none."""
    return _share(scores.heeded) if any(not math.isnan(each) for each in scores.heeded) else None


def merit(scores: Scores) -> float:
    """Identity × following × soundness, each a mean within 0 … 1."""
    asked = following(scores)
    sound = _share(scores.sound) if scores.sound else 1.0
    return identity(scores) * (1.0 if asked is None else asked) * sound


def merit_error(scores: Scores) -> float:
    """The standard error of the merit, by a jackknife over the pictures; 0 for a single picture."""
    count = len(scores.identity)
    if count < 2:
        return 0.0
    return jackknife_error([merit(scores.of([*range(place), *range(place + 1, count)])) for place in range(count)])


def jackknife_error(without: Sequence[float]) -> float:
    """The standard error of a figure, from what it is without each picture in turn (Efron & Stein 1981)."""
    count, middle = len(without), fmean(without)
    return math.sqrt((count - 1) / count * sum((each - middle) ** 2 for each in without))


def _share(values: Sequence[float]) -> float:
    """The mean of those that are numbers, within 0 … 1; 0 where none is."""
    kept = [value for value in values if not math.isnan(value)]
    return min(max(fmean(kept), 0.0), 1.0) if kept else 0.0


def _shares_without(values: Sequence[float]) -> list[float]:
    """The same without each value in turn."""
    kept = [value for value in values if not math.isnan(value)]
    whole, count = math.fsum(kept), len(kept)
    left = [(whole, count) if math.isnan(value) else (whole - value, count - 1) for value in values]
    return [min(max(rest / others, 0.0), 1.0) if others else 0.0 for rest, others in left]


def margin(first: Scores, second: Scores) -> float:
    """How far apart two cells must be to differ: one standard error of the difference, within sensible limits."""
    return min(max(difference_error(first, second), LEAST_MARGIN), MOST_MARGIN)


def difference_error(first: Scores, second: Scores) -> float:
    """The standard error of the difference of two merits, by a jackknife over the pairs of pictures; `MOST_MARGIN` where
    there is one pair."""
    if len(first.identity) < 2:
        return MOST_MARGIN
    return jackknife_error(
        [one - other for one, other in zip(first.merits_without, second.merits_without, strict=True)]
    )


def worse(cell: Scores, than: Scores, errors: float = 1.0) -> bool:
    """Whether a cell's merit is lower by more than chance, which is so many standard errors."""
    return merit(than) - merit(cell) > errors * margin(than, cell)


def pooled(scores: Mapping[Cell, Scores]) -> dict[Cell, Scores]:
    """Each cell's figures with those of the snapshots before and after it at the same strengths, picture by picture."""
    rows: dict[tuple[float, float], list[Cell]] = {}
    for cell in sorted(scores):
        rows.setdefault((cell.strength, cell.text_encoder), []).append(cell)
    found = {}
    for row in rows.values():
        for place, cell in enumerate(row):
            beside = [scores[row[other]] for other in (place - 1, place + 1) if 0 <= other < len(row)]
            found[cell] = _mixed(scores[cell], beside)
    return found


def _mixed(scores: Scores, beside: Sequence[Scores]) -> Scores:
    def mean(values: Sequence[float], others: Sequence[Sequence[float]]) -> tuple[float, ...]:
        whole = 1 + NEIGHBOUR * len(others)
        return tuple((value + NEIGHBOUR * sum(more)) / whole for value, *more in zip(values, *others, strict=True))

    asked = [each.following for each in beside if each.following is not None]
    return Scores(
        mean(scores.identity, [each.identity for each in beside]),
        None if scores.following is None else mean(scores.following, asked),
        mean(scores.sound, [each.sound for each in beside]) if scores.sound else (),
        scores.copied,
        mean(scores.heeded, [each.heeded for each in beside]) if scores.heeded else (),
    )


def choose(
    scores: Mapping[Cell, Scores], order: Mapping[int, tuple[bool, float]] | None = None, errors: float = 1.0
) -> Cell:
    """The cell to use, of those given; their scores must be finite. `order` is of snapshots, see `ProbeLosses`.

    Cells within so many standard errors of the highest are equal to it.
    """
    scores = _at_one_strength(scores, errors)
    highest = max(scores.values(), key=merit)
    equals = [cell for cell, each in scores.items() if not worse(each, highest, errors)]
    known = order or {}
    return min(equals, key=lambda cell: (known.get(cell.step, (True, math.inf)), cell.step))


def _at_one_strength(scores: Mapping[Cell, Scores], errors: float) -> dict[Cell, Scores]:
    """The cells that show the subject at the strength nearest 1 where one of them is equal to the highest."""
    most = max(map(identity, scores.values()))
    shown = {cell: each for cell, each in scores.items() if identity(each) >= GATE * most}
    highest = max(shown.values(), key=merit)

    def is_equal(each: Scores) -> bool:
        doubt = max(difference_error(each, highest), LEAST_MARGIN)
        return merit(highest) - merit(each) <= errors * doubt

    def distance(cell: Cell) -> tuple[float, float]:
        return abs(math.log(cell.strength)), abs(cell.text_encoder - 1)

    nearest = min(distance(cell) for cell, each in shown.items() if is_equal(each))
    return {cell: each for cell, each in shown.items() if distance(cell) == nearest}
