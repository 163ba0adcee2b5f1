"""The verdict: what to use, whether the training was too long or too short, and what to change. Rules without torch.

Each rule looks at the results for one state of affairs; the first that applies is the verdict. They are a
training guide's: a LoRA should work at strength 1; one that needs less is over-fit, one that needs more wants more
training or a higher rate; from no effect over growing likeness to over-fit is the natural progress, so the best of the
snapshots is kept; one that is over-fit from the start wants a lower rate; noise wants a rate at least 8 times lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import RATE_KNOBS, Results
from lorapipe.evaluation.selection import merit, risen, worse
from lorapipe.evaluation.verdict_text import reasons

if TYPE_CHECKING:
    from lorapipe.models import Role

State = Literal["good", "under-trained", "over-trained", "no effect", "broken"]
Patch = Mapping[str, float | int | str]
"""Knobs of the train stage and their new values: `{"steps": 600}`, `{"optimizer.d_coef": 1.0}`."""

NO_EFFECT = 0.15
"""Likeness below this is not seen in the pictures."""
WEAK = 0.5
"""Likeness below this is a family resemblance, no likeness."""
FAITHLESS = 0.6
"""Following below this: most of what the prompt asks for is missing."""


@dataclass(frozen=True)
class Advice:
    """What to change and why; `patch` are knobs of the train stage."""

    what: str
    patch: Patch = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the results say. `best` is the cell to use, even where nothing is good."""

    state: State
    best: Cell
    headline: str
    reasons: tuple[str, ...]
    advice: tuple[Advice, ...]


@dataclass(frozen=True)
class Finding:
    """What a rule found."""

    state: State
    headline: str
    advice: tuple[Advice, ...] = ()


def judge(results: Results) -> Verdict:
    """Judges the results: the first rule that applies decides."""
    finding = next(found for rule in RULES if (found := rule(results)) is not None)
    advice = (*finding.advice, *_parts(results))
    return Verdict(finding.state, results.best, finding.headline, reasons(results), advice)


# ------------------------------------------------------------------------------------------------- rules, by severity


def _broken(results: Results) -> Finding | None:
    """Noise, blank pictures or a loss above the base's: the rate was far too high."""
    failed = [step for step in results.steps if _diverged(results, step)]
    if not failed:
        return None
    cure = Advice(
        "Learn far more slowly: noise is what a learning rate many times too high makes.", _rate(results, 1 / 8)
    )
    if len(failed) == len(results.steps):
        return Finding("broken", "The training has broken the model: no snapshot can be used.", (cure,))
    if failed[-1] != results.steps[-1]:
        return None
    return Finding("broken", f"{_use(results)}: at step {failed[0]} the training broke down.", (cure,))


def _diverged(results: Results, step: int) -> bool:
    if all(cell in results.broken for cell in results.cells if cell.step == step and cell.uniform):
        return True
    probe = results.probes.get(step)
    if probe is None:
        return False
    return not math.isfinite(fmean(probe.training)) or fmean(probe.training) > 1.05 * fmean(results.probe.training)


def _no_effect(results: Results) -> Finding | None:
    """The pictures are still the base's."""
    if results.valid:
        if max(fmean(scores.likeness) for scores in results.valid.values()) >= NO_EFFECT:
            return None
    elif risen(results.probes[results.best.step].training, results.probe.training):
        return None
    advice = Advice("Train longer, and faster.", {**_longer(results, 2), **_rate(results, 2)})
    return Finding("no effect", "No effect yet: the pictures are still those of the base.", (advice,))


def _needs_lowering(results: Results) -> Finding | None:
    """A LoRA that works only below strength 1 is over-fit."""
    strength = results.best.strength
    if strength >= 1 or not any(cell.strength >= 1 for cell in results.valid):
        return None
    advice = Advice("It should work at strength 1: learn more gently.", _rate(results, max(0.5, strength)))
    return Finding("over-trained", f"{_use(results)}: at full strength it is too much.", (advice,))


def _needs_raising(results: Results) -> Finding | None:
    """A LoRA that works only above strength 1 has learnt too little."""
    if results.best.strength <= 1 or not any(cell.strength <= 1 for cell in results.valid):
        return None
    advice = Advice("It should work at strength 1: train longer.", _longer(results, 1.5))
    return Finding("under-trained", f"{_use(results)}: at strength 1 it is too little.", (advice,))


def _still_rising(results: Results) -> Finding | None:
    """The last snapshot is the best, clearly better than the one before."""
    steps, chosen = results.steps, results.best
    if chosen.step != steps[-1] or len(steps) < 2:
        return None
    before, last = results.scores_at(steps[-2]), results.scores_at(steps[-1])
    if before is not None and last is not None:
        rising = worse(before, last) and fmean(last.likeness) < 0.95
    else:
        rising = _still_falling(results)
    if not rising:
        return None
    advice = Advice("It was still getting better at the end: train longer.", _longer(results, 1.5))
    return Finding("under-trained", f"{_use(results)}: the last, and more steps would help.", (advice,))


