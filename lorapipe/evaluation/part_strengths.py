"""Denoiser and text encoder apart: which of them has learnt too much or too little.

The last sound snapshot is sampled with one part at strengths of its own while the other stays at 1. A part whose pictures
are better below 1 is too hot, one whose pictures are better above 1 too cold, and its rate alone should be that much
lower or higher (a training guide's rule: good at 0.5 → half the rate). A text encoder that has learnt no more than it should
bears more of itself; where the pictures suffer above 1, and more than from as much of the denoiser, it is at its limit, and
too hot as well. Where both cost the same it is guidance that burns them, or a likeness that is no more than begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.evaluation.advice import Advice, part_rate
from lorapipe.evaluation.diagnosis import shown
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import ENOUGH, Scores, margin, merit

if TYPE_CHECKING:
    from lorapipe.models import Role

LEAST_FACTOR = 0.25
"""A rate is lowered to this at most, also where a part is best left out altogether."""
GAIN = 0.08
"""Merit that another strength must bring at the least: the highest of some cells is a little too high by chance."""
NEARLY = 0.8
"""With this share of the merit that less of a part has, it is as good at 1."""
LOSS = 0.05
"""Merit that a text encoder above 1 must cost at the least to be at its limit."""
MORE = 1.5
"""So many times as much as the denoiser at the same strength it must cost."""


class PartFault(NamedTuple):
    """A part that is better at another strength than at 1, or `suffers` there: its role, the strength, and the cell."""

    role: Role
    strength: float
    cell: Cell
    suffers: bool = False

    @property
    def too_fast(self) -> bool:
        """Whether it has learnt too much, not too little."""
        return self.suffers or self.strength < 1

    @property
    def factor(self) -> float:
        """What its rate should be multiplied by."""
        return 1 / self.strength if self.suffers else max(self.strength, LEAST_FACTOR)


def part_fault(results: Results) -> PartFault | None:
    """The part that is off, where one is by more than chance; the one that the most is lost by."""
    both = next((cell for cell in results.apart if cell.uniform), None)
    if both is None or len(results.apart) < 2:
        return None
    changes = {
        cell: _change(cell, each, results.apart[both]) for cell, each in results.apart.items() if not cell.uniform
    }
    best = max(changes, key=lambda cell: changes[cell])
    if changes[best] > GAIN:
        return _fault(best)
    suffering = _suffering(results, both, changes)
    return _fault(min(suffering), suffers=True) if suffering else None


def _suffering(results: Results, both: Cell, changes: Mapping[Cell, float]) -> list[Cell]:
    """The cells with more of the text encoder that cost by more than chance, and `MORE` times what the denoiser costs."""
    return [
        cell
        for cell, change in changes.items()
        if cell.text_encoder > 1
        and change < -LOSS
        and -change >= MORE * _denoiser_cost(results, both, cell.text_encoder)
    ]


def _denoiser_cost(results: Results, both: Cell, strength: float) -> float:
    """Merit that the denoiser at a strength of its own costs, be it by chance; 0 where that was not sampled."""
    alone = results.apart.get(Cell(both.step, strength, 1.0))
    return merit(results.apart[both]) - merit(alone) if alone else 0.0


def _change(cell: Cell, scores: Scores, both: Scores) -> float:
    """What merit changes by another strength of one part; 0 where that may be chance, or where strength 1 is enough."""
    change = merit(scores) - merit(both)
    enough = ENOUGH if max(cell.strength, cell.text_encoder) > 1 else NEARLY
    is_enough = enough * merit(scores) <= merit(both) < merit(scores)
    return 0.0 if is_enough or abs(change) <= margin(scores, both) else change


def _fault(cell: Cell, suffers: bool = False) -> PartFault:
    if cell.text_encoder == 1:
        return PartFault("denoiser", cell.strength, cell, suffers)
    return PartFault("text_encoder", cell.text_encoder, cell, suffers)


def part_advice(results: Results) -> Iterator[Advice]:
    """Where one part is off: its new rate."""
    fault = part_fault(results)
    if fault is None:
        return
    name = part_names(results)[fault.role]
    how, seen = "fast" if fault.too_fast else "slowly", "worse" if fault.suffers else "better"
    text = f"The {name} learns too {how}: with it alone at {fault.strength:g} it is {seen} than with both at 1."
    yield Advice(text, part_rate(results, fault.role, fault.factor))


def part_reasons(results: Results) -> Iterator[str]:
    """What was seen where the parts were tried apart."""
    apart = results.apart
    both = next((cell for cell in apart if cell.uniform), None)
    if both is None or len(apart) < 2:
        return
    fault = part_fault(results)
    if fault is None:
        yield (
            f"{results.denoiser} and text encoder are in balance at step {both.step}: neither is better at another strength "
            "by more than chance."
        )
        return
    yield (
        f"With the {part_names(results)[fault.role]} alone at {fault.strength:g} step {both.step} shows "
        f"{shown(results, apart[fault.cell])}; with both at 1: {shown(results, apart[both])}."
    )


def part_names(results: Results) -> Mapping[Role, str]:
    """What people call the parts."""
    return {"denoiser": results.denoiser, "text_encoder": "text encoder"}
