"""Faster JPEG decoding: the file in one piece, and at 1/2, 1/4 or 1/8 of its size where that loses nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "MPO")
"""Pillow's names of the formats; an MPO is a phone's JPEG with a second one inside."""


def hasten(image: Any, length: int) -> None:
    """Let the JPEG decoder take the whole file at once and write RGBX, Pillow's own layout: same pixels, faster."""
    from PIL import features

    if image.format in FORMATS:
        image.decodermaxblock = length
        if image.mode == "RGB" and features.check("libjpeg_turbo"):
            image.tile = [tile._replace(args=("RGBX", *tile.args[1:])) for tile in image.tile if tile.args[0] == "RGB"]


def coefficients(image: Image) -> int:
    """Return the bytes of a progressive JPEG's coefficients, needed at any decoding scale; call it before `draft`."""
    return 6 * image.width * image.height if image.info.get("progressive") else 0


def draft(image: Image, side: int) -> None:
    """Set a JPEG to be decoded at 1/2, 1/4 or 1/8, with sides of at least `side`; other formats are unchanged."""
    if image.format in FORMATS:  # for a HEIC, `draft` would give its thumbnail
        width, height = image.size
        scale = max(1.0, min(image.size) / side)
        image.draft(None, (max(1, int(width / scale)), max(1, int(height / scale))))


def straight(image: Image, size: tuple[int, int]) -> Image:
    """Correct the rounding of a JPEG after `draft`; `size` is that of the file.

    The decoder rounds sizes up, so the last row and column cover less than the others; they are resampled.
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
    """Set a JPEG to be decoded at 1/2, 1/4 or 1/8 where that is as good as `images.resize`; others are unchanged.

    `size` is the target in the file's orientation. The decoder's scaled pictures are exact averages, rounded (52 dB and
    more); chroma that the file stores at half the size is not upsampled and averaged again (which differs by 42 dB). So
    nothing is lost if the remaining factor is whole, and about 1 dB if it is 3 or more.
    """
    if image.format not in FORMATS or image.mode not in (
        "RGB",
        "L",
    ):  # the mean of CMYK values is not the mean of the colours
        return image
    width, height = size
    for scale in (8, 4, 2):
        across, down = image.width / scale, image.height / scale
        even = across.is_integer() and down.is_integer()  # otherwise the last row and column cover parts of pixels
        whole = across % width == down % height == 0
        if even and (whole or (across >= 3 * width and down >= 3 * height)):
            image.draft(None, (int(across), int(down)))
            break
    return image
