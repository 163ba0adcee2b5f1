"""CPU seconds of `lorapipe tags` on 10,000 captions, the start of Python included: at most 1.

python benchmarks/tags.py
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CAPTIONS, VOCABULARY, EACH = 10_000, 3_000, 18


def filled(folder: Path, count: int = CAPTIONS) -> None:
    """Write pictures of one pixel with captions of tags, a few of them frequent, as taggers write them."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")
    )
    chance = random.Random(1)
    words = [
        f"{first} {second}"
        for first in ["red", "blue", "long", "short", "old", "new"]
        for second in range(VOCABULARY // 6)
    ]
    for number in range(count):
        tags = {words[min(int(chance.paretovariate(0.6)), len(words) - 1)] for _ in range(EACH)}
        (folder / f"{number:05}.png").write_bytes(pixel)
        (folder / f"{number:05}.txt").write_text(", ".join(["penny", *sorted(tags)]), "utf-8")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder))
        for words in ([], ["--json"]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "lorapipe", "tags", folder, *words]
            done = subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{CAPTIONS} captions {' '.join(words):7} {seconds:5.2f} CPU s, {len(done.stdout) / 1000:.0f} kB")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
