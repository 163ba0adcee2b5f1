"""The verdict: what to use, whether the training was too long or too short, and what to change. Rules without torch.

Each rule looks at the evidence for one state of affairs; the first that applies is the verdict. They are a
training guide's: a LoRA should work at strength 1; one that needs less is over-fit, one that needs more wants more
training or a higher rate; from no effect over growing likeness to over-fit is the natural progress, so the best of the
snapshots is kept; one that is over-fit from the start wants a lower rate; noise wants a rate at least 8 times lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Evidence
from lorapipe.evaluation.selection import merit, risen, worse
from lorapipe.evaluation.verdict_text import reasons

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
    """What the evidence says. `best` is the cell to use, even where nothing is good."""

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


def judge(evidence: Evidence) -> Verdict:
    """The verdict on the evidence."""
    finding = next(found for rule in RULES if (found := rule(evidence)) is not None)
    advice = (*finding.advice, *_parts(evidence))
    return Verdict(finding.state, evidence.chosen, finding.headline, reasons(evidence), advice)


# ------------------------------------------------------------------------------------------------- rules, by severity


def _broken(evidence: Evidence) -> Finding | None:
    """Noise, blank pictures or a loss above the base's: the rate was far too high."""
    failed = [step for step in evidence.steps if _diverged(evidence, step)]
    if not failed:
        return None
    cure = Advice(
        "Learn far more slowly: noise is what a learning rate many times too high makes.", _rate(evidence, 1 / 8)
    )
    if len(failed) == len(evidence.steps):
        return Finding("broken", "The training has broken the model: no snapshot can be used.", (cure,))
    if failed[-1] != evidence.steps[-1]:
        return None
    return Finding("broken", f"{_use(evidence)}: at step {failed[0]} the training broke down.", (cure,))


def _diverged(evidence: Evidence, step: int) -> bool:
    if all(cell in evidence.broken for cell in evidence.cells if cell.step == step and cell.together):
        return True
    probe = evidence.probes.get(step)
    if probe is None:
        return False
    return not math.isfinite(fmean(probe.training)) or fmean(probe.training) > 1.05 * fmean(evidence.probe.training)


def _no_effect(evidence: Evidence) -> Finding | None:
    """The pictures are still the base's."""
    if evidence.sound:
        if max(fmean(scores.likeness) for scores in evidence.sound.values()) >= NO_EFFECT:
            return None
    elif risen(evidence.probes[evidence.chosen.step].training, evidence.probe.training):
        return None
    advice = Advice("Train longer, and faster.", {**_longer(evidence, 2), **_rate(evidence, 2)})
    return Finding("no effect", "No effect yet: the pictures are still those of the base.", (advice,))


def _needs_lowering(evidence: Evidence) -> Finding | None:
    """A LoRA that works only below strength 1 is over-fit."""
    strength = evidence.chosen.strength
    if strength >= 1 or not any(cell.strength >= 1 for cell in evidence.sound):
        return None
    advice = Advice("It should work at strength 1: learn more gently.", _rate(evidence, max(0.5, strength)))
    return Finding("over-trained", f"{_use(evidence)}: at full strength it is too much.", (advice,))


def _needs_raising(evidence: Evidence) -> Finding | None:
    """A LoRA that works only above strength 1 has learnt too little."""
    if evidence.chosen.strength <= 1 or not any(cell.strength <= 1 for cell in evidence.sound):
        return None
    advice = Advice("It should work at strength 1: train longer.", _longer(evidence, 1.5))
    return Finding("under-trained", f"{_use(evidence)}: at strength 1 it is too little.", (advice,))


def _still_rising(evidence: Evidence) -> Finding | None:
    """The last snapshot is the best, clearly better than the one before."""
    steps, chosen = evidence.steps, evidence.chosen
    if chosen.step != steps[-1] or len(steps) < 2:
        return None
    before, last = evidence.at(steps[-2]), evidence.at(steps[-1])
    if before is not None and last is not None:
        rising = worse(before, last) and fmean(last.likeness) < 0.95
    else:
        rising = _still_falling(evidence)
    if not rising:
        return None
    advice = Advice("It was still getting better at the end: train longer.", _longer(evidence, 1.5))
    return Finding("under-trained", f"{_use(evidence)}: the last, and more steps would help.", (advice,))


def _still_falling(evidence: Evidence) -> bool:
    """Whether the held-out loss at the end is lower than before it, where there is no other evidence."""
    before, last = (evidence.probes[step].held_out for step in evidence.steps[-2:])
    return not evidence.scores and risen(last, before)


