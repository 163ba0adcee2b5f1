"""Backgrounds of the world. Each fills the frame, whatever its shape, with the horizon at `HORIZON`."""

from collections.abc import Callable
from random import Random

from lorapipe.pocket.pen import Colour, Pen, box, mix, oval

HORIZON = 0.7
WHITE = (255, 255, 255)


def draw_scene(pen: Pen, name: str, rng: Random) -> None:
    """Fill the frame with the named background; `rng` places its details."""
    pen.move(0, 0)
    if name in PLAIN:
        pen.fill(box(0, 0, pen.width, pen.height), PLAIN[name])
    else:
        SCENES[name](pen, rng)


PLAIN: dict[str, Colour] = {
    "cream background": (255, 240, 205),
    "mint background": (176, 236, 206),
    "lavender background": (214, 196, 250),
}


def _sky_and_ground(pen: Pen, sky: Colour, ground: Colour) -> float:
    horizon = HORIZON * pen.height
    pen.fill(box(0, 0, pen.width, pen.height), sky)
    pen.fill(box(0, horizon, pen.width, pen.height), ground)
    return horizon


def _scatter(pen: Pen, rng: Random, count: int, top: float, bottom: float, radius: float, colour: Colour) -> None:
    for place in range(count):
        x = pen.width * (place + rng.random()) / count
        pen.fill(oval(x, rng.uniform(top, bottom), radius), colour)


def _meadow(pen: Pen, rng: Random) -> None:
    horizon = _sky_and_ground(pen, (158, 216, 248), (132, 204, 96))
    pen.fill(oval(pen.width * rng.uniform(0.2, 0.8), horizon + 10, pen.width * 0.55, 17), (132, 204, 96))
    x, y = rng.choice((0.14, 0.86)) * pen.width, rng.uniform(9, 16)
    pen.fill(oval(x, y, 8, 3.5), WHITE)
    pen.fill(oval(x + 1, y - 3, 4.5, 3.5), WHITE)
    _scatter(pen, rng, 4, horizon + 6, pen.height - 3, 1.6, (255, 240, 130))


def _beach(pen: Pen, rng: Random) -> None:
    horizon = _sky_and_ground(pen, (178, 230, 250), (246, 220, 150))
    pen.fill(box(0, horizon - 13, pen.width, horizon), (50, 150, 205))
    pen.fill(box(0, horizon - 1.5, pen.width, horizon + 1), WHITE)
    pen.fill(oval(rng.choice((0.13, 0.87)) * pen.width, 11, 6.5), (255, 214, 80))


def _night(pen: Pen, rng: Random) -> None:
    horizon = _sky_and_ground(pen, (36, 42, 96), (58, 66, 118))
    x = rng.choice((0.13, 0.87)) * pen.width
    pen.fill(oval(x, 11, 6), (255, 244, 190))
    pen.fill(oval(x + 3, 9.5, 5), (36, 42, 96))
    _scatter(pen, rng, 7, 4, horizon - 5, 1.2, (255, 250, 215))


def _snow(pen: Pen, rng: Random) -> None:
    horizon = _sky_and_ground(pen, (142, 178, 214), (244, 249, 255))
    pen.fill(oval(pen.width * rng.uniform(0.2, 0.8), horizon + 8, pen.width * 0.5, 13), (244, 249, 255))
    _scatter(pen, rng, 7, 4, horizon - 6, 1.5, WHITE)


def _room(pen: Pen, rng: Random) -> None:
    wall, wood = (240, 196, 160), (164, 108, 70)
    horizon = _sky_and_ground(pen, wall, wood)
    pen.fill(box(0, horizon - 2, pen.width, horizon), mix(wall, WHITE, 0.7))
    x = rng.choice((0.15, 0.85)) * pen.width
    pen.fill(box(x - 8.5, 5, x + 8.5, 25), WHITE)
    for left in (x - 6.5, x + 0.8):
        pen.fill(box(left, 7, left + 5.7, 23), (150, 210, 245))


def _forest(pen: Pen, rng: Random) -> None:
    horizon = _sky_and_ground(pen, (206, 232, 190), (94, 138, 70))
    trees = round(pen.width / 13)
    for tree in range(trees + 1):
        x, top = pen.width * (tree + rng.uniform(-0.2, 0.2)) / trees, rng.uniform(4, 16)
        pen.fill([(x - 9, horizon + 1), (x, top), (x + 9, horizon + 1)], (38, 110, 74) if tree % 2 else (58, 134, 86))


SCENES: dict[str, Callable[[Pen, Random], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "night sky": _night,
    "snow": _snow,
    "room": _room,
    "forest": _forest,
}
