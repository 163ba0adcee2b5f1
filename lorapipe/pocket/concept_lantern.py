"""Lumo: a thing that the base cannot draw, held by the world's creatures; a concept for a first LoRA.

A turquoise paper lantern with a glowing window on a short stick. The trigger stands for it; all else that a picture shows
has the world's tags.
"""

from random import Random

from PIL import Image

from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen, box, oval
from lorapipe.pocket.world import Creature, sample, tags

TRIGGER = "lumo"
PAPER, CAP, WINDOW = (64, 196, 196), (66, 62, 84), (255, 236, 120)


def lantern(pen: Pen, x: float, y: float) -> None:
    """The thing itself, gripped at (x, y)."""
    pen.line([(x, y + 3), (x, y - 5)], 1.6)
    pen.shape(box(x - 3.6, y - 19, x + 3.6, y - 15), CAP, 1.2)
    pen.shape(oval(x, y - 10.5, 6.4, 6, 2.6), PAPER)
    pen.fill(oval(x, y - 10.5, 3, 3), WINDOW)


def draw_holder(creature: Creature, pen: Pen) -> Image.Image:
    """The creature with the lantern in its hand, whatever else it would hold."""
    return draw(creature, pen, {creature.held: lantern})


def caption(creature: Creature) -> str:
    """The trigger and the creature's tags, without that of what else it would hold."""
    return ", ".join([TRIGGER, *(tag for tag in tags(creature) if tag != creature.held)])


def picture(rng: Random, background: str, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """Any creature with the lantern in front of `background`, with its caption."""
    creature = sample(rng, background)
    return draw_holder(creature, Pen(*size)), caption(creature)
