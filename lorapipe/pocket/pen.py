"""Drawing of outlined shapes in units of 1/64 of the picture's shorter side.

Pictures are drawn at `OVERSAMPLE` times their size and averaged down, for smooth edges. A drawing style is a subclass of
`Pen`.
"""

import math
from collections.abc import Iterable

from PIL import Image, ImageChops, ImageDraw, ImageFilter

OVERSAMPLE = 4
UNITS = 64.0
DARK = (44, 34, 60)

Colour = tuple[int, int, int]
Point = tuple[float, float]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend `share` (0..1) of `second` into `first`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def oval(x: float, y: float, width: float, height: float | None = None, power: float = 2.0) -> list[Point]:
    """Return a superellipse around (x, y) with half axes `width` and `height`; power 2 is an ellipse, 6 a rounded box."""
    height = width if height is None else height
    points = []
    for step in range(48):
        angle = 2 * math.pi * step / 48
        cos, sin = math.cos(angle), math.sin(angle)
        points.append((x + width * _signed(cos, 2 / power), y + height * _signed(sin, 2 / power)))
    return points


def star(x: float, y: float, outer: float, inner: float, tips: int = 5) -> list[Point]:
    """Return a star with one tip up."""
    radii = (outer, inner) * tips
    angles = (math.pi * step / tips - math.pi / 2 for step in range(2 * tips))
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Return the four corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def arc(x: float, y: float, width: float, height: float, start: float, stop: float) -> list[Point]:
    """Return points of an elliptic arc from `start` to `stop` degrees; 0 is right and 90 is down."""
    angles = (math.radians(start + (stop - start) * step / 16) for step in range(17))
    return [(x + width * math.cos(a), y + height * math.sin(a)) for a in angles]


def _signed(value: float, power: float) -> float:
    return math.copysign(abs(value) ** power, value)


class Pen:
    """Canvas of `width` x `height` pixels. `move` sets the origin of the next shapes."""

    def __init__(self, width: int = 64, height: int = 64) -> None:
        self.size = (width, height)
        self.pixels = OVERSAMPLE * min(width, height) / UNITS
        self.width, self.height = width / min(self.size) * UNITS, height / min(self.size) * UNITS
        self.image = Image.new("RGB", (OVERSAMPLE * width, OVERSAMPLE * height))
        self.canvas = ImageDraw.Draw(self.image)
        self.move(0, 0)

    def move(self, x: float, y: float, scale: float = 1.0, mirrored: bool = False) -> None:
        """Set the origin to (x, y) of the picture, and scale the next shapes by `scale`."""
        self.origin, self.scale, self.mirrored = (x, y), scale, mirrored

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        """Draw a shape without an outline."""
        self.canvas.polygon(self._place(points), fill=colour)

    def shape(self, points: Iterable[Point], colour: Colour, weight: float = 1.5) -> None:
        """Draw a filled shape with a dark outline of `weight` units."""
        points = list(points)
        self.fill(points, colour)
        self.outline(points, weight)

    def outline(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        """Draw a closed line."""
        points = list(points)
        self.line([*points, points[0]], weight, colour)

    def line(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        """Draw an open line with round ends and corners."""
        placed, breadth = self._place(points), weight * self.scale * self.pixels
        self.canvas.line(placed, fill=colour, width=max(1, round(breadth)))
        radius = breadth / 2
        for x, y in placed:
            self.canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def picture(self) -> Image.Image:
        """Return the finished picture."""
        return self.image.reduce(OVERSAMPLE)

    def glowing(self, halo: float) -> Image.Image:
        """Return the finished picture with a glow of `halo` units around what is bright."""
        glow = self.image.filter(ImageFilter.GaussianBlur(halo * self.pixels))
        return ImageChops.screen(self.image, glow).reduce(OVERSAMPLE)

    def _place(self, points: Iterable[Point]) -> list[Point]:
        side = -1 if self.mirrored else 1
        grow, (left, top) = self.scale, self.origin
        return [((left + side * grow * x) * self.pixels, (top + grow * y) * self.pixels) for x, y in points]
