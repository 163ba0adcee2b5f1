"""The metrics of every grid cell as plain numbers: the input of the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Literal, NamedTuple

from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.probe_losses import Probe, ProbeLosses
from lorapipe.evaluation.selection import Scores, choose, pooled, worse

if TYPE_CHECKING:
    from lorapipe.models import Role


Kind = Literal["subject", "style"]
"""What a training is of: a character or thing, whose parts are looked for, or a way of drawing, which is texture."""


@dataclass(frozen=True)
class ImageStats:
    """What a cell's pictures are like, whatever they show: means over its pictures, 0 … 1; see `metrics`."""

    saturation: float
    contrast: float


RATE_KNOBS: Mapping[str, Role] = {
    "unet_lr": "denoiser",
    "text_encoder_lr": "text_encoder",
    "text_encoder_2_lr": "text_encoder",
}
"""The train stage's knobs for learning rates, and what the part does that each is for."""


IDLE, AT_MOST, WORKS = 0.1, 0.2, 0.3
"""A tag changes nothing if its effect is below the first, and with its standard error below the second. It works if the
effect less its standard error is above the third.
"""


class TagEffect(NamedTuple):
    """A tag's effect on the pictures of a cell (1 as much as in the training pictures), its standard error, and how many
    captions have the tag.
    """

    effect: float
    error: float
    captions: int

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.effect < IDLE and self.effect + self.error < AT_MOST

    @property
    def works(self) -> bool:
        """Whether it changes the pictures as the captions taught."""
        return self.effect - self.error > WORKS


@dataclass(frozen=True)
class LowGuidance:
    """The chosen cell sampled again at `low_cfg`, where the grid has `cfg`: what guidance itself does to the pictures."""

    cfg: float
    low_cfg: float
    scores: Scores


@dataclass(frozen=True)
class Results:
    """Everything measured on the grid. The base is not one of `cells`.

    `scores` is empty where nothing can be measured, which `unscored` explains; `probes` are by step; `broken` are cells
    with pictures of one colour or of no numbers; `knobs` are the train stage's and their values: `steps`, `adapter.rank`,
    those of `RATE_KNOBS` or, where the optimizer finds its rate, `optimizer.d_coef`; those that it has not are missing.
    `prompt_of` has the prompt of each of a cell's pictures, `untaught` the tags of prompts that no caption has. `denoiser`
    is what people call it: U-Net, transformer. `apart` has the last sound snapshot with one part at another strength and
    with both at 1, of fewer prompts than the others; empty where that was not sampled. `tags` are what prompted tags
    do to cells.
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
    unscored: str = "Nothing could be measured on the pictures"
    denoiser: str = "U-Net"
    prompt_of: Sequence[int] = ()
    kind: Kind = "subject"
    chosen: Cell | None = None
    low_guidance: LowGuidance | None = None
    untaught: Sequence[str] = ()
    apart: Mapping[Cell, Scores] = field(default_factory=dict)
    tags: Mapping[Cell, Mapping[str, TagEffect]] = field(default_factory=dict)

    @cached_property
    def valid(self) -> dict[Cell, Scores]:
        """The cells with finite scores whose pictures are not broken."""
        return {
            cell: each
            for cell, each in self.scores.items()
            if cell not in self.broken and math.isfinite(fmean(each.identity))
        }

    @cached_property
    def losses(self) -> ProbeLosses:
        """What the probes tell."""
        return ProbeLosses(self.probe, self.probes)

    @cached_property
    def pooled(self) -> dict[Cell, Scores]:
        """The valid cells with both parts at one strength, each pooled with the snapshots beside it."""
        return pooled({cell: each for cell, each in self.valid.items() if cell.uniform})

    @cached_property
    def best(self) -> Cell:
        """The cell to use: what was `chosen`, else by its scores, else by the probe at the strength nearest 1."""
        if self.chosen is not None:
            return self.chosen
        if not self.pooled:
            return self._best_by_probe()
        return choose(self.pooled, self.losses.order_of_equals())

    def _best_by_probe(self) -> Cell:
        uniform = [cell for cell in self.cells if cell.uniform]
        cells = [cell for cell in uniform if cell not in self.broken] or uniform
        lowest = self.losses.lowest(cell.step for cell in cells)
        step = cells[-1].step if lowest is None else lowest
        return min((cell for cell in cells if cell.step == step), key=lambda cell: abs(cell.strength - 1))

    @property
    def burns(self) -> bool:
        """Whether little guidance gives better pictures of the best cell by more than chance."""
        ours = self.valid.get(self.best)
        return self.low_guidance is not None and ours is not None and worse(ours, self.low_guidance.scores)

    @property
    def steps(self) -> list[int]:
        """The snapshots' steps, in order."""
        return sorted({cell.step for cell in self.cells})

    def scores_at(self, step: int, strength: float | None = None) -> Scores | None:
        """The pooled scores of a snapshot at a strength of both parts, by default the best's."""
        strength = self.best.strength if strength is None else strength
        return self.pooled.get(Cell(step, strength, strength))

    @property
    def last_sound(self) -> int:
        """The last snapshot that has not broken down: where a part that learns too fast shows first."""
        sound = [step for step in self.steps if any(cell.step == step for cell in self.valid)]
        finite = [step for step in sound if self.losses.is_finite(step)]
        return (finite or sound or [self.best.step])[-1]

    @property
    def strengths(self) -> list[float]:
        """The strengths at which both parts were tried alike, in order."""
        return sorted({cell.strength for cell in self.cells if cell.uniform})

    @property
    def usual_strength(self) -> float:
        """The strength nearest 1 at which both parts were tried alike."""
        return min(self.strengths, key=lambda strength: abs(strength - 1))

    @property
    def higher_strength(self) -> float | None:
        """The next strength above the usual one, where there is one."""
        return next((strength for strength in self.strengths if strength > self.usual_strength), None)

    def resampled(self, rng: Random) -> Results:
        """The same as if other prompts and noises had been drawn: prompts first, then pictures of each (a two-stage
        bootstrap: Davison & Hinkley 1997, §3.8).
        """
        by_prompt: dict[int, list[int]] = {}
        for place, prompt in enumerate(self.prompt_of):
            by_prompt.setdefault(prompt, []).append(place)
        drawn = rng.choices([*by_prompt.values()], k=len(by_prompt))
        places = [place for pictures in drawn for place in rng.choices(pictures, k=len(pictures))]
        return self.of_pictures(places)

    def of_pictures(self, places: Sequence[int]) -> Results:
        """The same of some pictures of each cell, which may be there more than once."""
        low = self.low_guidance
        return replace(
            self,
            scores={cell: each.of(places) for cell, each in self.scores.items()},
            prompt_of=[self.prompt_of[place] for place in places],
            low_guidance=None if low is None else replace(low, scores=low.scores.of(places)),
        )
