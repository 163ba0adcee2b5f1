"""The plan of the grid: which snapshots are sampled, at which strengths (an XY plot of steps by strengths)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


@dataclass(frozen=True)
class GridPlan:
    """Every snapshot of `steps` at every strength, then the best with every strength of the text encoder against each.

    `text_encoder_strengths` is empty where the parts are not tried at strengths of their own. The cell that is chosen is
    sampled once more at `low_cfg`, where there is one.
    """

    steps: tuple[int, ...]
    strengths: tuple[float, ...]
    text_encoder_strengths: tuple[float, ...] = ()
    low_cfg: float | None = None

    @property
    def cells(self) -> list[Cell]:
        """Every snapshot at every strength, the same for all parts."""
        return [Cell(step, strength, strength) for step in self.steps for strength in dict.fromkeys(self.strengths)]

    def part_cells(self, step: int) -> list[Cell]:
        """A snapshot with its parts at strengths of their own, without the cells that are in `cells` already."""
        pairs = [(ours, theirs) for theirs in self.text_encoder_strengths for ours in self.strengths]
        cells = [Cell(step, ours, theirs) for ours, theirs in dict.fromkeys(pairs)]
        return [cell for cell in cells if not (cell.uniform and cell.strength in self.strengths)]

    @property
    def size(self) -> int:
        """The number of all cells, the base among them."""
        return 1 + len(self.cells) + len(self.part_cells(0)) + (self.low_cfg is not None)
