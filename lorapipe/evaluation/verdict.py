"""The verdict: what to use, whether the training was too long or too short, and what to change. No torch.

The rules are in `verdict_rules`. Figures come from a few pictures, so prompts and noises are drawn anew with replacement
(a bootstrap: Efron & Tibshirani 1993), and the rules are asked each time. The state that most draws give is the verdict,
and the cell that most of these choose is the best (bagging: Breiman 1996), which is steadier than what one draw says. If
less than half of the draws agree, the verdict is that it is not sure, and how many pictures more would make it so. Used is
then the strength nearest 1 that is within two standard errors of the highest, since nothing else speaks against it. A LoRA
should work at strength 1: that it is too much is said only where prompts are followed less there, or three draws in four
agree, and that it is too little only where the subject is hardly there or merit is much less than at another strength.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean
from typing import NamedTuple

from lorapipe.evaluation.advice import Advice, Patch
from lorapipe.evaluation.diagnosis import Diagnosis, State, is_weak
from lorapipe.evaluation.failure_rules import hidden_by_guidance
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.part_strengths import part_advice, part_fault
from lorapipe.evaluation.progress_rules import part_too_fast
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import ENOUGH, choose, following, merit
from lorapipe.evaluation.tag_effects import tag_advice
from lorapipe.evaluation.verdict_rules import diagnosis
from lorapipe.evaluation.verdict_text import reasons

__all__ = ["Advice", "Patch", "State", "Verdict", "judge"]

REPLICATES = 40
OVERRULED: frozenset[State] = frozenset({"good", "under-trained", "not sure"})
"""States which a part that has learnt too much speaks against."""
DROPOUT, ENOUGH_DROPOUT = "captions.dropout", 0.1
"""The train stage's knob that helps where guidance burns, and its usual value: see docs/training.md."""
SURE_OF_LOWERING, UNHEEDING = 0.75, 0.05
"""The share of replicates that must use less than strength 1: a LoRA should work there, and a few pictures vary. Fewer are
enough where prompts are followed so much less at strength 1: what is too strong paints what it knows, whatever is asked."""
SURE, SURE_OF_ONE = 0.5, 0.7
"""The share of replicates that must agree with a state. Where each prompt has one picture, no replicate has another noise,
so that they agree more than they should."""


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


class Vote(NamedTuple):
    """What most replicates find, the cell to use, the share of those that agree, and the state found most besides.

    The cell is the one that most of them choose; where less than half agree, see the module.
    """

    found: Diagnosis
    best: Cell
    agreement: float
    rival: State


def judge(results: Results, vote: Vote | None = None) -> Verdict:
    """Judge the results; `vote` is theirs where it was taken already. Pictures of a low CFG have none: they are of the cell
    that it chose, and tell whether guidance hides what that has learnt."""
    found, best, agreement, rival = voted(results) if vote is None else vote
    results = replace(results, chosen=best)
    if agreement < _sure(results):
        found = _not_sure(results, found, rival)
    if (
        found.state != "broken"
        and (hidden := hidden_by_guidance(results))
        and (held := _held(results)) >= _sure(results)
    ):
        found, agreement = hidden, held
    if found.state in OVERRULED and (fault := part_fault(results)) and fault.too_fast:
        found = part_too_fast(results, fault)
    advice = _joined(found.advice, tuple(part_advice(results))) + tuple(_guidance(results))
    advice += tuple(tag_advice(results.tags.get(best, {}), found.state))
    return Verdict(found.state, best, found.headline, reasons(results), advice, agreement)


def _joined(found: tuple[Advice, ...], parts: tuple[Advice, ...]) -> tuple[Advice, ...]:
    """All advice; where a part is named that learns too fast or too slowly, its rate alone is to change."""
    named = {knob for advice in parts for knob in advice.patch}
    return parts + tuple(advice for advice in found if not named & {*advice.patch}) if named else found + parts


