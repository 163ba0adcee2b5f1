"""Augmentation: pictures mirrored, cropped elsewhere or around the face, and slightly recoloured.

Each variant is encoded once and cached, like the plain picture; each time the picture is used, training draws one variant.
So augmentation needs no VAE in memory during training, costs no time there, and works together with cached latents.
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
"""Largest rotation of the hue, as a share of the circle: kohya's `HueSaturationValue(8, 0, 0)`."""
GAMMA = 0.05
"""Largest change of gamma: kohya's `RandomGamma((95, 105))`."""
VARIANTS = 8
"""Default number of random variants of each picture."""


@dataclass(frozen=True)
class Augmentation(Spec):
    """Variants of each picture: mirrored, recoloured, cropped elsewhere. Off by default."""

    flip: bool = param(
        False,
        "show pictures mirrored too; not for subjects whose left and right differ (a scar, a hair parting)",
        kohya=("flip_aug",),
    )
    colour: bool = param(False, "vary the colours slightly: hue or gamma", kohya=("color_aug",))
    random_crop: bool = param(
        False, "crop at random places instead of the centre, where the scaled picture is larger than its bucket"
    )
    face_crop: tuple[float, ...] = param(
        (),
        "crop around the face: the crop's shorter side as a multiple of the face's longer side, from and to, such as "
        "[2.0, 4.0]. The file's name must end with the face's centre and size, _cx_cy_w_h",
        ge=1,
        le=100,
        kohya=("face_crop_aug_range",),
        rare=True,
    )
    variants: int = param(
        VARIANTS,
        "with colour, random_crop or face_crop: number of variants of each picture that are encoded and cached",
        ge=2,
        le=256,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        if self.face_crop and (len(self.face_crop) != 2 or self.face_crop[0] > self.face_crop[1]):
            yield Problem("not a range.", cure="Write the smaller number first: [2.0, 4.0].", path=("face_crop",))
        if self.variants != VARIANTS and not (self.colour or self.random_crop or self.face_crop):
            what = "has no effect without colour, random_crop or face_crop."
            yield Problem(what, cure="Set one of them, or remove variants.", path=("variants",))
        if self.face_crop and self.random_crop:
            what = "face_crop and random_crop exclude each other: both choose where to crop."
            yield Problem(what, cure="Remove one of them.", path=("random_crop",))

    @property
    def ways(self) -> int:
        """Largest number of encodings of a picture, the plain one included."""
        if self.colour or self.random_crop or self.face_crop:
            return 1 + self.variants
        return 2 if self.flip else 1

    def variants_of(self, picture: Picture) -> tuple[Variant, ...]:
        """Return the variants of a picture; empty if there is only the plain one. They depend on its digest alone."""
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
    """Return the face that a picture's name gives: centre x and y, width, height, in pixels. None if it gives none."""
    found = FACE.search(PurePosixPath(picture.path).stem)
    if found is None:
        return None
    x, y, width, height = map(int, found.groups())
    inside = x < picture.size[0] and y < picture.size[1] and min(width, height) > 0
    return (x, y, width, height) if inside else None


def _around(
    place: tuple[int, int, int, int], size: Pair, bucket: Pair, span: tuple[float, ...], chance: random.Random
) -> tuple[Pair, Pair]:
    """Return (resized, crop) of a crop around a face: kohya's `crop_target` (`train_util.py`), extended to buckets.

    The picture is enlarged only if it would not cover its bucket otherwise.
    """
    x, y, width, height = place
    longest, shorter = max(width, height), min(bucket)
    cover = max(bucket[0] / size[0], bucket[1] / size[1])
    low = max(cover, min(1.0, shorter / (longest * span[1])))
    high = max(low, min(1.0, shorter / (longest * span[0])))
    scale = chance.uniform(low, high)
    resized = max(bucket[0], int(size[0] * scale + 0.5)), max(bucket[1], int(size[1] * scale + 0.5))
    jitter = int(longest * scale / 20)
    corner = []
    for middle, part, whole in zip((x, y), bucket, resized, strict=True):
        start = int(middle * scale) - part // 2 + chance.randint(-jitter, jitter)
        corner.append(max(0, min(start, whole - part)))
    return resized, (corner[0], corner[1])


def shown(image: Image, variant: Variant) -> Image:
    """Apply a variant's colours and mirroring to a picture that is already cropped."""
    from PIL.Image import Transpose

    if variant.colour:
        image = _recoloured(image, seeds.chance("colour", variant.colour))
    return image.transpose(Transpose.FLIP_LEFT_RIGHT) if variant.flip else image


def _recoloured(image: Image, chance: random.Random) -> Image:
    """Rotate the hue or change the gamma, each with probability 1/2."""
    import PIL.Image

    if chance.random() < 0.5:
        turn = round(chance.uniform(-HUE, HUE) * 256)
        hue, saturation, value = image.convert("HSV").split()
        turned = hue.point([(level + turn) % 256 for level in range(256)])
        return PIL.Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    gamma = 1 + chance.uniform(-GAMMA, GAMMA)
    return image.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


def fit_of(picture: Picture, variant: Variant) -> Fit:
    """Return how a variant of a picture fills its bucket."""
    return Fit(picture.bucket, variant.resized, variant.crop)
