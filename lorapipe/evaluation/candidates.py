"""Pictures to choose from: what each was painted of, and what was measured on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lorapipe.evaluation import metrics
from lorapipe.evaluation.k_means import centres_of, nearest
from lorapipe.evaluation.maximal_marginal_relevance import choose, stand_outs
from lorapipe.evaluation.measures.copies import COPY
from lorapipe.evaluation.scorer import ARTEFACTS, COPIES, IDENTITY, Scorer, following_of

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Array, Seen

WORDS = 96
"""Visual words by which two pictures are alike or differ."""
LEAST_SOUND = 0.5
"""A picture less sound is not chosen: its noise, saturation or contrast is half way to twice the usual."""


@dataclass(frozen=True)
class Figures:
    """What was measured on a picture: see `Scores` of `selection`. None where it cannot be measured."""

    likeness: float | None = None
    following: float | None = None
    sound: float | None = None
    copied: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether it is a true picture again."""
        return self.copied is not None and self.copied >= COPY

    @property
    def merit(self) -> float:
        """Likeness × following × sound, each within 0 … 1, and 0 for a copy; what is not known counts 1.

        Short of a copy the same pose and place is no fault of a picture's: how it differs is for the choice to weigh.
        """
        if self.is_copy:
            return 0.0
        known = (self.likeness, self.following, self.sound)
        return math.prod(min(max(each, 0.0), 1.0) for each in known if each is not None)


class Candidate(NamedTuple):
    """A picture in a file. `style` is the name of the further adapter, empty where there is none."""

    path: Path
    prompt: str
    seed: int
    strength: float
    style: str
    figures: Figures


@dataclass(frozen=True)
class CandidateScorer:
    """Scores pictures: `true` is fitted to the pictures that they are held against, `asked` to the prompts.

    The two differ where there are few true pictures: `true` is then fitted to what the base paints of their own captions,
    so that what these name is not taken for the subject.
    """

    true: Scorer | None
    asked: Scorer

    def __call__(self, seen: Seen) -> list[Figures]:
        """Return the figures of a cell's pictures, in the order of the prompts that `asked` is fitted to."""
        asked = self.asked(seen)
        following = _mean([asked.figures[name] for name in following_of(asked.figures)], len(seen))
        others = (
            self.without_prompts(seen) if self.true else [Figures(sound=each) for each in _sound(asked.figures, seen)]
        )
        return [
            Figures(other.likeness, one, other.sound, other.copied)
            for other, one in zip(others, following, strict=True)
        ]

    def without_prompts(self, seen: Seen) -> list[Figures]:
        """Return the figures of any pictures, without how they follow their prompts."""
        if self.true is None:
            return [Figures()] * len(seen)
        measures = self.true.measures
        figures = {name: tuple(map(float, measures[name](seen))) for name in _TRUE if name in measures}
        likeness = _mean([figures[name] for name in IDENTITY[self.true.kind] if name in figures], len(seen))
        copied = _mean([figures[COPIES]] if COPIES in figures else [], len(seen))
        sound = _sound(figures, seen)
        return [Figures(one, None, two, three) for one, two, three in zip(likeness, sound, copied, strict=True)]


_TRUE = ("parts", "style", ARTEFACTS, COPIES)
"""Measures that need no prompts."""


def _sound(figures: Mapping[str, Sequence[float]], seen: Seen) -> list[float | None]:
    """1 less the artefacts of each picture; 0 where it is of one colour."""
    artefacts = figures.get(ARTEFACTS, (math.nan,) * len(seen))
    blank = map(metrics.blank, seen.looks)
    return [
        0.0 if bare else (None if math.isnan(each) else 1 - each) for each, bare in zip(artefacts, blank, strict=True)
    ]


def _mean(opinions: Sequence[Sequence[float]], count: int) -> list[float | None]:
    """Picture by picture, the mean of the opinions that are numbers; None where there is none."""
    found: list[float | None] = []
    for place in range(count):
        known = [float(each[place]) for each in opinions if not math.isnan(each[place])]
        found.append(sum(known) / len(known) if known else None)
    return found


class Choice(NamedTuple):
    """The chosen candidates, the first chosen first, and how many were passed over for what reason."""

    chosen: list[Candidate]
    passed_over: Mapping[str, int]


def best_that_differ(
    candidates: Sequence[Candidate], patches: Sequence[Array], count: int, least_likeness: float
) -> Choice:
    """Choose up to `count` candidates that are good and differ: see `maximal_marginal_relevance`; of every prompt as many.

    `patches` are the places of each candidate's picture (see `Seen.patches`). Passed over are copies of true pictures,
    pictures with artefacts, of the rest those with less than `least_likeness` of the highest likeness, and of these the
    stand-outs, unless they are liker than most.
    """
    vectors = nearest(patches, centres_of(patches, WORDS, 12))
    reasons = _reasons(candidates, vectors, least_likeness)
    merits = [0.0 if no else max(each.figures.merit, 1e-6) for no, each in zip(reasons, candidates, strict=True)]
    chosen = choose(merits, vectors, count, [each.prompt for each in candidates])
    return Choice([candidates[place] for place in chosen], Counter(filter(None, reasons)))


def _reasons(candidates: Sequence[Candidate], vectors: Array, least_likeness: float) -> list[str]:
    """Why each candidate is passed over; empty for those that may be chosen."""
    reasons = [_fault(each.figures) for each in candidates]
    likeness = np.array([each.figures.likeness or 0.0 for each in candidates])
    fit = [place for place, reason in enumerate(reasons) if not reason]
    least = least_likeness * max(likeness[fit], default=0.0)
    for place in fit:
        reasons[place] = _unlike(candidates[place].figures, least)
    fit = [place for place in fit if not reasons[place]]
    for odd in stand_outs(vectors[fit]):
        if likeness[fit[odd]] <= np.median(likeness[fit]):
            reasons[fit[odd]] = "stand out"
    return reasons


def _fault(figures: Figures) -> str:
    """Why a picture is not chosen whatever the others are; empty if it may be."""
    if figures.is_copy:
        return "copies"
    if figures.sound is not None and figures.sound < LEAST_SOUND:
        return "with artefacts"
    return ""


def _unlike(figures: Figures, least: float) -> str:
    return "unlike" if figures.likeness is not None and (figures.likeness < least or figures.likeness <= 0) else ""


def mean_likeness(candidates: Sequence[Candidate]) -> float | None:
    """The mean likeness of candidates; None where it could not be measured."""
    known = [each.figures.likeness for each in candidates if each.figures.likeness is not None]
    return float(np.mean(known)) if known else None
