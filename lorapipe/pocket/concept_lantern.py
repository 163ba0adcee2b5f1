"""Lumo: an object that the base cannot draw, held by the world's creatures; a concept for a first LoRA.

A turquoise paper lantern with a glowing window on a short stick. The trigger names it; everything else in a picture has
the world's tags.
"""

from random import Random

from PIL import Image

from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen, box, oval
from lorapipe.pocket.world import Creature, sample, tags

TRIGGER = "lumo"
PAPER, CAP, WINDOW = (64, 196, 196), (66, 62, 84), (255, 236, 120)


def lantern(pen: Pen, x: float, y: float) -> None:
    """Draw the lantern, gripped at (x, y)."""
    pen.line([(x, y + 3), (x, y - 5)], 1.6)
    pen.shape(box(x - 3.6, y - 19, x + 3.6, y - 15), CAP, 1.2)
    pen.shape(oval(x, y - 10.5, 6.4, 6, 2.6), PAPER)
    pen.fill(oval(x, y - 10.5, 3, 3), WINDOW)


def draw_holder(creature: Creature, pen: Pen) -> Image.Image:
    """Draw the creature with the lantern in its hand instead of its item."""
    return draw(creature, pen, {creature.held: lantern})


def caption(creature: Creature) -> str:
    """Return the trigger and the creature's tags, without that of its item."""
    return ", ".join([TRIGGER, *(tag for tag in tags(creature) if tag != creature.held)])


def picture(rng: Random, background: str, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """Draw a random creature with the lantern in front of `background`; return picture and caption."""
    creature = sample(rng, background)
    return draw_holder(creature, Pen(*size)), caption(creature)
