"""The kind of adapter against the difficulty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.training.subjects import CATEGORIES

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

SMALL = ("embedding", "lokr", "loha", "ia3")
"""Adapters that do not learn everything; the others do."""


class AdapterForDifficulty(Rule):
    """The adapter can learn a subject of the training's difficulty (guide §2)."""

    why: ClassVar[str] = (
        "Small adapters (LoKr, (IA)³, an embedding) are too weak for complex subjects, or need far more time."
    )
    change: ClassVar[str] = "Write adapter: {type: lora}."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        name = training.adapter.name
        if training.difficulty is None or name not in SMALL:
            return
        category = CATEGORIES[training.difficulty]
        if name not in category.adapters:
            what = f"{name} for a subject of category {training.difficulty} ({category.what})."
            yield Finding(what, ("adapter",))
