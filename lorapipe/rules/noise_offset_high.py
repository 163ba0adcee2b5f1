"""Noise offsets that burn pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class NoiseOffsetHigh(Rule):
    """The noise offset is at most 0.1 (guide §7)."""

    why: ClassVar[str] = "Higher ones burn the colours like a CFG of 11, and slow the training."
    change: ClassVar[str] = "Write offset: 0.06, or 0.1 where dark pictures are wanted."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.noise.offset > 0.1:
            yield Finding(f"a noise offset of {training.noise.offset:g} is too much.", ("noise", "offset"))