def voted(results: Results) -> Vote:
    """Draw replicates, and count what they find: most of the time that judging takes."""
    found = diagnosis(results)
    if len({*results.prompt_of}) < 2 or not results.pooled or found.state == "broken":
        return Vote(found, results.best, 1.0, found.state)
    draws = _drawn(results)
    votes = [(each.best, diagnosis(each)) for each in draws]
    (state, count), *others = Counter(each.state for _, each in votes).most_common()
    agreeing = [vote for vote in votes if vote[1].state == state]
    best, _ = Counter(cell for cell, _ in agreeing).most_common(1)[0]
    what, agreement = dict(reversed(agreeing))[best], count / len(votes)
    if agreement < _sure(results):
        best = _nearest_one(results)
    return Vote(_of_state(results, best, what), best, agreement, others[0][0] if others else state)


def _drawn(results: Results) -> list[Results]:
    """The results, and as they might have been; those that use another strength than 1 without good reason use it."""
    rng = Random(0)
    draws = [results, *(results.resampled(rng) for _ in range(REPLICATES))]
    is_too_much = fmean(each.best.strength < each.usual_strength for each in draws) >= SURE_OF_LOWERING

    def strays(each: Results) -> bool:
        return _raised_for_little(each) or (not is_too_much and _lowered_by_chance(each))

    return [replace(each, chosen=_best_at(each, each.usual_strength)) if strays(each) else each for each in draws]


def _raised_for_little(results: Results) -> bool:
    """Whether more than strength 1 is used, though that is enough: the subject is there, and nearly as well; or though it
    costs more of the prompts than it brings of the subject."""
    one = results.usual_strength
    if results.best.strength <= one or not any(cell.strength == one for cell in results.pooled):
        return False
    usual, raised = results.pooled[_best_at(results, one)], results.pooled[results.best]
    enough = 1.0 if is_weak(results, usual) else ENOUGH
    return merit(usual) >= enough * merit(raised)


def _lowered_by_chance(results: Results) -> bool:
    """Whether less than strength 1 is used, though prompts are followed there as well."""
    usual = results.scores_at(results.best.step, results.usual_strength)
    if results.best.strength >= results.usual_strength or usual is None:
        return False
    more, less = following(results.pooled[results.best]), following(usual)
    return more is None or less is None or more - less <= UNHEEDING


def _of_state(results: Results, best: Cell, drawn: Diagnosis) -> Diagnosis:
    """What all pictures say of a chosen cell, where it is of the same state as what a replicate says."""
    own = diagnosis(replace(results, chosen=best))
    return own if own.state == drawn.state else drawn


def _held(results: Results) -> float:
    """The share of replicates of the chosen cell's pictures in which guidance hides what was learnt."""
    rng = Random(0)
    return fmean(hidden_by_guidance(results.resampled(rng)) is not None for _ in range(REPLICATES))


def _nearest_one(results: Results) -> Cell:
    """The cell of the strength nearest 1 that nothing speaks clearly against: of that strength, the one usually chosen."""
    return _best_at(results, choose(results.pooled, results.losses.order_of_equals(), errors=2.0).strength)


def _best_at(results: Results, strength: float) -> Cell:
    """The cell to use of a strength that has one."""
    cells = {cell: each for cell, each in results.pooled.items() if cell.strength == strength}
    return choose(cells, results.losses.order_of_equals())


def _sure(results: Results) -> float:
    return SURE if len(results.prompt_of) > len({*results.prompt_of}) else SURE_OF_ONE


def _not_sure(results: Results, found: Diagnosis, rival: State) -> Diagnosis:
    """What to say where other pictures would have given another verdict."""
    pictures = len(results.prompt_of)
    what = (
        f"{found.state} or {rival}: {pictures} pictures a cell do not tell. Paint {pictures} more of each: twice as many "
        "`pictures` of each prompt in this stage, or twice as many `prompts`."
    )
    return Diagnosis("not sure", f"Use {results.best}.", (Advice(what[0].upper() + what[1:]),))


def _guidance(results: Results) -> Iterator[Advice]:
    """Where little guidance gives better pictures: it burns what was learnt."""
    low = results.low_guidance
    if low is None or not results.burns:
        return
    what = f"It burns at CFG {low.cfg:g}: at {low.low_cfg:g} its pictures are better. Use a lower CFG"
    if results.knobs.get(DROPOUT, 1.0) >= ENOUGH_DROPOUT:
        yield Advice(f"{what}.")
    else:
        more = "and show some pictures without their captions, so that guidance moves what was learnt less"
        yield Advice(f"{what}, {more}.", {DROPOUT: ENOUGH_DROPOUT})
