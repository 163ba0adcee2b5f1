"""Rank against the difficulty of the subject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import rank_of
from lorapipe.training.subjects import CATEGORIES

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class RankForDifficulty(Rule):
    """The rank suits the subject's difficulty, where the training names it (guide §2)."""

    why: ClassVar[str] = "Too low a rank has no room for the details; too high a one wastes disk and over-fits."
    change: ClassVar[str] = "Take a rank of the category, or another difficulty."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        rank = rank_of(training.adapter)
        if not rank or training.difficulty is None or training.subject == "style" or facts.is_pocket:
            return
        category = CATEGORIES[training.difficulty]
        path = ("adapter", "rank")
        if rank > 1.5 * category.high:
            what = f"rank {rank} is more than a subject of category {training.difficulty} ({category.what}) needs."
            yield Finding(what, path, f"Write rank: {category.rank} ({category.low} to {category.high} are usual).")
        elif rank < category.low / 2 and getattr(facts.base, "name", "") != "sdxl":
            what = f"rank {rank} is little for a subject of category {training.difficulty} ({category.what})."
            yield Finding(what, path, f"Write rank: {category.rank} ({category.low} to {category.high} are usual).")
