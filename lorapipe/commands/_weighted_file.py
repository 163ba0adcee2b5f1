"""Parse `FILE:STRENGTH` of the command line, also with a colon in the path, as on Windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
WEIGHTS = re.compile(rf"({NUMBER})?((?:,?(?:text={NUMBER}|blocks={NUMBER}(?:/{NUMBER})*))*)")
HOW = "FILE, FILE:0.8, FILE:0.8,text=0.5 or FILE:0.8,blocks=1/1/0.5/…"


class WeightedPath(NamedTuple):
    """A path and the strengths after it; None and empty where none were given."""

    path: str
    strength: float | None = None
    text_encoder: float | None = None
    blocks: tuple[float, ...] = ()


def weighted_path(text: str) -> WeightedPath:
    """Split a path from the strengths after its last colon; a file with exactly this name has none."""
    path, _, weights = text.rpartition(":")
    found = WEIGHTS.fullmatch(weights)
    if not path or not weights or found is None or Path(text).exists():
        return WeightedPath(text)
    named = dict(re.findall(r"(text|blocks)=([^,]+)", found[2]))
    blocks = tuple(map(float, named["blocks"].split("/"))) if "blocks" in named else ()
    return WeightedPath(
        path, float(found[1]) if found[1] else None, float(named["text"]) if "text" in named else None, blocks
    )