def _still_falling(results: Results) -> bool:
    """Whether the held-out loss at the end is lower than before it, where there are no scores."""
    before, last = (results.probes[step].held_out for step in results.steps[-2:])
    return not results.scores and risen(last, before)


def _from_the_start(results: Results) -> Finding | None:
    """The first snapshot is the best, and the last clearly worse; or even the best ignores the prompts."""
    chosen, scores = results.best, results.scores_at(results.best.step)
    slower = Advice("Learn more gently, so that there is a best moment to catch.", _rate(results, 0.5))
    if scores is not None and scores.following is not None and fmean(scores.following) < FAITHLESS:
        found = f"{_use(results)}, though it ignores most of the prompt."
        return Finding("over-trained", found, (slower, *_lower_rank(results)))
    if chosen.step != results.steps[0] or len(results.steps) < 2:
        return None
    if not _last_is_worse(results):
        return None
    found = f"{_use(results)}: the first, and all later ones are worse."
    return Finding("over-trained", found, (slower,))


def _last_is_worse(results: Results) -> bool:
    """Whether the last snapshot is worse than the best, by the held-out loss where there are no scores."""
    best, last = results.best.step, results.steps[-1]
    if not results.scores:
        first, end = results.probes.get(best), results.probes.get(last)
        return first is not None and end is not None and risen(first.held_out, end.held_out)
    scores, end_scores = results.scores_at(best), results.scores_at(last)
    return scores is not None and end_scores is not None and worse(end_scores, scores)


def _stuck(results: Results) -> Finding | None:
    """It has stopped learning short of the subject."""
    scores = results.scores_at(results.best.step)
    if scores is None or fmean(scores.likeness) >= WEAK:
        return None
    rank = results.knobs.get("adapter.rank")
    wider: Patch = {"adapter.rank": int(rank * 2)} if rank else {}
    what = "It has stopped short of the subject: give it more room and a higher rate."
    advice = Advice(what, {**_rate(results, 2), **wider})
    return Finding("under-trained", f"{_use(results)}, though the likeness is weak.", (advice,))


def _good(results: Results) -> Finding:
    """What is left."""
    chosen, last = results.best, results.steps[-1]
    headline = f"{_use(results)}."
    scores, end = results.scores_at(chosen.step), results.scores_at(last)
    if chosen.step != last and scores is not None and end is not None and worse(end, scores):
        advice = Advice("Later steps only over-fit: next time, stop here.", _stop_at(results, chosen.step))
        return Finding("good", headline, (advice,))
    return Finding("good", headline)


RULES: tuple[Callable[[Results], Finding | None], ...] = (
    _broken,
    _no_effect,
    _needs_lowering,
    _needs_raising,
    _still_rising,
    _from_the_start,
    _stuck,
    _good,
)


def _parts(results: Results) -> Iterator[Advice]:
    """Where the parts were tried at strengths of their own: which one is off."""
    chosen = results.best
    apart = {cell: each for cell, each in results.valid.items() if not cell.uniform and cell.step == chosen.step}
    if not apart or chosen not in results.valid:
        return
    cell = max(apart, key=lambda cell: merit(apart[cell]))
    if not worse(results.valid[chosen], apart[cell]):
        yield Advice(f"{results.denoiser} and text encoder are in balance: no pair of different strengths is better.")
        return
    strengths: Mapping[Role, float] = {"denoiser": cell.strength, "text_encoder": cell.text_encoder}
    patch = {
        knob: _rounded(results.knobs[knob] * strengths[role])
        for knob, role in RATE_KNOBS.items()
        if strengths[role] not in (0, 1) and knob in results.knobs
    }
    name = results.denoiser
    what = f"It is better with the {name} at {cell.strength:g} and the text encoder at {cell.text_encoder:g}: give"
    yield Advice(f"{what} each part its rate.", patch)


# ----------------------------------------------------------------------------------------------------------- wording


def _use(results: Results) -> str:
    return f"Use {results.best}"


def _rounded(value: float) -> float:
    """Two significant digits, as people write rates."""
    return float(f"{value:.2g}")


def _rate(results: Results, factor: float) -> dict[str, float | int | str]:
    """Every rate times a factor: d_coef where the optimizer finds the rate itself."""
    knobs = ["optimizer.d_coef"] if "optimizer.d_coef" in results.knobs else [*RATE_KNOBS]
    return {knob: _rounded(results.knobs[knob] * factor) for knob in knobs if results.knobs.get(knob)}


def _longer(results: Results, factor: float) -> dict[str, float | int | str]:
    """More steps, a round number of them; nothing where no training is known that could be longer."""
    steps = results.knobs.get("steps", results.steps[-1]) * factor
    if not steps:
        return {}
    grain = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    return {"steps": math.ceil(steps / grain) * grain}


def _stop_at(results: Results, step: int) -> dict[str, float | int | str]:
    return {"steps": step}


def _lower_rank(results: Results) -> tuple[Advice, ...]:
    rank = results.knobs.get("adapter.rank", 0)
    return (Advice("Or give it less room.", {"adapter.rank": int(rank // 2)}),) if rank >= 8 else ()
