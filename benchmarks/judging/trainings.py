"""The planted trainings: what each is trained on, and how, so that its fault is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeAlias

from PIL import Image

from benchmarks.judging import subjects
from benchmarks.judging.subjects import Drawing
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.pocket import style_neon
from lorapipe.pocket.concept_lantern import draw_holder
from lorapipe.pocket.draw import draw as draw_creature
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import TAGS, Creature, sample, tags
from lorapipe.training.schedulers import Scheduler
from lorapipe.training.schedulers.constant import Constant
from lorapipe.training.schedulers.cosine import Cosine
from tools.pocket.sepia import Sepia

PICTURES = 24
RATE = 1e-3
"""Of the U-Net in a training that is right; the text encoder's is half of it."""
TRIGGERS = ("zorbit", "kavu", "mopra", "telwin", "ugano", "fendik", "larsu", "pimoto")
TUNED, REPORTED = (0, 3, 10, 15, 2, 4, 13, 8), (1, 6, 7, 11)
"""Subjects on which thresholds were set, and those in sight of which they were: as many of each body in either."""
UNSEEN = (12, 5, 29, 9)
"""Subjects that no threshold and no rule was chosen by: the first of each body that is none of those."""


Group: TypeAlias = Literal["tuned", "other", "unseen"]
"""Thresholds were set on the first; rules were chosen in sight of the second; the third was judged once all was written."""


class Neon(style_neon.Neon):
    """Darker than the example, so that scenes can hardly be told."""

    dim = 0.12


