"""Ways of showing a picture: mirrored, cut elsewhere, around the face, in slightly other colours.

Each way is encoded once and kept, as the plain picture is, and every showing draws one of them. So augmentation needs no
VAE beside the training, costs no time in it, and forbids no cache, which it does elsewhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.spec import Spec, param
from lorapipe.training import seeds
from lorapipe.training.data.buckets import Fit, Pair
from lorapipe.training.data.manifest import Picture, Variant

if TYPE_CHECKING:
    from PIL.Image import Image

FACE = re.compile(r"_(\d+)_(\d+)_(\d+)_(\d+)$")
"""The centre, width and height of the face at the end of a file's name, as kohya's `detect_face_rotate.py` writes them."""
HUE = 8 / 180
"""The largest turn of the hue, as a share of the circle: kohya's `HueSaturationValue(8, 0, 0)`."""
GAMMA = 0.05
"""The largest change of gamma: kohya's `RandomGamma((95, 105))`."""
VARIANTS = 8
"""In how many ways a picture is encoded where they differ from way to way."""


@dataclass(frozen=True)
class Augmentation(Spec):
    """How pictures are shown in more than one way. By default they are not."""

    flip: bool = param(
        False,
        "also mirrored; not for subjects whose left and right differ: a parting, a scar, a side bag",
        kohya=("flip_aug",),
    )
    colour: bool = param(False, "in slightly other colours: turned hue, changed gamma", kohya=("color_aug",))
    random_crop: bool = param(
        False, "cut at random places rather than in the middle, where a picture overlaps its bucket"
    )
    face_crop: tuple[float, ...] = param(
        (),
        "cut around the face, the cut's shorter side being so many times the face's: [2.0, 4.0]. For "
        "pictures whose names end with the face's place, _cx_cy_w_h",
        ge=1,
        le=100,
        kohya=("face_crop_aug_range",),
    )
    variants: int = param(
        VARIANTS,
        "with colour, random_crop or face_crop: in how many ways each picture is encoded and kept",
        ge=2,
        le=256,
    )

    def problems(self) -> Iterator[Problem]:
        if self.face_crop and (len(self.face_crop) != 2 or self.face_crop[0] > self.face_crop[1]):
            yield Problem("not a range.", cure="Write the smaller number first: [2.0, 4.0].", path=("face_crop",))
        if self.variants != VARIANTS and not (self.colour or self.random_crop or self.face_crop):
            what = "nothing is asked for that would differ from way to way."
            yield Problem(what, cure="Give colour, random_crop or face_crop, or take it away.", path=("variants",))
        if self.face_crop and self.random_crop:
            what = "face_crop and random_crop both say where to cut."
            yield Problem(what, cure="Take one of them away.", path=("random_crop",))

    @property
    def ways(self) -> int:
        """In how many ways a picture is encoded."""
        if self.colour or self.random_crop or self.face_crop:
            return 1 + self.variants
        return 2 if self.flip else 1

    def variants_of(self, picture: Picture) -> tuple[Variant, ...]:
        """The ways of showing a picture, functions of its digest; none where there is only the plain one."""
        plain = Variant(picture.resized, picture.crop)
        drawn = self.colour or self.random_crop or (self.face_crop and face(picture) is not None)
        if not drawn:
            return (plain, Variant(picture.resized, picture.crop, flip=True)) if self.flip else ()
        return tuple(self._variant(picture, number) for number in range(self.variants))

    def _variant(self, picture: Picture, number: int) -> Variant:
        chance = seeds.chance("variant", picture.digest, number)
        resized, crop = picture.resized, picture.crop
        place = face(picture) if self.face_crop else None
        if place is not None:
            resized, crop = _around(place, picture.size, picture.bucket, self.face_crop, chance)
        elif self.random_crop:
            room = [whole - part for whole, part in zip(resized, picture.bucket, strict=True)]
            crop = (chance.randint(0, room[0]), chance.randint(0, room[1]))
        return Variant(resized, crop, self.flip and number % 2 == 1, number if self.colour else 0)


def face(picture: Picture) -> tuple[int, int, int, int] | None:
    """Where a picture's name says its face is: centre x and y, width, height, in pixels; None where it does not."""
    found = FACE.search(PurePosixPath(picture.path).stem)
    if found is None:
        return None
    x, y, width, height = map(int, found.groups())
    inside = x < picture.size[0] and y < picture.size[1] and min(width, height) > 0
    return (x, y, width, height) if inside else None


def _around(
    place: tuple[int, int, int, int], size: Pair, bucket: Pair, span: tuple[float, ...], chance: random.Random
) -> tuple[Pair, Pair]:
    """(resized, crop) of a cut around a face: kohya's `crop_target` (`train_util.py`), which knew no buckets.

    The picture is enlarged only where it would not cover its bucket otherwise.
    """
    x, y, width, height = place
    longest, shorter = max(width, height), min(bucket)
    cover = max(bucket[0] / size[0], bucket[1] / size[1])
    low = max(cover, min(1.0, shorter / (longest * span[1])))
    high = max(low, min(1.0, shorter / (longest * span[0])))
    scale = chance.uniform(low, high)
    resized = max(bucket[0], int(size[0] * scale + 0.5)), max(bucket[1], int(size[1] * scale + 0.5))
    shake = int(longest * scale / 20)
    corner = []
    for middle, part, whole in zip((x, y), bucket, resized, strict=True):
        start = int(middle * scale) - part // 2 + chance.randint(-shake, shake)
        corner.append(max(0, min(start, whole - part)))
    return resized, (corner[0], corner[1])


def shown(image: Image, variant: Variant) -> Image:
    """A picture that was cut, coloured and mirrored as the variant says."""
    from PIL.Image import Transpose

    if variant.colour:
        image = _recoloured(image, seeds.chance("colour", variant.colour))
    return image.transpose(Transpose.FLIP_LEFT_RIGHT) if variant.flip else image


def _recoloured(image: Image, chance: random.Random) -> Image:
    """Either the hue turned or the gamma changed."""
    import PIL.Image

    if chance.random() < 0.5:
        turn = round(chance.uniform(-HUE, HUE) * 256)
        hue, saturation, value = image.convert("HSV").split()
        turned = hue.point([(level + turn) % 256 for level in range(256)])
        return PIL.Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    gamma = 1 + chance.uniform(-GAMMA, GAMMA)
    return image.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


def fit_of(picture: Picture, variant: Variant) -> Fit:
    """How a picture fills its bucket in one way of showing it."""
    return Fit(picture.bucket, variant.resized, variant.crop)
