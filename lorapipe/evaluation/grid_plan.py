"""The grid's coordinates: which snapshots, at which strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Cell:
    """A snapshot (by its step) at a strength of the U-Net and one of the text encoder; step 0 is the base itself."""

    step: int
    strength: float
    text_encoder: float

    @property
    def uniform(self) -> bool:
        """Whether both parts are at one strength, as most people use a LoRA."""
        return self.strength == self.text_encoder

    def strengths(self, parts: Sequence[str]) -> dict[str, float]:
        """The strength of each part of a model."""
        return {part: self.text_encoder if part.startswith("text_encoder") else self.strength for part in parts}

    @property
    def slug(self) -> str:
        """A file name."""
        return f"{self.step:06d}-{self.strength:g}-{self.text_encoder:g}"

    def __str__(self) -> str:
        if self.step == 0:
            return "the base"
        both = f"{self.strength:g}" if self.uniform else f"{self.strength:g}, text encoder {self.text_encoder:g}"
        return f"step {self.step} at strength {both}"


BASE = Cell(0, 0.0, 0.0)


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items at even distances; the last is always among them."""
    if len(items) <= most:
        return list(items)
    return [items[round((place + 1) * len(items) / most) - 1] for place in range(most)]


def uniform_cells(steps: Sequence[int], strengths: Sequence[float]) -> list[Cell]:
    """Every snapshot at every strength, the text encoder at the same."""
    return [Cell(step, strength, strength) for step in steps for strength in dict.fromkeys(strengths)]


def part_cells(step: int, strengths: Sequence[float], text_encoder: Sequence[float]) -> list[Cell]:
    """A snapshot with every strength of the U-Net against every strength of the text encoder."""
    return [Cell(step, ours, theirs) for theirs in dict.fromkeys(text_encoder) for ours in dict.fromkeys(strengths)]
