"""From the colours of a file to 8-bit sRGB, as its owner sees them: transparency, 16 bits, floats, inks, profiles."""

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
    """The image as it is."""
    return image


def converter(image: Image, background: tuple[int, int, int]) -> Convert:
    """What makes RGB of a loaded image, or of any part of it; `ValueError` where that would be a guess."""
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
    """What makes RGB, CMYK or L, which colour profiles may be for; transparency shows the background."""
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
    """Colours by the profile in the file (phones' Display P3, print's CMYK); None where it changes nothing or is broken."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # broken, or unfitting (a grey one on a colour picture): as if there were none


def _of_lab() -> Convert:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return lambda part: ImageCms.applyTransform(part, transform)


def _of_integers(image: Any) -> Convert:
    """16 bits scaled to 8; Pillow's own conversion would cut every value above 255 to white."""
    if image.mode == "I" and _range(image)[1] > 65_535:
        raise ValueError("32 bits a pixel; save it with 8 or 16")
    negative = getattr(image, "tag_v2", {}).get(262) == _WHITE_IS_ZERO
    return lambda part: _grey(part, 257.0, negative)


def _of_floats(image: Any) -> Convert:
    """Values from 0 to 1; what has others is no picture for a screen, or nobody can know how bright it is meant."""
    least, most = _range(image)
    if not (least >= -0.001 and most <= 1.001):  # also where they are no numbers
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
    """In mode RGB; not copied where it is."""
    return image if image.mode == "RGB" else image.convert("RGB")
