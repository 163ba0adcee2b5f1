"""Pickled checkpoints: code in every call, memory and depth that are claimed, tensors that lie, damage everywhere."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from corpus import pickle_code as steps
from fuzzers.safetensors import asked

CASES = 120
ENDINGS = ("ckpt", "pt", "bin", "safetensors", "pth", "")
MOST_SECONDS = 20.0
"""Of processor time, for any of them: the usual is some milliseconds."""


def case(seed: int, folder: Path) -> str:
    """See tests/fuzzers/README.md."""
    draw = random.Random(seed)
    canary = folder / "ran"
    content, what = MAKERS[seed % len(MAKERS)](draw, canary)
    file = folder / f"x.{draw.choice(ENDINGS)}".rstrip(".")
    file.write_bytes(content)
    begun = time.process_time()
    if wrong := asked(file):
        return f"{what}: {wrong}"
    if canary.exists():
        return f"{what}: code ran"
    spent = time.process_time() - begun
    return f"{what}: took {spent:.1f} s" if spent > MOST_SECONDS else ""


def _form(draw: random.Random, value: bytes) -> bytes:
    """A value in one of the forms of a checkpoint, at one of its depths."""
    value = draw.choice([value, steps.under(value), steps.under(b"]" + value + b"a", "callbacks")])
    bare = b"\x80" + draw.choice([b"\x02", b"\x04"]) + value + b"."
    return draw.choice([steps.zipped(value), steps.older(value), bare])


def _code(draw: random.Random, canary: Path) -> tuple[bytes, str]:
    calls = steps.calls(canary)
    name = draw.choice(sorted(calls))
    return _form(draw, calls[name]), name


def _trick(draw: random.Random, canary: Path) -> tuple[bytes, str]:
    name = draw.choice(sorted(steps.TRICKS))
    return _form(draw, steps.TRICKS[name]()), name


def _lie(draw: random.Random, canary: Path) -> tuple[bytes, str]:
    name = draw.choice(sorted(steps.LIES))
    whole = steps.under(steps.LIES[name])
    return draw.choice([steps.zipped(whole), steps.older(whole)]), name


def _damage(draw: random.Random, canary: Path) -> tuple[bytes, str]:
    data = bytearray(steps.real(draw.random() < 0.5))
    start = data.find(b"\x80\x02")
    for _ in range(draw.randint(1, 8)):
        place = draw.randrange(len(data)) if draw.random() < 0.5 else min(start + draw.randrange(600), len(data) - 1)
        data[place] = draw.choice([0, 255, draw.randrange(256), data[place] ^ (1 << draw.randrange(8))])
    if draw.random() < 0.3:
        del data[draw.randrange(len(data)) :]
    return bytes(data), "damage"


def _noise(draw: random.Random, canary: Path) -> tuple[bytes, str]:
    opcodes = b"()]}NKMJXcRbsuqhrjteao0123456789.\x81\x85\x86\x87\x88\x89\x8a\x93\x94\x95\x92\x90\x91\x8c\x8eQ"
    value = bytes(draw.choice(opcodes) for _ in range(draw.randint(3, 60)))
    return _form(draw, value), "noise"


Maker = Callable[[random.Random, Path], tuple[bytes, str]]
MAKERS: tuple[Maker, ...] = (_code, _trick, _lie, _damage, _noise)
