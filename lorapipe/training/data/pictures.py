"""Opening pictures as a person sees them: upright, opaque, in 8-bit sRGB, and cut to their bucket.

The pictures are users' files: phones' JPEGs turned by EXIF, scans in CMYK or 16 bits, drawings with transparency,
downloads that broke off. Whatever cannot be decoded in full raises `Unreadable` with a reason a person understands.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lorapipe.spec import Value
from lorapipe.training.data import jpeg
from lorapipe.training.data.buckets import Fit

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

T = TypeVar("T")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF")
"""Pillow's readers that are let near a user's file. JPEG's also reads MPO, a phone's JPEG with a second one inside."""

RECIPE = 3
"""Raised when the same file and settings come to give other pixels, so that no cached latent outlives its picture."""


class Unreadable(Exception):
    """This file is no picture that can be trained on, and why."""


@dataclass(frozen=True)
class Colour(Value):
    """An opaque colour, `#rrggbb`; also white, grey or black."""

    rgb: tuple[int, int, int]

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        named = {"white": "#ffffff", "grey": "#808080", "gray": "#808080", "black": "#000000"}
        text = named.get(value.strip().lower(), value.strip()) if isinstance(value, str) else ""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
            raise ValueError(f"{value!r} is not a colour; write '#rrggbb' in quotes, or white, grey or black.")
        red, green, blue = bytes.fromhex(text[1:])
        return cls((red, green, blue))

    def plain(self) -> str:
        """See `Value.plain`."""
        return f"#{bytes(self.rgb).hex()}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        return {"type": "string", "pattern": "^\\s*(#[0-9a-fA-F]{6}|[Ww]hite|[Gg]r[ae]y|[Bb]lack)\\s*$"}


WHITE = Colour((255, 255, 255))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large pictures); what matters is raised. Enter before threads start."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(data: bytes, background: Colour = WHITE) -> Image:
    """The picture in a file's bytes, upright, mode RGB, in the sRGB colour space; of an animation the first frame.

    Transparent parts show `background`. Raises `Unreadable`.
    """
    return _guarded(data, lambda image: _finished(image, background))


def alpha(data: bytes) -> Image:
    """The opacity of the picture in a file's bytes, upright, mode L: 255 is opaque. Raises `Unreadable`."""
    return _guarded(data, lambda image: _upright(image.convert("RGBA").getchannel("A"), _orientation(image)))


def greys(data: bytes) -> Image:
    """The picture in a file's bytes, upright, in grey, mode L. Raises `Unreadable`."""
    return decode(data).convert("L")


def glance(data: bytes, side: int, background: Colour = WHITE) -> tuple[tuple[int, int], Image]:
    """(width, height) of the upright picture, and a small version of it (sides at least `side`, if it had them).

    Reads every byte, so that a file that breaks off is noticed, but decodes a JPEG at 1/8 of its size where that will
    do, which is 3.5 times as fast. Raises `Unreadable`.
    """

    def look(image: Image) -> tuple[tuple[int, int], Image]:
        width, height = image.size
        small = _finished(jpeg.coarse(image, side), background)
        turned = _orientation(image) in _TURNED  # asked last: a PNG may say so behind its pixels
        return ((height, width) if turned else (width, height)), small

    return _guarded(data, look)


