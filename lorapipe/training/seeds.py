"""Seeds: random numbers that are functions of words and numbers, and not of what was drawn before them.

So a training that goes on draws what an unbroken one would have drawn. There are three derivations, and none of them can be
changed without changing the results of all trainings: `seed_of` for torch's generators, `chance` for Python's, and the
SHA-256 of a module's name for its initial weights (`adapter_layers/host.py`). New code takes one of the two here.
"""

from __future__ import annotations

import hashlib
import random


def seed_of(*what: str | int) -> int:
    """A seed of 63 bits; neighbouring numbers give seeds that have nothing to do with each other."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def chance(*what: str | int) -> random.Random:
    """Python's random numbers for these words and numbers: it hashes a text that it is seeded with."""
    return random.Random(" ".join(map(str, what)))
