"""JPEGs, read faster than any other: in one piece, and smaller where that is as good."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "MPO")
"""Pillow's names of them; an MPO is a phone's JPEG with a second one inside."""


def hasten(image: Any, length: int) -> None:
    """Hand a JPEG's decoder the whole file and let it write four bytes a pixel, as Pillow does: as it was, but faster."""
    from PIL import features

    if image.format in FORMATS:
        image.decodermaxblock = length
        if image.mode == "RGB" and features.check("libjpeg_turbo"):
            image.tile = [tile._replace(args=("RGBX", *tile.args[1:])) for tile in image.tile if tile.args[0] == "RGB"]


def coefficients(image: Image) -> int:
    """The bytes that a progressive JPEG takes beside its pixels, however small it is decoded; ask before it is made so."""
    return 6 * image.width * image.height if image.info.get("progressive") else 0


def draft(image: Image, side: int) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8, no smaller than `side`; others stay as they are."""
    if image.format in FORMATS:  # a HEIC would give its thumbnail
        width, height = image.size
        scale = max(1.0, min(image.size) / side)
        image.draft(None, (max(1, int(width / scale)), max(1, int(height / scale))))


def straight(image: Image, size: tuple[int, int]) -> Image:
    """A JPEG whose file has this size, after `draft`: its decoder rounds sizes up, the last row and column standing for less
    than a pixel.
    """
    from PIL.Image import Resampling

    if image.format not in FORMATS or image.size == size:
        return image
    (width, height), info = size, image.info
    factor = 2 ** round(math.log2(width / image.width))
    coarse = image.resize(image.size, Resampling.BILINEAR, box=(0, 0, width / factor, height / factor))
    coarse.info = info
    return coarse


def reduced(image: Image, size: tuple[int, int]) -> Image:
    """A JPEG decoded at 1/2, 1/4 or 1/8, where that averages areas as well as `pictures.resize`; others as they are.

    `size` is what it will be made, as the file has its sides. The decoder's smaller pictures are the exact averages, rounded
    (52 dB and more); colours that the file has at half the size are not blurred by enlarging them first (42 dB from those
    that are). So nothing is lost where the rest of the way is a whole factor, and about 1 dB where it is 3 or more.
    """
    if image.format not in FORMATS or image.mode not in ("RGB", "L"):  # CMYK's mean is not that of its colours
        return image
    width, height = size
    for scale in (8, 4, 2):
        across, down = image.width / scale, image.height / scale
        even = across.is_integer() and down.is_integer()  # otherwise the last row and column stand for parts of pixels
        whole = across % width == down % height == 0
        if even and (whole or (across >= 3 * width and down >= 3 * height)):
            image.draft(None, (int(across), int(down)))
            break
    return image
