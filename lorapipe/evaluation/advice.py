"""Advice: what to change in the next training, as patches of the train stage that name only knobs which it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lorapipe.evaluation.results import RATE_KNOBS, Results
from lorapipe.evaluation.selection import identity

Patch = Mapping[str, float | int | str]
"""Knobs of the train stage and their new values: `{"steps": 600}`, `{"optimizer.d_coef": 1.0}`."""
LEAST_FACTOR, MOST_FACTOR = 1.25, 3.0
"""The least and the most that steps are multiplied by."""
LEARNT = 0.9
"""Identity that a training should reach."""


@dataclass(frozen=True)
class Advice:
    """What to change and why; `patch` are knobs of the train stage."""

    what: str
    patch: Patch = field(default_factory=dict)


def two_digits(value: float) -> float:
    """Two significant digits, as people write rates."""
    return float(f"{value:.2g}")


def rates(results: Results, factor: float) -> dict[str, float | int | str]:
    """Every rate times a factor: d_coef where the optimizer finds the rate itself; a rate of 0 stays as it is."""
    knobs = ["optimizer.d_coef"] if "optimizer.d_coef" in results.knobs else [*RATE_KNOBS]
    return {knob: two_digits(results.knobs[knob] * factor) for knob in knobs if results.knobs.get(knob)}


def part_rate(results: Results, role: str, factor: float) -> dict[str, float | int | str]:
    """The rates of one part alone times a factor; nothing where the optimizer finds rates itself."""
    if "optimizer.d_coef" in results.knobs:
        return {}
    return {
        knob: two_digits(results.knobs[knob] * factor)
        for knob, of in RATE_KNOBS.items()
        if of == role and results.knobs.get(knob)
    }


def train_more(results: Results, why: str) -> Advice:
    """Train longer, as the curve of identity asks for. Where that is more than `MOST_FACTOR` times as many steps, they and
    the rates grow by its square root: what is so far away was learnt too slowly.
    """
    factor = extrapolated(results)
    if factor <= MOST_FACTOR:
        return Advice(why, longer(results, factor))
    both = min(math.sqrt(factor), MOST_FACTOR)
    what = f"{why} It has far to go: learn faster too."
    return Advice(what, {**longer(results, both), **rates(results, both)})


def longer(results: Results, factor: float) -> dict[str, float | int | str]:
    """More steps, a round number of them; nothing where no training is known that could be longer."""
    steps = results.knobs.get("steps", results.steps[-1]) * factor
    return {"steps": rounded_up(steps)} if steps else {}


def rounded_up(steps: float) -> int:
    """Two digits of a number of steps, rounded up."""
    grain = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    return math.ceil(steps / grain) * grain


def extrapolated(results: Results) -> float:
    """How many times as many steps reach `LEARNT`, if the way that is left goes on shrinking as it did.

    `LEAST_FACTOR` at least. The way gone is 1 − exp(−step / length); the length is fitted to the snapshots at the strength
    nearest 1 by least squares in the logarithm.
    """
    strength = results.usual_strength
    points = [(step, results.scores_at(step, strength)) for step in results.steps]
    left = [(step, 1 - min(identity(each), 0.99)) for step, each in points if each is not None]
    rate = sum(-math.log(way) * step for step, way in left) / max(sum(step * step for step, _ in left), 1)
    if rate <= 0:
        return MOST_FACTOR
    return max(-math.log(1 - LEARNT) / rate / results.steps[-1], LEAST_FACTOR)


def half_rank(results: Results) -> tuple[Advice, ...]:
    """Less room, where there is some to spare."""
    rank = results.knobs.get("adapter.rank", 0)
    return (Advice("Or give it less room.", {"adapter.rank": int(rank // 2)}),) if rank >= 8 else ()


def double_rank(results: Results) -> dict[str, float | int | str]:
    """Twice the rank, where the adapter has one."""
    rank = results.knobs.get("adapter.rank")
    return {"adapter.rank": int(rank * 2)} if rank else {}
