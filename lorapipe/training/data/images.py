"""Decode pictures as viewers show them (upright, opaque, 8-bit sRGB), and crop them to their bucket.

The pictures are users' files: phones' JPEGs rotated by EXIF, scans in CMYK or 16 bits, drawings with transparency,
truncated downloads. A file that cannot be decoded completely raises `Unreadable` with a reason for the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lorapipe.spec import Value
from lorapipe.training.data import jpeg_decode
from lorapipe.training.data.buckets import Fit, Pair
from lorapipe.training.data.decode_memory import LARGE
from lorapipe.training.data.image_reader import head_of, opened, orientation, room
from lorapipe.training.data.rgb_conversion import converter, same

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

RECIPE = 3
"""Version of decoding, part of cache keys: bump when the same file and settings give other pixels."""
STRIP = 1 << 20
"""Pixels that are converted at once: larger pictures are converted in strips, without a second full copy."""
GLANCED = 1 << 22
"""Number of pixels from which `glance` downscales a picture during conversion."""


@dataclass(frozen=True)
class Colour(Value):
    """An opaque colour, `#rrggbb`; also white, grey or black."""

    rgb: tuple[int, int, int]

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        named = {"white": "#ffffff", "grey": "#808080", "gray": "#808080", "black": "#000000"}
        text = named.get(value.strip().lower(), value.strip()) if isinstance(value, str) else ""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
            raise ValueError(f"{value!r} is not a colour; write '#rrggbb' in quotes, or white, grey or black.")
        red, green, blue = bytes.fromhex(text[1:])
        return cls((red, green, blue))

    def plain(self) -> str:
        return f"#{bytes(self.rgb).hex()}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        return {"type": "string", "pattern": "^\\s*(#[0-9a-fA-F]{6}|[Ww]hite|[Gg]r[ae]y|[Bb]lack)\\s*$"}


WHITE = Colour((255, 255, 255))


def decode(data: bytes, background: Colour = WHITE) -> Image:
    """Decode a picture: upright, mode RGB, sRGB; of an animation the first frame.

    Transparent parts show `background`. Raises `Unreadable`.
    """
    with opened(data) as image, room(image, len(data)):
        return _finished(image, background)


def alpha(data: bytes, size: Pair) -> Image:
    """Decode a picture's alpha channel: upright, resized, mode L; 255 is opaque. Raises `Unreadable`."""
    with opened(data) as image, room(image, len(data)):
        image.load()
        whole = _by_strips(image, lambda strip: strip.convert("RGBA").getchannel("A"), "L")
        seen = resize(_upright(whole, orientation(image)), size)
        _let_go(image, seen)
        return seen


def greys(data: bytes, size: Pair) -> Image:
    """Decode a picture in greyscale: upright, resized, mode L. Raises `Unreadable`."""
    with opened(data) as image, room(image, len(data)):
        image.load()
        to_rgb = converter(image, WHITE.rgb)
        whole = _by_strips(image, lambda strip: to_rgb(strip).convert("L"), "L")
        seen = resize(_upright(whole, orientation(image)), size)
        _let_go(image, seen)
        return seen


def glance(data: bytes, side: int, background: Colour = WHITE) -> tuple[Pair, Image]:
    """Return (width, height) of the upright picture, and a small version of it (sides at least `side`, unless smaller).

    It reads every byte, so truncated files are noticed, but decodes a JPEG at 1/8 of its size where that is enough, which
    is 3.5 times as fast. Raises `Unreadable`.
    """
    with opened(data) as image:
        width, height = image.size
        length = len(data) + jpeg_decode.coefficients(image)
        jpeg_decode.draft(image, side)
        with room(image, length):
            coarse = jpeg_decode.straight(image, (width, height))
            factor = min(coarse.size) // side if coarse.width * coarse.height > GLANCED else 1
            small = _finished(coarse, background, max(1, factor))
            if image.format == "TIFF":  # the decoder has rotated it
                width, height = image.size
            turned = orientation(image) in _TURNED  # asked last: a PNG's EXIF may follow its pixels
            _let_go(image, small)
        return ((height, width) if turned else (width, height)), small


def header_size(path: Path) -> Pair:
    """Return (width, height) of the upright picture from its header, which is fast. Raises `Unreadable`."""
    (width, height), turn = head_of(path)
    return (height, width) if turn in _TURNED else (width, height)


def view(data: bytes, fit: Fit, background: Colour = WHITE) -> Image:
    """Decode the part of a picture that the trainer sees, of size `fit.bucket`. Raises `Unreadable`."""
    with opened(data) as image:
        length = len(data) + jpeg_decode.coefficients(image)
        if image.format in jpeg_decode.FORMATS:
            jpeg_decode.reduced(image, _as_stored(image, fit.resized))
        with room(image, length):
            seen = resize(_shrunk(image, _as_stored(image, fit.resized), background), fit.resized)
            _let_go(image, seen)
    return seen if fit.box == (0, 0, *seen.size) else seen.crop(fit.box)


