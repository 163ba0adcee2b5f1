"""Zips with bytes changed, cut out and put in, and with names and numbers that lie: looked at and unpacked, or refused."""

from __future__ import annotations

import random
import tracemalloc
import zipfile
from pathlib import Path

from corpus.archives import FOREIGN, foreign, packed, zip_of

from lorapipe.errors import InputError
from lorapipe.watch.archive import zip_state
from lorapipe.watch.unpack import Limits, unpack

CASES = 150
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
PARTS = (
    b"..",
    b".",
    b"",
    b"/",
    b"\\",
    b"C:",
    b"\0",
    b"\xff\xfe",
    b"a",
    "한".encode("cp949"),
    b"con",
    b"x" * 300,
    b"10_a b",
    b"reg",
)


def case(seed: int, folder: Path) -> str:
    """See README.md."""
    chance = random.Random(f"zips {seed}")
    path, out = _made(chance, folder / "in" / "a.zip"), folder / "out"
    before = sorted(folder.rglob("*"))
    tracemalloc.start()
    try:
        zip_state(path)
        unpack(path, out / "a", Limits(5_000_000, 100, 0))
    except InputError as error:
        if "Traceback" in str(error) or not str(error).startswith("a.zip: "):
            return f"refused without words: {error}"
    except OSError as error:
        return f"not refused in words: {error!r}"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if peak > 60_000_000:
        return f"{peak / 1e6:.0f} MB of memory"
    outside = [each for each in folder.rglob("*") if each not in before and not each.is_relative_to(out)]
    return f"wrote {outside}" if outside else ""


def _made(chance: random.Random, path: Path) -> Path:
    path.parent.mkdir()
    kind = chance.randrange(3)
    if kind == 0:
        packed(path, chance.choice(METHODS), chance.randbytes(3000), "a/b.png")
    elif kind == 1:
        foreign(path, *FOREIGN[chance.choice(sorted(FOREIGN))])
    else:
        names = [b"/".join(chance.choices(PARTS, k=chance.randint(1, 4))) for _ in range(chance.randint(1, 5))]
        flags, method = (
            chance.choice((0, 0, 0, 1, 0x20, 0x40, 0x800, 0x2000)),
            chance.choice((0, 0, 0, 8, 9, 12, 14, 99)),
        )
        return zip_of(path, {name + b".png": b"p" * 100 for name in names}, method=method, flags=flags)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 6)):
        place, size = chance.randrange(len(data)), chance.choice((1, 1, 2, 4, 40))
        match chance.randrange(4):
            case 0:
                data[place : place + size] = chance.randbytes(size)
            case 1:
                del data[place : place + size]
            case 2:
                data[place:place] = chance.randbytes(size)
            case 3:
                data[place : place + size] = chance.choice((b"\xff", b"\0")) * size
    path.write_bytes(data)
    return path
