"""The metrics of every grid cell as plain numbers: the input of the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.selection import Probe, Scores, choose, lowest, merit

if TYPE_CHECKING:
    from lorapipe.models import Role


@dataclass(frozen=True)
class ImageStats:
    """What a cell's pictures are like, whatever they show: means over its pictures, 0 … 1.

    `saturation` and `contrast` see `metrics`; `diversity` is how different pictures of one prompt are (None with one
    picture a prompt), `copied` the share closer to a training picture than those are to one another (None: no CLIP).
    """

    saturation: float
    contrast: float
    diversity: float | None = None
    copied: float | None = None


RATE_KNOBS: Mapping[str, Role] = {
    "unet_lr": "denoiser",
    "text_encoder_lr": "text_encoder",
    "text_encoder_2_lr": "text_encoder",
}
"""The train stage's knobs for learning rates, and what the part does that each is for."""


@dataclass(frozen=True)
class Results:
    """Everything measured on the grid. The base is not one of `cells`.

    `scores` is empty where there is no CLIP; `probes` are by step; `broken` are cells with pictures of one colour or of
    no numbers; `knobs` are the train stage's and their values: `steps`, `adapter.rank`, those of `RATE_KNOBS` or, where the
    optimizer finds its rate, `optimizer.d_coef`; those that it has not are missing. `unscored` says why there are no scores,
    where there are none. `denoiser` is what people call it: U-Net, transformer.
    """

    cells: Sequence[Cell]
    scores: Mapping[Cell, Scores]
    probe: Probe
    probes: Mapping[int, Probe]
    image_stats: Mapping[Cell, ImageStats] = field(default_factory=dict)
    base: ImageStats | None = None
    training: ImageStats | None = None
    broken: frozenset[Cell] = frozenset()
    knobs: Mapping[str, float] = field(default_factory=dict)
    unscored: str = "There is no CLIP model to compare pictures with"
    denoiser: str = "U-Net"

    @cached_property
    def valid(self) -> dict[Cell, Scores]:
        """The cells with finite scores whose pictures are not broken."""
        return {
            cell: each
            for cell, each in self.scores.items()
            if cell not in self.broken and math.isfinite(merit(each)) and math.isfinite(fmean(each.likeness))
        }

    @cached_property
    def best(self) -> Cell:
        """The cell to use: by its scores, else by the probe at the strength nearest 1."""
        scores = {cell: each for cell, each in self.valid.items() if cell.uniform}
        return choose(scores) if scores else self._best_by_probe()

    def _best_by_probe(self) -> Cell:
        uniform = [cell for cell in self.cells if cell.uniform]
        cells = [cell for cell in uniform if cell not in self.broken] or uniform
        probes = {cell.step: self.probes[cell.step] for cell in cells if cell.step in self.probes}
        step = lowest(probes, self.probe) if probes else cells[-1].step
        return min((cell for cell in cells if cell.step == step), key=lambda cell: abs(cell.strength - 1))

    @property
    def steps(self) -> list[int]:
        """The snapshots' steps, in order."""
        return sorted({cell.step for cell in self.cells})

    def scores_at(self, step: int) -> Scores | None:
        """The scores of a snapshot at the best strength."""
        return self.valid.get(Cell(step, self.best.strength, self.best.text_encoder))
