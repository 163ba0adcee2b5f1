"""The verdict: what to use, whether the training was too long or too short, and what to change. No torch.

The rules are in `verdict_rules`. Figures come from a few pictures, so the state is held only if it survives other prompts
and other noises: both are drawn anew, with replacement (a bootstrap: Efron & Tibshirani 1993), and the rules are asked
again each time. If too few of these agree, the verdict is that it is not sure, and how many pictures more would make it
so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from lorapipe.evaluation.advice import Advice, Patch, part_rate
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import merit, worse
from lorapipe.evaluation.verdict_rules import Finding, State, finding
from lorapipe.evaluation.verdict_text import reasons

if TYPE_CHECKING:
    from lorapipe.models import Role

__all__ = ["Advice", "Patch", "State", "Verdict", "judge"]

REPLICATES = 40
SURE = 0.7
"""The share of replicates that must agree with a state."""
CERTAIN: frozenset[State] = frozenset({"broken"})
"""States that do not rest on how a few pictures look."""


@dataclass(frozen=True)
class Verdict:
    """What the results say. `best` is the cell to use, even where nothing is good.

    `agreement` is the share of the bootstrap's replicates that found the same state, 0 … 1.
    """

    state: State
    best: Cell
    headline: str
    reasons: tuple[str, ...]
    advice: tuple[Advice, ...]
    agreement: float = 1.0


def judge(results: Results) -> Verdict:
    """Judges the results."""
    found = finding(results)
    agreement, rival = _agreement(results, found)
    if agreement < SURE:
        found = _not_sure(results, found, rival)
    advice = (*found.advice, *_parts(results))
    return Verdict(found.state, results.best, found.headline, reasons(results), advice, agreement)


def _agreement(results: Results, found: Finding) -> tuple[float, State]:
    """The share of replicates with the same state, and the state that is found most besides."""
    several = len(results.prompt_of) > 1 and results.pooled and found.state not in CERTAIN
    if not several:
        return 1.0, found.state
    rng = Random(0)
    states = Counter(finding(results.resampled(rng)).state for _ in range(REPLICATES))
    others = [(count, state) for state, count in states.items() if state != found.state]
    return states[found.state] / REPLICATES, max(others)[1] if others else found.state


def _not_sure(results: Results, found: Finding, rival: State) -> Finding:
    """What to say where other pictures would have given another verdict."""
    pictures = len(results.prompt_of)
    what = (
        f"{found.state} or {rival}: {pictures} pictures a cell do not tell. Paint {pictures} more of each: twice as many "
        "`pictures` of each prompt in this stage, or twice as many `prompts`."
    )
    return Finding("not sure", found.headline, (Advice(what[0].upper() + what[1:]),))


def _parts(results: Results) -> Iterator[Advice]:
    """Where the parts were tried at strengths of their own: which one is off."""
    apart = {cell: each for cell, each in results.valid.items() if not cell.uniform}
    if not apart:
        return
    step = next(iter(apart)).step
    alike = results.valid.get(Cell(step, 1.0, 1.0)) or results.valid.get(results.best)
    if alike is None:
        return
    cell = max(apart, key=lambda cell: merit(apart[cell]))
    if not worse(alike, apart[cell]):
        yield Advice(f"{results.denoiser} and text encoder are in balance: no pair of different strengths is better.")
        return
    strengths: Mapping[Role, float] = {"denoiser": cell.strength, "text_encoder": cell.text_encoder}
    patch: dict[str, float | int | str] = {}
    for role, strength in strengths.items():
        if strength not in (0, 1):
            patch |= part_rate(results, role, strength)
    name = results.denoiser
    what = f"It is better with the {name} at {cell.strength:g} and the text encoder at {cell.text_encoder:g}: give"
    yield Advice(f"{what} each part its rate.", patch)
