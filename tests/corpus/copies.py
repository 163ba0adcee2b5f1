"""Pictures saved anew, and pictures that differ in one place: figures with another face, frames with another spot."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from photographs import encoded
from PIL import Image, ImageDraw, ImageFilter

FACES = ("calm", "smile", "asleep", "startled", "sad", "angry")


def figure(seed: int, size: tuple[int, int] = (600, 900)) -> dict[str, Image.Image]:
    """A drawn figure before something, with each of its faces."""
    random = Random(seed)
    image = Image.new("RGB", size, _colour(random, 180))
    pen = ImageDraw.Draw(image)
    for _ in range(random.randint(3, 8)):
        x, y, radius = random.randint(0, size[0]), random.randint(0, size[1]), random.randint(20, 200)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(random))
    x, y, radius = size[0] // 2 + random.randint(-50, 50), size[1] // 4, int(size[0] * 0.14)
    pen.ellipse((x - radius * 1.2, y - radius * 1.3, x + radius * 1.2, y + radius * 1.5), fill=_colour(random))
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(240, 210, 190), outline=(40, 20, 20), width=2)
    low = [(x - radius, y + radius), (x + radius, y + radius), (x + radius * 2, size[1]), (x - radius * 2, size[1])]
    pen.polygon(low, fill=_colour(random))
    return {face: _with_face(image, face, x, y, radius) for face in FACES}


def _with_face(image: Image.Image, face: str, x: int, y: int, radius: int) -> Image.Image:
    image, ink, eye = image.copy(), (50, 30, 40), max(2, radius // 6)
    pen = ImageDraw.Draw(image)
    for side in (-1, 1):
        at, up = x + side * radius * 0.4, y - radius * 0.1
        around = (at - eye, up - eye, at + eye, up + eye)
        if face == "asleep":
            pen.arc(around, 0, 180, fill=ink, width=3)
        elif face == "startled":
            pen.ellipse(
                (at - 1.4 * eye, up - 1.4 * eye, at + 1.4 * eye, up + 1.4 * eye), fill="white", outline=ink, width=2
            )
            pen.ellipse((at - eye / 2, up - eye / 2, at + eye / 2, up + eye / 2), fill=ink)
        else:
            pen.ellipse(around if face != "sad" else (at - eye, up - eye / 2, at + eye, up + eye / 2), fill=ink)
        if face == "angry":
            pen.line((at + side * eye, up - 2 * eye, at - side * eye, up - eye), fill=ink, width=4)
    mouth, up = radius * 0.3, y + radius * 0.5
    if face == "smile":
        pen.arc((x - mouth, up - mouth, x + mouth, up + mouth / 2), 20, 160, fill=(150, 40, 40), width=4)
    elif face == "startled":
        pen.ellipse((x - mouth / 2, up - mouth / 2, x + mouth / 2, up + mouth / 2), fill=(120, 30, 30))
    else:
        pen.line((x - mouth / 2, up, x + mouth / 2, up), fill=(150, 60, 60), width=3)
    return image


def copies(image: Image.Image, seed: int, count: int = 6) -> Iterator[tuple[str, bytes]]:
    """The picture saved anew, a little worse: other formats, qualities and sizes, with other EXIF."""
    random = Random(seed)
    filters = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
    for _ in range(count):
        kind, quality = (
            random.choice(("JPEG", "JPEG", "WEBP", "AVIF", "PNG", "TIFF")),
            random.choice((50, 60, 75, 85, 92)),
        )
        scale = random.choice((0.9, 0.75, 0.5, 0.4, *((1, 1) if kind in ("JPEG", "WEBP", "AVIF") else ())))
        size = round(image.width * scale), round(image.height * scale)
        options: dict[str, object] = {"quality": quality} if kind in ("JPEG", "WEBP", "AVIF") else {}
        if kind == "JPEG":
            exif = Image.Exif()
            exif[0x010E] = f"saved by hand, {seed}"
            options["exif"] = exif
        yield f"{kind} {quality} ×{scale}", encoded(image.resize(size, random.choice(filters)), kind, **options)


def with_another_spot(image: Image.Image, seed: int, share: float = 0.1) -> Image.Image:
    """The picture with a disc of another place of it, so large a share of the shorter side."""
    random = Random(seed)
    side = int(min(image.size) * share)
    x, y = random.randint(0, image.width - side), random.randint(0, image.height - side)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, side, side), fill=255)
    image, patch = image.copy(), Image.new("RGB", (side, side), _colour(random))
    image.paste(patch, (x, y), mask.filter(ImageFilter.GaussianBlur(side / 12)))
    return image


def _colour(random: Random, least: int = 0) -> tuple[int, int, int]:
    return random.randint(least, 255), random.randint(least, 255), random.randint(least, 255)
