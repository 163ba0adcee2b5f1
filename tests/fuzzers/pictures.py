"""Damaged pictures of all formats that are read: used, or left out in words, within the memory that a picture may take."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from random import Random

import numpy as np
from corpus.pictures import chunk, icc, text, with_chunks
from PIL import Image

from lorapipe.training.data.buckets import Fit
from lorapipe.training.data.decode_memory import LIMIT
from lorapipe.training.data.image_reader import Unreadable, quiet
from lorapipe.training.data.images import decode, glance, header_size, view

CASES = 300
FORMATS = (
    "PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "TIFF", "JPEG2000", "TGA", "ICO", "PPM", "PCX", "SGI", "QOI", "DDS", "HEIF",
    "palette", "progressive", "LZW", "chunks",
)  # fmt: skip


@functools.cache
def whole(kind: str) -> bytes:
    """A small picture as a file of a kind."""
    y, x = np.mgrid[:48, :64]
    image = Image.fromarray(np.dstack([x * 4, y * 5, (x * y) % 256]).astype(np.uint8))
    options: dict[str, object] = {}
    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            kind = "AVIF"
        else:
            pillow_heif.register_heif_opener()
    if kind == "palette":
        image, kind, options = image.convert("P"), "PNG", {"transparency": 3}
    if kind == "progressive":
        kind, options = "JPEG", {"progressive": True}
    if kind == "LZW":
        kind, options = "TIFF", {"compression": "tiff_lzw"}
    hanging = [text(b"a", 3000), icc(bytes(3000)), chunk(b"prVt", b"x" * 99)] if kind == "chunks" else []
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if hanging else kind, **options)
    return with_chunks(buffer.getvalue(), hanging, hanging) if hanging else buffer.getvalue()


def damaged(seed: int) -> bytes:
    """A file of a seed: bits flipped, numbers in its head made large, pieces cut out, doubled, or put in from elsewhere."""
    random = Random(seed)
    data = bytearray(whole(FORMATS[seed % len(FORMATS)]))
    for _ in range(random.randint(1, 6)):
        at, way = random.randrange(len(data)), random.randrange(6)
        near = random.randrange(min(len(data), 120))
        if way == 0:
            data[at] ^= 1 << random.randrange(8)
        elif way == 1:
            data[near : near + 4] = random.choice(
                (b"\xff\xff\xff\x7f", b"\0\0\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")
            )
        elif way == 2:
            data[near] = random.randrange(256)
        elif way == 3 and len(data) > 60:
            del data[at : at + random.randint(1, 40)]
        elif way == 4:
            data[at:at] = data[near : near + random.randint(1, 60)]
        else:
            other = whole(random.choice(FORMATS))
            data[at:at] = other[random.randrange(len(other)) :][: random.randint(1, 200)]
    return bytes(data[: random.randrange(1, len(data))] if random.random() < 0.1 else data)


def case(seed: int, folder: Path) -> str:
    """See the README here."""
    data = damaged(seed)
    (folder / "a.png").write_bytes(data)
    fit = Fit((64, 64), (80, 64), (8, 0))
    ways = {
        "head": lambda: header_size(folder / "a.png"),
        "glance": lambda: glance(data, 16),
        "decode": lambda: decode(data),
        "view": lambda: view(data, fit),
    }
    for name, look in ways.items():
        before = _most()
        try:
            with quiet():
                look()
        except Unreadable as reason:
            if not str(reason) or "\n" in str(reason) or len(str(reason)) > 250:
                return f"{name}: odd words: {reason!r}"
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        if _most() - before > 1.3 * LIMIT:
            return f"{name}: took {(_most() - before) / 1e9:.1f} GB"
    return ""


def _most() -> float:
    """The most memory that this process ever had, in bytes; 0 where that is not known."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
