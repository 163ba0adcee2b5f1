"""The planted trainings: what each is trained on, and how, so that its fault is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from PIL import Image

from benchmarks.judging import subjects
from benchmarks.judging.subjects import Drawing
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.pocket.draw import draw as draw_creature
from lorapipe.pocket.style_neon import Neon
from lorapipe.pocket.world import TAGS, sample, tags

PICTURES = 24
RATE = 1e-3
"""Of the U-Net in a training that is right; the text encoder's is half of it."""
TRIGGERS = ("zorbit", "kavu", "mopra", "telwin", "ugano", "fendik", "larsu", "pimoto")
TUNED, REPORTED = (0, 3), (1, 6)
"""Subjects on which thresholds were set, and those whose figures count."""
STRENGTHS = (0.5, 1.0, 1.5)
APART = ((0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5))
"""Strengths of the denoiser and of the text encoder in the pictures with one part at another strength."""


@dataclass(frozen=True)
class View:
    """A grid as an evaluation would see it: `steps` at `strengths`, with the weights of each part multiplied beforehand."""

    steps: tuple[int, ...]
    denoiser: float = 1.0
    text_encoder: float = 1.0
    apart: bool = False
    strengths: tuple[float, ...] = STRENGTHS

    def cells(self) -> dict[Cell, Cell]:
        """Each cell as the evaluation calls it → what was painted for it."""
        shown = [Cell(step, each, each) for step in self.steps for each in self.strengths]
        if self.apart:
            shown += [Cell(self.steps[-1], *pair) for pair in APART]
        return {cell: self.real(cell) for cell in shown}

    def real(self, cell: Cell) -> Cell:
        """What is painted for a cell."""
        return Cell(cell.step, round(cell.strength * self.denoiser, 3), round(cell.text_encoder * self.text_encoder, 3))

    @property
    def probed(self) -> dict[int, Cell]:
        """What the loss is probed of, by step."""
        return {step: self.real(Cell(step, 1.0, 1.0)) for step in self.steps}


@dataclass(frozen=True)
class Training:
    """A planted training and the grids that it is judged by, by the name of the case."""

    name: str
    subject: int
    views: Mapping[str, View]
    steps: int = 240
    every: int = 20
    factor: float = 1.0
    pictures: int = PICTURES
    seed: int = 0
    constant: Mapping[str, str] = field(default_factory=dict)
    style: bool = False

    @property
    def key(self) -> str:
        """The name of its folder."""
        return f"{'style' if self.style else 'subject'}{self.subject}-{self.name}"

    @property
    def trigger(self) -> str:
        """Its trigger word."""
        return "glowline" if self.style else TRIGGERS[self.subject % len(TRIGGERS)]

    def drawings(self) -> list[tuple[Image.Image, str]]:
        """Its pictures and captions."""
        rng = Random(f"{self.subject} {self.style}")
        if self.style:
            beings = [sample(rng) for _ in range(self.pictures)]
            return [(draw_creature(each, Neon()), ", ".join([self.trigger, *tags(each)])) for each in beings]
        found = []
        parts, scenes = subjects.subject(self.subject), subjects.TAGS["background"]
        for number in range(self.pictures):
            drawing = subjects.picture_of(parts, rng, scenes[number % len(scenes)])
            shown = Drawing(drawing.parts, {**drawing.tags, **self.constant}, drawing.pose, drawing.mirrored)
            said = Drawing(parts, {name: tag for name, tag in shown.tags.items() if name not in self.constant})
            found.append((subjects.draw(shown), subjects.caption(self.trigger, said)))
        return found

    def prompts(self) -> dict[str, dict[str, str]]:
        """What is asked for → the tags in it; the trigger alone first."""
        rng = Random(f"prompts {self.subject} {self.style}")
        if self.style:
            chosen = [sample(rng) for _ in range(3)]
            asked = [{"background": c.background, "hat": c.hat, "eyes": c.eyes, "held": c.held} for c in chosen]
            return {", ".join([self.trigger, *tags(c)]): a for c, a in zip(chosen, asked, strict=True)} | {
                self.trigger: {}
            }
        scenes = rng.sample(subjects.TAGS["background"], 3)
        hats = rng.sample(subjects.TAGS["hat"][1:], 2)
        items, eyes = rng.sample(subjects.TAGS["held"][1:], 2), rng.sample(subjects.TAGS["eyes"], 3)
        asked = [
            {"background": scenes[0], "hat": hats[0], "eyes": eyes[0]},
            {"background": scenes[1], "held": items[0], "eyes": eyes[1]},
            {"background": scenes[2], "hat": hats[1], "held": items[1], "eyes": eyes[2]},
        ]
        return {self.trigger: {}} | {", ".join([self.trigger, *tags.values()]): tags for tags in asked}


def trainings(subject: int) -> list[Training]:
    """Those of a subject, the most telling first."""
    whole, late = (80, 120, 180, 240), (120, 240)
    good = {
        "good": View(whole, apart=True),
        "under": View((20, 40)),
        "weights x2": View(late, 2.0, 2.0),
        "weights x0.5": View(late, 0.5, 0.5),
        "U-Net hot": View(late, 2.5, 1.0, apart=True),
        "U-Net cold": View(late, 0.4, 1.0, apart=True),
        "text encoder hot": View(late, 1.0, 4.0, apart=True),
    }
    quarter = (40, 80, 120, 160)
    return [
        Training("good", subject, good),
        Training("fast", subject, {"over by rate": View(quarter)}, 160, 40, 8.0),
        Training("few", subject, {"memorised": View((100, 200, 300, 400))}, 400, 100, 2.0, pictures=4),
        Training("broken", subject, {"broken": View((20, 40))}, 40, 20, 16.0),
        Training("slow", subject, {"under by rate": View((80, 160))}, 160, 80, 0.1),
        Training("leak", subject, {"leaking": View((120, 180, 240))}, 240, 60,
                 constant={"held": "holding balloon", "background": "meadow"}),
        Training("again", subject, {"good": View(whole)}, seed=1),
    ]  # fmt: skip


def styles() -> list[Training]:
    """A style of another pen."""
    return [Training("style", 0, {"style": View((80, 160, 240))}, style=True)]


assert set(TAGS) >= {tag for values in subjects.TAGS.values() for tag in values}