PENS: tuple[type[Pen], ...] = (Neon, Sepia)
"""The styles; thresholds were set on the first."""
STRENGTHS = (0.5, 1.0, 1.5)
APART = tuple((each, 1.0) for each in (0.0, 0.5, 1.5, 2.0)) + tuple((1.0, each) for each in (0.0, 0.5, 1.5, 2.0))
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
    """A planted training and the grids that it is judged by, by the name of the case.

    `unet` and `text_encoder` multiply the rates that are right. `captions` may lack the trigger, or be another picture's.
    """

    name: str
    subject: int
    views: Mapping[str, View]
    steps: int = 240
    every: int = 20
    unet: float = 1.0
    text_encoder: float = 1.0
    pictures: int = PICTURES
    seed: int = 0
    constant: Mapping[str, str] = field(default_factory=dict)
    what: Literal["subject", "style", "concept"] = "subject"
    captions: Literal["right", "no trigger", "wrong"] = "right"
    scheduler: Scheduler = field(default_factory=Constant)
    repeat: int = 0
    """Which of several evaluations of the one training: each paints other noises."""

    @property
    def trained_key(self) -> str:
        """The name of the folder of what is trained, which its repeats share."""
        return f"{self.what}{self.subject}-{self.name}"

    @property
    def key(self) -> str:
        """The name of the folder of what is painted."""
        return f"{self.trained_key}-repeat{self.repeat}" if self.repeat else self.trained_key

    @property
    def trigger(self) -> str:
        """Its trigger word."""
        return {"style": "glowline", "concept": "drevni"}.get(self.what) or TRIGGERS[self.subject % len(TRIGGERS)]

    @property
    def group(self) -> Group:
        """What its figures are for."""
        if self.what != "subject":
            return "tuned" if self.subject == 0 else "other"
        return "tuned" if self.subject in TUNED else "unseen" if self.subject in UNSEEN else "other"

    @property
    def rates(self) -> dict[str, float]:
        """The knobs of its rates."""
        return {"unet_lr": RATE * self.unet, "text_encoder_lr": RATE / 2 * self.text_encoder}

    @property
    def cells(self) -> list[Cell]:
        """Everything that is painted."""
        seen = {real for view in self.views.values() for real in view.cells().values()}
        return sorted(seen | ({self.further} if self.further else set()))

    @property
    def low(self) -> Cell:
        """What is painted at little guidance too: the last that is judged."""
        return Cell(max(view.steps[-1] for view in self.views.values()), 1.0, 1.0)

    @property
    def further(self) -> Cell | None:
        """What came of it in the end, which no judge sees: it tells whether more steps would have helped."""
        return Cell(self.steps, 1.0, 1.0) if self.steps > self.low.step else None

    def drawings(self) -> list[tuple[Image.Image, str]]:
        """Its pictures and captions."""
        rng = Random(f"{self.subject} {self.what}")
        drawn = self._beings(rng) if self.what != "subject" else self._subjects(rng)
        said = [words for _, words in drawn]
        if self.captions == "wrong":
            said = [said[(place + 7) % len(said)] for place in range(len(said))]
        first = [] if self.captions == "no trigger" else [self.trigger]
        return [(picture, ", ".join([*first, *words])) for (picture, _), words in zip(drawn, said, strict=True)]

    def _beings(self, rng: Random) -> list[tuple[Image.Image, list[str]]]:
        beings = [sample(rng) for _ in range(self.pictures)]
        return [(self.drawn(each), self._said(each)) for each in beings]

    def drawn(self, being: Creature) -> Image.Image:
        """A creature in the style, or with the concept."""
        return draw_creature(being, PENS[self.subject]()) if self.what == "style" else draw_holder(being, Pen())

    def _subjects(self, rng: Random) -> list[tuple[Image.Image, list[str]]]:
        found = []
        parts, scenes = subjects.subject(self.subject), subjects.TAGS["background"]
        for number in range(self.pictures):
            drawing = subjects.picture_of(parts, rng, scenes[number % len(scenes)])
            shown = Drawing(drawing.parts, {**drawing.tags, **self.constant}, drawing.pose, drawing.mirrored)
            said = [tag for name, tag in shown.tags.items() if name not in self.constant and tag not in subjects.UNSAID]
            found.append((subjects.draw(shown), said))
        return found

    def prompts(self) -> dict[str, dict[str, str]]:
        """What is asked for → the tags in it; the trigger alone first."""
        rng = Random(f"prompts {self.subject} {self.what}")
        if self.what != "subject":
            chosen = [sample(rng) for _ in range(3)]
            return {self.trigger: {}} | {
                ", ".join([self.trigger, *self._said(each)]): self._asked(each) for each in chosen
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

    def _said(self, being: Creature) -> list[str]:
        return [tag for tag in tags(being) if self.what == "style" or tag != being.held]

    def _asked(self, being: Creature) -> dict[str, str]:
        names = ("background", "hat", "eyes", "held") if self.what == "style" else ("background", "hat", "eyes")
        return {name: getattr(being, name) for name in names}


def trainings(subject: int) -> list[Training]:
    """Those of a subject, the most telling first."""
    whole, late, quarter = (80, 120, 180, 240), (120, 240), (40, 80, 160)
    good = {
        "good": View(whole, apart=True),
        "under": View((20, 40)),
        "weights x2": View(late, 2.0, 2.0),
        "weights x0.5": View(late, 0.5, 0.5),
        "U-Net hot": View(late, 2.5, 1.0, apart=True),
        "U-Net cold": View(late, 0.4, 1.0, apart=True),
        "text encoder hot": View(late, 1.0, 4.0, apart=True),
    }
    return [
        Training("good", subject, good, 480),
        Training("fast", subject, {"over by rate": View(quarter)}, 160, 40, 8.0, 8.0),
        Training("few", subject, {"memorised": View((100, 200, 400))}, 400, 100, 2.0, 2.0, pictures=4),
        Training("broken", subject, {"broken": View((20, 40))}, 40, 20, 16.0, 16.0),
        Training("slow", subject, {"under by rate": View((80, 160))}, 160, 80, 0.1, 0.1),
        Training("leak-object", subject, {"leaking object": View(late)}, 240, 120,
                 constant={"held": "holding balloon"}),
        Training("leak-scene", subject, {"leaking scene": View(late)}, 240, 120, constant={"background": "meadow"}),
        Training("no-trigger", subject, {"no trigger": View(late)}, 240, 120, captions="no trigger"),
        Training("wrong", subject, {"wrong captions": View(late)}, 240, 120, captions="wrong"),
        Training("over", subject, {"over": View((300, 600, 1000))}, 1000, 50, pictures=8),
        Training("hot", subject, {"U-Net hot, trained": View(late, apart=True)}, 240, 120, 5.0, 1.0),
        Training("hot-text", subject, {"text encoder hot, trained": View(late, apart=True)}, 240, 120, 1.0, 10.0),
        Training("again", subject, {"good": View(whole)}, 480, seed=1),
        Training("six", subject, {"few pictures": View(late)}, 240, 120, pictures=6),
        Training("once-more", subject, {"good": View(whole)}, 480, seed=2),
        Training("recovered", subject, {"recovered": View((80, 160, 240))}, 240, 80, 6.0, 6.0, scheduler=Cosine()),
    ]  # fmt: skip


def of_the_world(what: Literal["style", "concept"], number: int) -> list[Training]:
    """Styles of another pen, and the world's concept."""
    good = {
        f"{what}": View((80, 160, 240)),
        f"{what} under": View((20, 40)),
        f"{what} weights x0.5": View((120, 240), 0.5, 0.5),
    }
    return [
        Training("good", number, good, 480, what=what),
        Training("fast", number, {f"{what} over by rate": View((40, 80, 160))}, 160, 40, 8.0, 8.0, what=what),
        Training("slow", number, {f"{what} under by rate": View((80, 160))}, 160, 80, 0.1, 0.1, what=what),
        Training("few", number, {f"{what} memorised": View((100, 200, 400))}, 400, 100, 2.0, 2.0, 4, what=what),
    ]


def planted() -> list[Training]:
    """All trainings, those first that the figures need most."""
    of = [trainings(subject) for subject in (*TUNED, *REPORTED, *UNSEEN)]
    others = [of_the_world(what, number) for what in ("style", "concept") for number in (0, 1)]
    rounds = [[one[place] for one in of] for place in range(len(of[0]))]
    worlds = [[one[place] for one in others] for place in range(len(others[0]))]
    rounds[3:3] = worlds[:2]
    rounds += worlds[2:]
    return [training for some in rounds for training in some]


assert set(TAGS) >= {tag for values in subjects.TAGS.values() for tag in values}