def header_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture by the head of its file, which is fast. Raises `Unreadable`."""
    import PIL.Image

    _import_readers()
    try:
        with PIL.Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (height, width) if _orientation(image) in _TURNED else (width, height)
    except Exception as error:  # whatever a format's parser came across
        raise Unreadable(str(error)) from None


def view(data: bytes, fit: Fit, background: Colour = WHITE) -> Image:
    """The part of the picture that the trainer sees, of the size `fit.bucket`. Raises `Unreadable`."""

    def smaller(image: Image) -> Image:
        size = fit.resized[::-1] if _orientation(image) in _TURNED else fit.resized
        return _finished(jpeg.reduced(image, size), background)

    seen = resize(_guarded(data, smaller), fit.resized)
    return seen if fit.box == (0, 0, *seen.size) else seen.crop(fit.box)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Like kohya: area averaging when shrinking, Lanczos when either side grows.

    Pillow averages areas exactly for whole factors only, in `reduce`, which is also five times as fast as its filters. For
    other factors the filter is taken that comes nearest on photographs, in dB: below 1.45 BILINEAR (44 to 58; BICUBIC and
    HAMMING 39 to 56), which PyTorch has five times as fast, and else HAMMING (43 to 58). BOX, which drops or takes whole
    pixels, has 32 to 48.
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
    """`Image.resize` with the BILINEAR filter, by PyTorch where it has that for this processor."""
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
    """An RGB picture as (1, 3, H, W), float32 in −1 … 1."""
    import numpy as np
    import torch

    pixels = np.empty((1, 3, image.height, image.width), np.float32)
    for plane, band in zip(pixels[0], image.split(), strict=True):  # Pillow parts colours faster than NumPy
        np.divide(np.asarray(band), 127.5, out=plane, dtype=np.float32)
        plane -= 1  # PyTorch would set more threads to work, which wait for each other
    return torch.from_numpy(pixels)


def _guarded(data: bytes, use: Callable[[Image], T]) -> T:
    """`use(image)`, whatever Pillow's readers raise on a bad file turned into `Unreadable`."""
    import PIL.Image

    _import_readers()
    if not data:
        raise Unreadable("the file is empty")
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            jpeg.hasten(image, len(data))
            return use(image)
    except PIL.UnidentifiedImageError:
        raise Unreadable(_what_instead(data)) from None
    except PIL.Image.DecompressionBombError:
        raise Unreadable("more than 178 megapixels") from None
    except MemoryError:
        raise Unreadable("too large for this computer's memory") from None
    except Exception as error:  # Pillow's readers raise whatever their format's parser came across
        reason = "the file breaks off" if "truncated" in str(error).lower() else f"damaged ({error})"
        raise Unreadable(reason) from None


def _import_readers() -> None:
    """Pillow registers its readers on first use, which goes wrong when that is in several threads; imports do not."""
    from PIL import (  # noqa: F401
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        WebPImagePlugin,
    )


def _what_instead(data: bytes) -> str:
    """The reason for a file that no reader takes for its own."""
    if data[4:12] in (b"ftypavif", b"ftypavis") or data[:4] == b"RIFF" or data[:8] == b"\x89PNG\r\n\x1a\n":
        return "damaged or breaks off"
    for head, name in ((b"ftyphei", "HEIC"), (b"ftypmif1", "HEIF"), (b"JXL ", "JPEG XL")):
        if data[4:12].startswith(head):
            return f"not a picture that can be read, but {name}; save it as PNG or JPEG"
    if data[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "not a picture, but a web page"
    return "not a picture, but text" if _is_text(data[:1000]) else "not a picture"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:  # a character cut in two at the end is still text
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char.isspace() for char in text)


def _finished(image: Image, background: Colour) -> Image:
    image.load()
    profile = image.info.get("icc_profile")
    return _to_srgb(_upright(_plain_mode(image, background), _orientation(image)), profile)


def _upright(image: Image, orientation: int) -> Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientation → the `PIL.Image.Transpose` that undoes it."""
_TURNED = (5, 6, 7, 8)
"""EXIF orientations of pictures that lie on their side."""


def _orientation(image: Image) -> int:
    """EXIF's orientation, 1 (upright) to 8; 1 where there is none, or none that makes sense."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a garbled EXIF block raises anything, and does no harm to the picture
        return 1


def _plain_mode(image: Image, background: Colour) -> Image:
    """RGB, CMYK or L, which colour profiles may be for, whatever the file's mode; transparency shows the background."""
    import PIL.Image

    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, (*background.rgb, 255)), over).convert("RGB")
    return image if image.mode in ("RGB", "CMYK", "L") else image.convert("RGB")


def _from_16_bits(image: Image) -> Image:
    """16-bit grey scaled to 8 bits; Pillow's own conversion would cut every value above 255 to white."""
    import numpy as np
    import PIL.Image

    grey = np.asarray(image).astype(np.float32) / 257.0
    return PIL.Image.fromarray(np.clip(grey + 0.5, 0, 255).astype(np.uint8)).convert("RGB")


def _to_srgb(image: Image, profile: bytes | None) -> Image:
    """Colours by the profile in the file (phones' Display P3, print's CMYK), so that they are what their owner sees."""
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" in ImageCms.getProfileDescription(source):
                return _rgb(image)
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken or unfitting profile (a grey one on a colour picture): as if there were none
    return _rgb(image)


def _rgb(image: Image) -> Image:
    """In mode RGB; not copied where it is."""
    return image if image.mode == "RGB" else image.convert("RGB")