def _as_stored(image: Image, size: Pair) -> Pair:
    """Return a size of the upright picture in the orientation of its file. A PNG is decoded for that."""
    return size[::-1] if orientation(image) in _TURNED else size


def _shrunk(image: Image, size: Pair, background: Colour) -> Image:
    """Return the picture upright in RGB. A large one is scaled to `size` (in the file's orientation) on the way.

    During conversion it is averaged down by a whole factor, to at least three times `size`, and then resampled.
    """
    from PIL.Image import Resampling

    factor = min(image.width // size[0], image.height // size[1]) // 3
    if image.width * image.height <= LARGE or factor < 2:
        return _finished(image, background)
    image.load()
    coarse = _by_strips(image, converter(image, background.rgb), "RGB", factor)
    box = (0, 0, image.width / factor, image.height / factor)
    return _upright(coarse.resize(size, Resampling.HAMMING, box), orientation(image))


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize like kohya's scripts: area averaging to shrink, Lanczos if either side grows.

    Pillow averages areas exactly only for whole factors, in `reduce`, which is also five times as fast as its filters. For
    other factors the filter is used that is closest to area averaging on photographs (PSNR in dB): BILINEAR below a factor
    of 1.45 (44 to 58; BICUBIC and HAMMING 39 to 56), which PyTorch does five times as fast, and HAMMING above (43 to 58).
    BOX, which drops or takes whole pixels, has 32 to 48.
    """
    from PIL.Image import Resampling

    if image.size == size:
        return image
    if size[0] > image.width or size[1] > image.height:
        return image.resize(size, Resampling.LANCZOS)
    factors = image.width / size[0], image.height / size[1]
    if all(factor.is_integer() for factor in factors):
        return image.reduce((int(factors[0]), int(factors[1])))
    return _bilinear(image, size) if min(factors) < 1.45 else image.resize(size, Resampling.HAMMING)


def _bilinear(image: Image, size: tuple[int, int]) -> Image:
    """Resize with an antialiased bilinear filter, by PyTorch where it is fast on this processor, else by Pillow."""
    import numpy as np
    import PIL.Image
    import torch
    from torch.nn.functional import interpolate

    if image.mode != "RGB" or not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return image.resize(size, PIL.Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image))[None].permute(0, 3, 1, 2)
    smaller = interpolate(pixels, size[::-1], mode="bilinear", antialias=True)
    return PIL.Image.fromarray(smaller[0].permute(1, 2, 0).numpy())


def to_pixels(image: Image) -> torch.Tensor:
    """Return an RGB picture as (1, 3, H, W), float32 in −1 … 1."""
    import numpy as np
    import torch

    pixels = np.empty((1, 3, image.height, image.width), np.float32)
    for plane, band in zip(pixels[0], image.split(), strict=True):  # Pillow splits channels faster than NumPy
        np.divide(np.asarray(band), 127.5, out=plane, dtype=np.float32)
        plane -= 1  # PyTorch would start more threads, which wait for each other
    return torch.from_numpy(pixels)


def _let_go(image: Image, result: Image) -> None:
    """Close a decoded picture before its memory reservation ends, unless it is the result itself."""
    if result is not image:
        image.close()


def _finished(image: Image, background: Colour, factor: int = 1) -> Image:
    """Return the picture upright in RGB, averaged down by `factor`."""
    image.load()
    to_rgb = converter(image, background.rgb)
    if factor == 1 and image.width * image.height <= STRIP:
        return _upright(to_rgb(image), orientation(image))
    if factor == 1 and image.mode == "RGB" and to_rgb is same:
        return _upright(image, orientation(image))
    return _upright(_straight(_by_strips(image, to_rgb, "RGB", factor), image, factor), orientation(image))


def _straight(coarse: Image, image: Image, factor: int) -> Image:
    """Resample an averaged picture whose last row or column averages fewer pixels than the others."""
    from PIL.Image import Resampling

    if image.width % factor == image.height % factor == 0:
        return coarse
    size = max(1, round(image.width / factor)), max(1, round(image.height / factor))
    return coarse.resize(size, Resampling.BILINEAR, (0, 0, image.width / factor, image.height / factor))


def _by_strips(image: Image, convert: Callable[[Image], Image], mode: str, factor: int = 1) -> Image:
    """Return `convert(image)` averaged down by `factor`, computed in strips so that only the result takes memory."""
    import PIL.Image

    width, height = image.size
    whole = PIL.Image.new(mode, (-(-width // factor), -(-height // factor)))
    rows = max(1, STRIP // width // factor) * factor
    for top in range(0, height, rows):
        strip = convert(image.crop((0, top, width, min(height, top + rows))))
        whole.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return whole


def _upright(image: Image, turn: int) -> Image:
    undone = _UPRIGHT.get(turn)
    return image if undone is None else image.transpose(undone)


_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation → the `PIL.Image.Transpose` that undoes it."""
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
