"""Neon: the world's creatures as glowing tubes on a night wall, a style that the base cannot draw."""

from collections.abc import Iterable

from PIL import Image, ImageChops, ImageFilter

from lorapipe.pocket.pen import DARK, OVERSAMPLE, Colour, Pen, Point, mix

TRIGGER = "neonglow"
WALL: Colour = (10, 6, 24)
TUBE: Colour = (150, 255, 255)


class Neon(Pen):
    """Pen of light: shapes are dim, their outlines shine in the shape's own colour, dark lines become cyan tubes."""

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        super().fill(points, TUBE if colour == DARK else mix(WALL, colour, 0.13))

    def shape(self, points: Iterable[Point], colour: Colour, weight: float = 1.5) -> None:
        points = list(points)
        self.fill(points, colour)
        self.outline(points, weight, colour)

    def line(self, points: Iterable[Point], weight: float = 1.5, colour: Colour = DARK) -> None:
        super().line(points, min(weight, 1.6), TUBE if colour == DARK else _bright(colour))

    def picture(self) -> Image.Image:
        """The finished picture with light spilling over its surroundings."""
        halo = self.image.filter(ImageFilter.GaussianBlur(1.6 * self.pixels))
        return ImageChops.screen(self.image, halo).reduce(OVERSAMPLE)


def _bright(colour: Colour) -> Colour:
    top = max(max(colour), 1)
    red, green, blue = (round(255 * (part / top) ** 1.4) for part in colour)
    return red, green, blue
