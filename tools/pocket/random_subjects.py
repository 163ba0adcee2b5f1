"""Pictures of things that are not in the world, so that the tiny CLIP learns likeness and not only its tags.

A stranger is a handful of random shapes in random colours. It is drawn twice, in different places, sizes and scenes;
the two pictures show the same subject.
"""

from collections.abc import Callable
from random import Random

from PIL import Image

from lorapipe.pocket.pen import Colour, Pen, Point, box, oval, star
from lorapipe.pocket.scenes import draw_scene
from lorapipe.pocket.world import ATTRIBUTES


def draw_pair(seed: int) -> tuple[Image.Image, Image.Image]:
    """Two pictures of stranger `seed`."""
    return _draw(seed, 0), _draw(seed, 1)


def _draw(seed: int, view: int) -> Image.Image:
    identity, chance, pen = Random(seed), Random(2 * seed + view), Pen()
    draw_scene(pen, chance.choice(ATTRIBUTES["background"]), chance)
    pen.move(32 + chance.uniform(-5, 5), 34 + chance.uniform(-5, 5), chance.uniform(0.8, 1.15), chance.random() < 0.5)
    palette = [_colour(identity) for _ in range(3)]
    for part in range(identity.randint(4, 9)):
        spread = 6 if part == 0 else 17
        x, y = identity.uniform(-spread, spread), identity.uniform(-spread, spread)
        size = identity.uniform(8, 15) if part == 0 else identity.uniform(2.5, 9)
        shape = identity.choice(SHAPES)(x, y, size, identity.uniform(0.4, 1.6))
        pen.shape(shape, identity.choice(palette))
    return pen.picture()


def _colour(rng: Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


SHAPES: list[Callable[[float, float, float, float], list[Point]]] = [
    lambda x, y, size, aspect: oval(x, y, size, size * aspect),
    lambda x, y, size, aspect: oval(x, y, size, size * aspect, 5),
    lambda x, y, size, aspect: box(x - size, y - size * aspect, x + size, y + size * aspect),
    lambda x, y, size, aspect: star(x, y, size, size * aspect * 0.5),
    lambda x, y, size, aspect: [(x - size, y + size * aspect), (x, y - size * aspect), (x + size, y + size * aspect)],
]