def _from_the_start(evidence: Evidence) -> Finding | None:
    """The first snapshot is the best, and the last clearly worse; or even the best ignores the prompts."""
    chosen, scores = evidence.chosen, evidence.at(evidence.chosen.step)
    last = evidence.at(evidence.steps[-1])
    slower = Advice("Learn more gently, so that there is a best moment to catch.", _rate(evidence, 0.5))
    if scores is not None and scores.following is not None and fmean(scores.following) < FAITHLESS:
        found = f"{_use(evidence)}, though it ignores most of the prompt."
        return Finding("over-trained", found, (slower, *_lower_rank(evidence)))
    if chosen.step != evidence.steps[0] or len(evidence.steps) < 2:
        return None
    first, end = evidence.probes.get(chosen.step), evidence.probes.get(evidence.steps[-1])
    fell = scores is not None and last is not None and worse(last, scores)
    rose = not evidence.scores and first is not None and end is not None and risen(first.held_out, end.held_out)
    if not fell and not rose:
        return None
    found = f"{_use(evidence)}: the first, and all later ones are worse."
    return Finding("over-trained", found, (slower,))


def _stuck(evidence: Evidence) -> Finding | None:
    """It has stopped learning short of the subject."""
    scores = evidence.at(evidence.chosen.step)
    if scores is None or fmean(scores.likeness) >= WEAK:
        return None
    rank = evidence.knobs.get("adapter.rank")
    wider: Patch = {"adapter.rank": int(rank * 2)} if rank else {}
    what = "It has stopped short of the subject: give it more room and a higher rate."
    advice = Advice(what, {**_rate(evidence, 2), **wider})
    return Finding("under-trained", f"{_use(evidence)}, though the likeness is weak.", (advice,))


def _good(evidence: Evidence) -> Finding:
    """What is left."""
    chosen, last = evidence.chosen, evidence.steps[-1]
    headline = f"{_use(evidence)}."
    scores, end = evidence.at(chosen.step), evidence.at(last)
    if chosen.step != last and scores is not None and end is not None and worse(end, scores):
        advice = Advice("Later steps only over-fit: next time, stop here.", _stop_at(evidence, chosen.step))
        return Finding("good", headline, (advice,))
    return Finding("good", headline)


RULES: tuple[Callable[[Evidence], Finding | None], ...] = (
    _broken,
    _no_effect,
    _needs_lowering,
    _needs_raising,
    _still_rising,
    _from_the_start,
    _stuck,
    _good,
)


def _parts(evidence: Evidence) -> Iterator[Advice]:
    """Where the parts were tried at strengths of their own: which one is off."""
    chosen = evidence.chosen
    apart = {cell: each for cell, each in evidence.sound.items() if not cell.together and cell.step == chosen.step}
    if not apart or chosen not in evidence.sound:
        return
    cell = max(apart, key=lambda cell: merit(apart[cell]))
    if not worse(evidence.sound[chosen], apart[cell]):
        yield Advice("U-Net and text encoder are in balance: no pair of different strengths is better.")
        return
    changes = (("unet_lr", cell.strength), ("text_encoder_lr", cell.text_encoder))
    patch = {
        knob: _rounded(evidence.knobs[knob] * strength)
        for knob, strength in changes
        if strength not in (0, 1) and knob in evidence.knobs
    }
    what = f"It is better with the U-Net at {cell.strength:g} and the text encoder at {cell.text_encoder:g}: give"
    yield Advice(f"{what} each part its rate.", patch)


# ----------------------------------------------------------------------------------------------------------- wording


def _use(evidence: Evidence) -> str:
    return f"Use {evidence.chosen}"


def _rounded(value: float) -> float:
    """Two significant digits, as people write rates."""
    return float(f"{value:.2g}")


def _rate(evidence: Evidence, factor: float) -> dict[str, float | int | str]:
    """Every rate times a factor: d_coef where the optimizer finds the rate itself."""
    knobs = ["optimizer.d_coef"] if "optimizer.d_coef" in evidence.knobs else ["unet_lr", "text_encoder_lr"]
    return {knob: _rounded(evidence.knobs[knob] * factor) for knob in knobs if evidence.knobs.get(knob)}


def _longer(evidence: Evidence, factor: float) -> dict[str, float | int | str]:
    """More steps, a round number of them."""
    steps = evidence.knobs.get("steps", evidence.steps[-1]) * factor
    grain = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    return {"steps": math.ceil(steps / grain) * grain}


def _stop_at(evidence: Evidence, step: int) -> dict[str, float | int | str]:
    return {"steps": step}


def _lower_rank(evidence: Evidence) -> tuple[Advice, ...]:
    rank = evidence.knobs.get("adapter.rank", 0)
    return (Advice("Or give it less room.", {"adapter.rank": int(rank // 2)}),) if rank >= 8 else ()
