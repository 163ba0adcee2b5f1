"""The backgrounds of the world. Each fills the whole frame, whatever its shape, with the horizon at `HORIZON`."""

from collections.abc import Callable
from random import Random

from lorapipe.pocket.ink import Colour, Ink, box, mix, oval

HORIZON = 0.7
WHITE = (255, 255, 255)


def draw_scene(ink: Ink, name: str, rng: Random) -> None:
    """Fill the frame with the named background; `rng` places its details."""
    ink.move(0, 0)
    if name in PLAIN:
        ink.fill(box(0, 0, ink.width, ink.height), PLAIN[name])
    else:
        SCENES[name](ink, rng)


PLAIN: dict[str, Colour] = {
    "cream background": (255, 240, 205),
    "mint background": (176, 236, 206),
    "lavender background": (214, 196, 250),
}


def _sky_and_ground(ink: Ink, sky: Colour, ground: Colour) -> float:
    horizon = HORIZON * ink.height
    ink.fill(box(0, 0, ink.width, ink.height), sky)
    ink.fill(box(0, horizon, ink.width, ink.height), ground)
    return horizon


def _scatter(ink: Ink, rng: Random, count: int, top: float, bottom: float, radius: float, colour: Colour) -> None:
    for place in range(count):
        x = ink.width * (place + rng.random()) / count
        ink.fill(oval(x, rng.uniform(top, bottom), radius), colour)


def _meadow(ink: Ink, rng: Random) -> None:
    horizon = _sky_and_ground(ink, (158, 216, 248), (132, 204, 96))
    ink.fill(oval(ink.width * rng.uniform(0.2, 0.8), horizon + 10, ink.width * 0.55, 17), (132, 204, 96))
    x, y = rng.choice((0.14, 0.86)) * ink.width, rng.uniform(9, 16)
    ink.fill(oval(x, y, 8, 3.5), WHITE)
    ink.fill(oval(x + 1, y - 3, 4.5, 3.5), WHITE)
    _scatter(ink, rng, 4, horizon + 6, ink.height - 3, 1.6, (255, 240, 130))


def _beach(ink: Ink, rng: Random) -> None:
    horizon = _sky_and_ground(ink, (178, 230, 250), (246, 220, 150))
    ink.fill(box(0, horizon - 13, ink.width, horizon), (50, 150, 205))
    ink.fill(box(0, horizon - 1.5, ink.width, horizon + 1), WHITE)
    ink.fill(oval(rng.choice((0.13, 0.87)) * ink.width, 11, 6.5), (255, 214, 80))


def _night(ink: Ink, rng: Random) -> None:
    horizon = _sky_and_ground(ink, (36, 42, 96), (58, 66, 118))
    x = rng.choice((0.13, 0.87)) * ink.width
    ink.fill(oval(x, 11, 6), (255, 244, 190))
    ink.fill(oval(x + 3, 9.5, 5), (36, 42, 96))
    _scatter(ink, rng, 7, 4, horizon - 5, 1.2, (255, 250, 215))


def _snow(ink: Ink, rng: Random) -> None:
    horizon = _sky_and_ground(ink, (142, 178, 214), (244, 249, 255))
    ink.fill(oval(ink.width * rng.uniform(0.2, 0.8), horizon + 8, ink.width * 0.5, 13), (244, 249, 255))
    _scatter(ink, rng, 7, 4, horizon - 6, 1.5, WHITE)


def _room(ink: Ink, rng: Random) -> None:
    wall, wood = (240, 196, 160), (164, 108, 70)
    horizon = _sky_and_ground(ink, wall, wood)
    ink.fill(box(0, horizon - 2, ink.width, horizon), mix(wall, WHITE, 0.7))
    x = rng.choice((0.15, 0.85)) * ink.width
    ink.fill(box(x - 8.5, 5, x + 8.5, 25), WHITE)
    for left in (x - 6.5, x + 0.8):
        ink.fill(box(left, 7, left + 5.7, 23), (150, 210, 245))


def _forest(ink: Ink, rng: Random) -> None:
    horizon = _sky_and_ground(ink, (206, 232, 190), (94, 138, 70))
    trees = round(ink.width / 13)
    for tree in range(trees + 1):
        x, top = ink.width * (tree + rng.uniform(-0.2, 0.2)) / trees, rng.uniform(4, 16)
        ink.fill([(x - 9, horizon + 1), (x, top), (x + 9, horizon + 1)], (38, 110, 74) if tree % 2 else (58, 134, 86))


SCENES: dict[str, Callable[[Ink, Random], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "night sky": _night,
    "snow": _snow,
    "room": _room,
    "forest": _forest,
}
