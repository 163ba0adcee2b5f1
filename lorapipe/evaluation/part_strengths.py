"""Denoiser and text encoder apart: which of them has learnt too much or too little.

The last sound snapshot is painted with one part at strengths of its own while the other stays at 1. A part whose pictures
are better below 1 is too hot, one whose pictures are better above 1 too cold, and its rate alone should be that much
lower or higher (a training guide's rule: good at 0.5 → half the rate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lorapipe.evaluation.advice import Advice, part_rate
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import Scores, merit, worse

if TYPE_CHECKING:
    from lorapipe.models import Role

LEAST_FACTOR = 0.25
"""A rate is lowered to this at most, also where a part is best left out altogether."""


def part_advice(results: Results) -> Iterator[Advice]:
    """Where the parts were tried at strengths of their own: which one is off, and its rate."""
    apart = {cell: each for cell, each in results.valid.items() if not cell.uniform}
    if not apart:
        return
    step = next(iter(apart)).step
    alike = results.valid.get(Cell(step, 1.0, 1.0))
    if alike is None:
        return
    cell = _better(apart, alike)
    if cell is None:
        yield Advice(f"{results.denoiser} and text encoder are in balance: no pair of different strengths is better.")
        return
    strengths: Mapping[Role, float] = {"denoiser": cell.strength, "text_encoder": cell.text_encoder}
    names: Mapping[Role, str] = {"denoiser": results.denoiser, "text_encoder": "text encoder"}
    patch: dict[str, float | int | str] = {}
    for role, strength in strengths.items():
        if strength != 1:
            patch |= part_rate(results, role, max(strength, LEAST_FACTOR))
    off = [
        f"the {names[role]} learns too {'fast' if each < 1 else 'slowly'}"
        for role, each in strengths.items()
        if each != 1
    ]
    what = (
        f"with the {names['denoiser']} at {cell.strength:g} and the text encoder at {cell.text_encoder:g} it is better"
    )
    text = f"{' and '.join(off)}: {what} than with both at 1."
    yield Advice(text[0].upper() + text[1:], patch)


def _better(apart: Mapping[Cell, Scores], alike: Scores) -> Cell | None:
    """The pair that is better by more than chance than both parts at 1; None where none is."""
    found = {cell: each for cell, each in apart.items() if worse(alike, each)}
    return max(found, key=lambda cell: merit(found[cell]), default=None)
