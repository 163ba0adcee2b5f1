"""Building blocks of subjects: named colours, drawing styles, and the creatures' faces, hats and items."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from PIL import Image

from lorapipe.pocket.draw import COLOURS, EYES, MOUTHS
from lorapipe.pocket.hats_and_items import HATS, HELD
from lorapipe.pocket.pen import DARK, Colour, Pen, Point, mix, oval
from lorapipe.pocket.scenes import WHITE

NAMED: dict[str, Colour] = {**COLOURS, "black": (48, 46, 54), "grey": (142, 144, 152), "turquoise": (64, 196, 196)}


class StyledPen(Pen):
    """Pen with another drawing style.

    `thickness` is a factor on outlines (0: none), `outline` their colour, `paper` a colour and the share of it that is
    blended into fills, `halo` the width of a glow (units); with `own_outline` a shape's outline has its own colour.
    """

    def __init__(self, thickness: float = 1.0, outline: Colour = DARK, paper: tuple[Colour, float] | None = None,
                 halo: float = 0.0, own_outline: bool = False, size: tuple[int, int] = (64, 64)) -> None:  # fmt: skip
        super().__init__(*size)
        self.thickness, self.own, self.paper, self.halo, self.own_outline = thickness, outline, paper, halo, own_outline

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        if colour == DARK:
            colour = self.own
        elif self.paper is not None:
            colour = mix(colour, *self.paper)
        super().fill(points, colour)

    def shape(self, points: Iterable[Point], colour: Colour, weight: float = 1.5) -> None:
        points = list(points)
        self.fill(points, colour)
        if self.thickness:
            self.outline(points, weight * self.thickness, colour if self.own_outline else DARK)

    def line(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        thick = max(0.7, weight * (self.thickness or 1.0)) if colour == DARK else weight
        super().line(points, thick, self.own if colour == DARK else colour)

    def picture(self) -> Image.Image:
        return self.glowing(self.halo) if self.halo else super().picture()


def styled(rng: Random, wild: float) -> tuple[Pen, list[str]]:
    """Return a random pen and the words for its style; with probability `wild` a style without a name."""
    if rng.random() < wild:
        kind = rng.randrange(4)
        bright = any_colour(rng)
        if kind == 0:
            dark = (rng.randrange(40), rng.randrange(40), rng.randrange(40))
            return StyledPen(
                rng.uniform(0.5, 1.1), bright, (dark, rng.uniform(0.6, 0.95)), rng.uniform(0.8, 2.2), True
            ), []
        if kind == 1:
            return StyledPen(rng.uniform(0.3, 1.4), bright), []
        if kind == 2:
            return StyledPen(rng.uniform(0.3, 1.2), bright, (any_colour(rng), rng.uniform(0.2, 0.8))), []
        return StyledPen(rng.uniform(0.3, 1.0), DARK, None, rng.uniform(0.5, 1.5)), []
    style = rng.random()
    if style < 0.08:
        return StyledPen(0.6, DARK, (WHITE, 0.92)), ["line drawing"]
    if style < 0.16:
        return StyledPen(0.0), ["no outline"]
    if style < 0.24:
        return StyledPen(0.45), ["thin outline"]
    return Pen(), []


@dataclass(frozen=True)
class Place:
    """Position (units) and scale of a subject in the picture, and whether it is mirrored."""

    left: float
    top: float
    grow: float
    mirrored: bool

    @property
    def side(self) -> int:
        """-1 where mirrored."""
        return -1 if self.mirrored else 1


@dataclass
class Subject:
    """A subject: its kind, its tags by attribute, and generators for its looks (`who`) and for this picture (`how`)."""

    who: Random
    how: Random
    tags: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def colour(self, share: float = 0.7) -> Colour:
        """Return the colour of its tags with probability `share`, else a random one."""
        name = self.who.choice([*NAMED])
        if "colour" not in self.tags:
            self.tags["colour"] = name
            return jitter(self.who, NAMED[name], 18)
        return jitter(self.who, NAMED[name], 18) if self.who.random() < share else any_colour(self.who)

    def face(self, pen: Pen, at: Place, spot: Point, scale: float, hat: float | None) -> None:
        """Draw eyes and mouth around a spot, scaled by `scale`, and a hat whose brim lies `hat` above it."""
        x, y = spot
        pen.move(at.left + at.side * at.grow * x, at.top + at.grow * y, scale, at.mirrored)
        eyes, mouth = self.how.choice([*EYES]), self.how.choice([*MOUTHS])
        self.tags |= {"eyes": eyes, "mouth": mouth}
        EYES[eyes](pen, -2.5)
        MOUTHS[mouth](pen, 4.5)
        if hat is not None:
            self.hat(pen, hat)

    def hat(self, pen: Pen, y: float) -> None:
        name = self.how.choice([*HATS]) if self.how.random() < 0.5 else "no hat"
        self.tags["hat"] = name
        if name in HATS:
            HATS[name](pen, y)

    def hold(self, pen: Pen, x: float, y: float) -> None:
        name = self.how.choice([*HELD]) if self.how.random() < 0.45 else "empty hands"
        self.tags["held"] = name
        if name in HELD:
            HELD[name](pen, x, y)

    def marks(self, pen: Pen, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Draw spots, stripes, or a patch of the second colour within an oval."""
        kind = self.who.choice(("plain", "plain", "spots", "stripes", "patch", "diamond"))
        shade = mix(colour, DARK, 0.42) if self.who.random() < 0.5 else any_colour(self.who)
        if kind in ("plain", "spots", "stripes"):
            self.tags["pattern"] = kind
        if kind == "spots":
            places = Random(self.who.random())
            for _ in range(places.randint(3, 6)):
                pen.fill(
                    oval(
                        x + places.uniform(-0.7, 0.7) * width,
                        y + places.uniform(-0.6, 0.6) * height,
                        places.uniform(1.3, 2.6),
                    ),
                    shade,
                )
        if kind == "stripes":
            for at in (-0.6, -0.1, 0.4):
                pen.fill(
                    [
                        (x + at * width, y - height * 0.75),
                        (x + at * width + 2, y - height * 0.75),
                        (x + at * width + 2, y + height * 0.75),
                        (x + at * width, y + height * 0.75),
                    ],
                    shade,
                )
        if kind == "patch":
            pen.fill(oval(x, y + height * 0.3, width * 0.6, height * 0.5), mix(colour, WHITE, 0.7))
        if kind == "diamond":
            size = self.who.uniform(3, 5.5)
            pen.shape([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], shade, 1.2)


Drawing = Callable[[Subject, Pen, Place], None]


def jitter(rng: Random, colour: Colour, spread: int) -> Colour:
    red, green, blue = (min(255, max(0, part + rng.randint(-spread, spread))) for part in colour)
    return red, green, blue


def any_colour(rng: Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)
