"""Selects the best snapshot and strength: arithmetic on scores, with neither torch nor pictures.

Two things are wanted of a LoRA and pull apart as it trains. **Likeness**: its pictures resemble the training pictures.
**Following**: they still show what the prompt asks for. Both are put on a scale that means something by itself (see
`Scores`) and joined by their harmonic mean (an F-score), the *merit*, which is high only where both are: the base itself (no
likeness) and a memorised picture (no following) get 0.

Scores come from a few pictures, so the highest is often the luckiest. Cells whose merit is within one standard error of
the highest count as equal to it (the one-standard-error rule: Breiman et al. 1984; Hastie et al. 2009, §7.10), and of
equals the one at the strength nearest 1 is chosen, then the earliest, which has had the least chance to over-fit. The
error is that of the *difference* between two cells, whose pictures share prompts and noise one by one: a jackknife over
those pairs (Efron & Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lorapipe.evaluation.grid_plan import Cell

LEAST_MARGIN, MOST_MARGIN = 0.02, 0.10
"""Merits closer than 0.02 are equal to the eye; and however noisy the pictures, a tenth is a difference."""


@dataclass(frozen=True)
class Scores:
    """How the pictures of a cell did, a number for each picture, in the same order of prompts and seeds in every cell.

    `likeness`: 0 as the base's pictures, 1 as alike to the training pictures as these are to one another.
    `following`: 0 a picture that has nothing to do with its prompt, 1 as the base follows it. None where it cannot be
    measured.
    """

    likeness: tuple[float, ...]
    following: tuple[float, ...] | None = None


def merit(scores: Scores, without: int | None = None) -> float:
    """Harmonic mean of mean likeness and mean following, each within 0 … 1; `without` leaves one picture out.

    More than 1 earns nothing: pictures closer to the training pictures than these are to each other are copies.
    """
    likeness = _share(scores.likeness, without)
    if scores.following is None:
        return likeness
    following = _share(scores.following, without)
    return 2 * likeness * following / (likeness + following) if likeness + following > 0 else 0.0


def _share(values: Sequence[float], without: int | None) -> float:
    kept = [value for place, value in enumerate(values) if place != without]
    return min(max(fmean(kept), 0.0), 1.0)


def margin(first: Scores, second: Scores, of: Callable[[Scores, int | None], float] = merit) -> float:
    """How far apart two cells must be to differ: one standard error of the difference, within sensible limits."""
    count = len(first.likeness)
    if count < 2:
        return MOST_MARGIN
    differences = [of(first, place) - of(second, place) for place in range(count)]
    middle = fmean(differences)
    error = math.sqrt((count - 1) / count * sum((each - middle) ** 2 for each in differences))
    return min(max(error, LEAST_MARGIN), MOST_MARGIN)


def worse(cell: Scores, than: Scores) -> bool:
    """Whether a cell's merit is lower by more than chance."""
    return merit(than) - merit(cell) > margin(than, cell)


def choose(scores: Mapping[Cell, Scores]) -> Cell:
    """The cell to use, of those given; their scores must be finite."""
    highest = max(scores.values(), key=merit)
    equals = [cell for cell, each in scores.items() if not worse(each, highest)]
    return min(equals, key=lambda cell: (abs(cell.strength - 1), abs(cell.text_encoder - 1), cell.step))


# ------------------------------------------------------------------------------------------------- without a CLIP


@dataclass(frozen=True)
class Probe:
    """Loss at fixed noise and timesteps of some training pictures and some held-out ones, a number for each picture."""

    training: tuple[float, ...]
    held_out: tuple[float, ...] = ()


def lowest(probes: Mapping[int, Probe], base: Probe) -> int:
    """The step to use by the probe alone; `probes` by step, one at least.

    With held-out pictures: the earliest step whose loss on them is the lowest, within one standard error. Without: the
    loss on the training pictures falls for ever, so the earliest step that has made nine tenths of its way.
    """
    finite = {step: probe for step, probe in probes.items() if math.isfinite(fmean(probe.training))}
    if not finite:
        return max(probes)
    if base.held_out:
        best = min(finite.values(), key=lambda probe: fmean(probe.held_out))
        return min(step for step, probe in finite.items() if not risen(best.held_out, probe.held_out))
    way = {step: fmean(base.training) - fmean(probe.training) for step, probe in finite.items()}
    most = max(way.values())
    return min(step for step, gone in way.items() if gone >= most - 0.1 * abs(most))


def risen(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether losses of the same pictures have grown by more than one standard error of the difference."""
    differences = [late - early for early, late in zip(before, after, strict=True)]
    if len(differences) < 2:
        return bool(differences) and differences[0] > 0.02 * before[0]
    middle = fmean(differences)
    error = math.sqrt(sum((each - middle) ** 2 for each in differences) / (len(differences) - 1) / len(differences))
    return middle > max(error, 1e-4 * fmean(before))
