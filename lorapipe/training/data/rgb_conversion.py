"""Conversion of any picture to 8-bit sRGB: transparency, 16 bits, floats, CMYK, LAB, colour profiles."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

Convert = Callable[["Image"], "Image"]
_CLEAR = ("LA", "PA", "La", "RGBA", "RGBa")
_WHITE_IS_ZERO = 0


def same(image: Image) -> Image:
    """Return the image unchanged."""
    return image


def converter(image: Image, background: tuple[int, int, int]) -> Convert:
    """Return a function that converts a loaded image, or a part of it, to RGB. `ValueError` if its values are ambiguous."""
    profile = image.info.get("icc_profile")
    if image.mode == "F":
        return _of_floats(image)
    if image.mode.startswith("I"):
        return _of_integers(image)
    if image.mode == "LAB":
        return _of_lab()
    plain, mode = _plain(image, background)
    transform = _by_profile(profile, mode) if profile else None
    if transform is not None:
        return _through(plain, transform)
    return same if plain is same and mode == "RGB" else lambda part: _rgb(plain(part))


def _plain(image: Image, background: tuple[int, int, int]) -> tuple[Convert, str]:
    """Return a conversion to RGB, CMYK or L (the modes of profiles), and that mode; transparency shows the background."""
    if image.mode in _CLEAR or "transparency" in image.info:
        return lambda part: _over(part, background), "RGB"
    if image.mode in ("RGB", "CMYK", "L"):
        return same, image.mode
    return lambda part: part.convert("RGB"), "RGB"


def _over(part: Image, background: tuple[int, int, int]) -> Image:
    import PIL.Image

    over = part.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", over.size, (*background, 255)), over).convert("RGB")


def _through(plain: Convert, transform: Any) -> Convert:
    from PIL import ImageCms

    return lambda part: ImageCms.applyTransform(plain(part), transform)


def _by_profile(profile: bytes, mode: str) -> Any:
    """Return the transform from the file's profile (Display P3, CMYK …) to sRGB; None if it changes nothing or is broken."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # broken, or for another mode (a grey profile on a colour picture): ignored


def _of_lab() -> Convert:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return lambda part: ImageCms.applyTransform(part, transform)


def _of_integers(image: Any) -> Convert:
    """Scale 16 bits to 8; Pillow's own conversion would clip all values above 255 to white."""
    if image.mode == "I" and _range(image)[1] > 65_535:
        raise ValueError("32 bits a pixel; save it with 8 or 16")
    negative = getattr(image, "tag_v2", {}).get(262) == _WHITE_IS_ZERO
    return lambda part: _grey(part, 257.0, negative)


def _of_floats(image: Any) -> Convert:
    """Scale values in 0 … 1 to 8 bits; the brightness of other values is ambiguous."""
    least, most = _range(image)
    if not (least >= -0.001 and most <= 1.001):  # also true for NaN
        raise ValueError("its values are not between 0 and 1; save it with 8 or 16 bits")
    return lambda part: _grey(part, 1 / 255, False)


def _grey(part: Image, unit: float, negative: bool) -> Image:
    import numpy as np
    import PIL.Image

    grey = np.asarray(part).astype(np.float32) / unit
    grey = 255 - grey if negative else grey
    return PIL.Image.fromarray(np.clip(grey + 0.5, 0, 255).astype(np.uint8)).convert("RGB")


def _range(image: Image) -> tuple[float, float]:
    import numpy as np

    width, height = image.size
    rows = max(1, (1 << 22) // width)
    tops = range(0, height, rows)
    strips = (np.asarray(image.crop((0, top, width, min(height, top + rows)))) for top in tops)
    ends = [(float(strip.min()), float(strip.max())) for strip in strips]
    lows, highs = zip(*ends, strict=True)
    return float(np.min(lows)), float(np.max(highs))


def _rgb(image: Image) -> Image:
    """Return the image in mode RGB; not copied if it already is."""
    return image if image.mode == "RGB" else image.convert("RGB")
