"""Seeds: random numbers as functions of names and numbers, independent of earlier draws.

So a resumed training draws the same numbers as an uninterrupted one. There are three derivations, and changing one would
change the results of all trainings: `seed_of` for torch's generators, `chance` for Python's, and the SHA-256 of a module's
name for its initial weights (`adapter_layers/host.py`). New code uses one of the two in this file.
"""

from __future__ import annotations

import hashlib
import random


def seed_of(*what: str | int) -> int:
    """Return a seed of 63 bits, a hash of the values: neighbouring numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(what).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def chance(*what: str | int) -> random.Random:
    """Return Python's generator seeded by the values as text, which it hashes."""
    return random.Random(" ".join(map(str, what)))
