"""Scores a cell's pictures with every measure that the training allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lorapipe.captioning.tags import compared_tags
from lorapipe.evaluation import measures, metrics
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.measures.parts import Parts
from lorapipe.evaluation.measures.taught import Taught
from lorapipe.evaluation.results import ImageStats, Kind, TagEffect
from lorapipe.evaluation.selection import Scores
from lorapipe.evaluation.subject_parts import SubjectPart, subject_parts

if TYPE_CHECKING:
    from lorapipe.evaluation.features import Seen

PARTS = "parts"
IDENTITY: Mapping[Kind, tuple[str, ...]] = {"subject": (PARTS, "precision"), "style": ("style", PARTS)}
"""The measures that say whether a picture shows what was trained, by the training's kind. A style's identity is the mean of
the two; a subject's is its parts, less up to half of them for what is like nothing.
"""
TAUGHT, RESPONSE, CONTRAST, ARTEFACTS, COPIES = "taught", "response", "contrast", "artefacts", "copies"


def following_of(measured: Collection[str]) -> tuple[str, ...]:
    """The measures that following is the mean of, of those that were taken: `contrast` where there is no `response`."""
    return tuple(name for name in (TAUGHT, RESPONSE if RESPONSE in measured else CONTRAST) if name in measured)


@dataclass(frozen=True)
class CellScores:
    """A cell's figures: by measure one for each picture (`figures`), and those that the verdict goes by (`scores`).

    `tags` are what prompted tags do to its pictures.
    """

    figures: Mapping[str, tuple[float, ...]]
    scores: Scores | None
    image_stats: ImageStats
    broken: bool
    tags: Mapping[str, TagEffect] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """Each measure's mean over the pictures that have a figure."""
        return {name: float(np.nanmean(each)) for name, each in self.figures.items() if not np.isnan(each).all()}


class Scorer:
    """Fits every measure to a training, and scores cells with them.

    `kind` is what the training is of; where it is not known, it is a style if no part is common to its pictures.
    """

    def __init__(self, reference: Reference, kind: Kind | None = None) -> None:
        self.reference = reference
        self.measures: Mapping[str, Measure] = measures.fitted(reference)
        self.kind: Kind = kind or ("subject" if PARTS in self.measures else "style")
        self.untaught = _untaught(reference)
        self.training = _stats(reference.training)

    @cached_property
    def base(self) -> CellScores:
        """The scores of the base's pictures."""
        return self(self.reference.base)

    @property
    def parts(self) -> list[SubjectPart]:
        """What is taken for the subject; empty for a style."""
        parts = self.measures.get(PARTS)
        return (
            subject_parts(parts, self.reference.training) if isinstance(parts, Parts) and self.kind == "subject" else []
        )

    def __call__(self, seen: Seen) -> CellScores:
        """The scores of a cell's pictures, in the order of `Reference.prompt_of`."""
        figures = {name: tuple(map(float, measure(seen))) for name, measure in self.measures.items()}
        broken = any(map(metrics.blank, seen.looks))
        taught = self.measures.get(TAUGHT)
        tags = taught.effects(seen) if isinstance(taught, Taught) else {}
        return CellScores(figures, self._scores(figures), _stats(seen), broken, tags)

    def _identity(self, figures: Mapping[str, tuple[float, ...]]) -> tuple[float, ...] | None:
        shown = [figures[name] for name in IDENTITY[self.kind] if name in figures]
        if self.kind == "style":
            return _mean(shown)
        return _of_subject(*shown) if PARTS in figures else None

    def _scores(self, figures: Mapping[str, tuple[float, ...]]) -> Scores | None:
        identity = self._identity(figures)
        if identity is None:
            return None
        sound = tuple(1 - each for each in figures.get(ARTEFACTS, ()))
        asked = _mean([figures[name] for name in following_of(figures)])
        heeded = RESPONSE if RESPONSE in figures and not self.untaught else CONTRAST
        return Scores(identity, asked, sound, figures.get(COPIES, ()), figures.get(heeded, ()))


def _untaught(reference: Reference) -> tuple[str, ...]:
    """Tags that no caption has, where each prompt that asks for something asks for one of these: no scene was taught."""
    said = {tag for caption in reference.captions for tag in compared_tags(caption)}
    prompts = [dict.fromkeys(compared_tags(prompt)) for prompt in reference.prompts]
    shared = set(prompts[0]).intersection(*prompts)
    missing = [dict.fromkeys(tag for tag in one if tag not in said | shared) for one in prompts if one.keys() - shared]
    return tuple(dict.fromkeys(tag for one in missing for tag in one)) if all(missing) else ()


def _mean(opinions: Sequence[tuple[float, ...]]) -> tuple[float, ...] | None:
    """Picture by picture, the mean of the opinions that are numbers; None where there is no opinion."""
    if not opinions:
        return None
    known = [[each for each in of_one if not math.isnan(each)] for of_one in zip(*opinions, strict=True)]
    return tuple(fmean(each) if each else math.nan for each in known)


def _of_subject(parts: tuple[float, ...], precision: tuple[float, ...] | None = None) -> tuple[float, ...]:
    """Picture by picture, the parts that are shown, down to half of them where all of the picture is like nothing."""
    if precision is None:
        return parts
    return tuple(share * (1 + min(known, 1.0)) / 2 for share, known in zip(parts, precision, strict=True))


def _stats(seen: Seen) -> ImageStats:
    _, saturation, contrast = np.mean(seen.looks, axis=0)
    return ImageStats(float(saturation), float(contrast))
