"""Convert addresses of values in a document from and to the dotted form: `penny.adapter.rank`."""

from __future__ import annotations

import re

from lorapipe.errors import shortened
from lorapipe.spec import Address

PLACE = re.compile("[0-9]{1,6}")
"""Matches the index of a list's entry, from 0."""
LONGEST_NAME = 80
"""Most characters of a name in a message."""


def address_in(stage: str, knob: str) -> Address:
    """Return the address of a knob in a document: `penny`, `adapter.rank` → `("stages", "penny", "adapter", "rank")`."""
    head: Address = ("vars",) if stage == "vars" else ("stages", stage)
    return (*head, *(int(part) if PLACE.fullmatch(part) else part for part in knob.split(".")))


def dotted(path: Address) -> str:
    """Return the dotted form of an address: `penny.adapter.rank`, `grid.prompts[2]`, `vars.images`."""
    path = path[1:] if path[:1] == ("stages",) else path
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part, LONGEST_NAME)}" for part in path)
    return words.removeprefix(".")
