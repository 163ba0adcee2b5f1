"""The plan of the grid: which snapshots are sampled, at which strengths (an XY plot of steps by strengths)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorapipe.series import evenly_spaced


@dataclass(frozen=True, order=True)
class Cell:
    """A snapshot (by its step) at a strength of the denoiser and one of the text encoder; step 0 is the base itself."""

    step: int
    strength: float
    text_encoder: float

    @property
    def uniform(self) -> bool:
        """Whether both parts have the same strength, as most people use a LoRA."""
        return self.strength == self.text_encoder

    def strengths(self, denoiser: str, parts: Sequence[str]) -> dict[str, float]:
        """The strength of each of `parts`; all but the denoiser are text encoders."""
        return {part: self.strength if part == denoiser else self.text_encoder for part in parts}

    @property
    def slug(self) -> str:
        """The name of the cell's folder: `000400-1-0.5`."""
        return f"{self.step:06d}-{self.strength:g}-{self.text_encoder:g}"

    def __str__(self) -> str:
        if self.step == 0:
            return "the base"
        both = f"{self.strength:g}" if self.uniform else f"{self.strength:g}, text encoder {self.text_encoder:g}"
        return f"step {self.step} at strength {both}"


BASE = Cell(0, 0.0, 0.0)
LEAST_CAPTIONS, MOST_CAPTIONS = 6, 16
"""The base paints so many captions of the training at most, and none where fewer differ: see `measures.response`."""
PART_PROMPTS = 4
"""With one part at another strength so many prompts are sampled at most, the first."""


@dataclass(frozen=True)
class GridPlan:
    """Every snapshot of `steps` at every strength, then the last sound one with each part alone at `part_strengths`.

    `part_strengths` is empty where the parts are not tried at strengths of their own. The cell that is chosen is sampled
    once more at `low_cfg`, where there is one. The base paints so many `captions` of the training, once each.
    """

    steps: tuple[int, ...]
    strengths: tuple[float, ...]
    part_strengths: tuple[float, ...] = ()
    low_cfg: float | None = None
    captions: int = 0

    @property
    def cells(self) -> list[Cell]:
        """Every snapshot at every strength, the same for all parts."""
        return [Cell(step, strength, strength) for step in self.steps for strength in dict.fromkeys(self.strengths)]

    def part_ways(self, step: int) -> list[list[Cell]]:
        """Lists of a snapshot's cells with one part at another strength and the other at 1: each part lower and lower than
        1, and higher and higher.
        """
        others = sorted({*self.part_strengths} - {1.0}, key=lambda strength: abs(strength - 1))
        sides = [[each for each in others if each < 1], [each for each in others if each > 1]]
        ways = [[Cell(step, each, 1.0) for each in side] for side in sides]
        ways += [[Cell(step, 1.0, each) for each in side] for side in sides]
        return [way for way in ways if way]

    def part_cells(self, step: int) -> list[Cell]:
        """All cells of `part_ways`, and that with both parts at 1 if it is not one of `cells`; empty without parts."""
        apart = [cell for way in self.part_ways(step) for cell in way]
        return apart if not apart or 1.0 in self.strengths else [Cell(step, 1.0, 1.0), *apart]

    def pictures(self, prompts: int, count: int) -> int:
        """The largest number of pictures, those of the base among them, for so many prompts with `count` of each."""
        whole = 1 + len(self.cells) + (self.low_cfg is not None)
        grid = count * (prompts * whole + min(prompts, PART_PROMPTS) * len(self.part_cells(0)))
        return grid + self.captions


def compared_captions(captions: Sequence[str]) -> list[int]:
    """The places of the captions that the base paints, `MOST_CAPTIONS` at most; none where hardly any differ."""
    places = [*{caption: place for place, caption in enumerate(captions)}.values()]
    return evenly_spaced(places, MOST_CAPTIONS) if len(places) >= LEAST_CAPTIONS else []
