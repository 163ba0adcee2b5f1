"""Pictures of subjects outside the world: animals, vehicles, plants, signs, faces, objects, in many styles.

They let the VAE, U-Net and tiny CLIP generalise beyond the world's creatures. A subject's looks are a function of its
number; each view of it has its own place, scene and expression.
"""

from __future__ import annotations

from random import Random

from PIL import Image

from lorapipe.pocket.pen import Pen
from lorapipe.pocket.scenes import draw_scene
from lorapipe.pocket.world import ATTRIBUTES
from tools.pocket.subjects.animals import ANIMALS
from tools.pocket.subjects.kit import Place, Subject, styled
from tools.pocket.subjects.things import THINGS

KINDS = (*ANIMALS, *THINGS)


def draw_subject(number: int, view: int = 0, wild: float = 0.0, pen: Pen | None = None) -> tuple[Image.Image, Subject]:
    """Draw a view of subject `number`; return it with the subject.

    `wild` is the chance of a style without a name. A `pen` replaces the subject's own.
    """
    subject = Subject(Random(number), Random(number * 31 + view + 1))
    who, how = subject.who, subject.how
    kind = who.choices([kind for _, kind in KINDS], [weight for weight, _ in KINDS])[0]
    if pen is None:
        pen, style = styled(Random(number * 7 + 3), wild)
        subject.words += style
    background = how.choice(ATTRIBUTES["background"])
    subject.tags["background"] = background
    draw_scene(pen, background, how)
    grow, mirrored = how.uniform(0.8, 1.12), how.random() < 0.5
    left, top = 32 + how.uniform(-4, 4), 32 + how.uniform(-3, 3)
    pen.move(left, top, grow, mirrored)
    kind(subject, pen, Place(left, top, grow, mirrored))
    return pen.picture(), subject
