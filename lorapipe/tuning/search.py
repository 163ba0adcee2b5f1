"""The search of a tuning: the rounds so far → the next change, or the end. A pure function of verdicts and settings.

Coordinate moves along the verdict's patches, safeguarded as line searches are (Nocedal & Wright 2006, §3.5): a patch that
made it worse is taken back and half of it is tried (in the logarithm: rates and ranks are compared by factors), the same
patch twice running goes twice as far, and two opposed verdicts bracket a setting, which is then bisected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorapipe.pipeline.tune_options import CAPTIONS_FROM
from lorapipe.tuning.judgement import Judgement

Values = Mapping[str, float]
"""Settings of the train stage by their dotted names: `{"unet_lr": 1e-4, "adapter.rank": 16}`."""
Origin = Literal["start", "advice", "further", "halved", "bisected"]
"""How a round's settings came about; `further`: the same advice again, so twice as far."""
Reason = Literal["good", "rounds", "hours", "nothing"]
ORDER: tuple[Origin, ...] = ("start", "advice", "further", "halved", "bisected")
"""Of a change whose settings came about differently, the last of these is told."""

WORSE = 0.05
"""Merit that a round must lose to count as worse: what a dozen pictures tell apart."""
SAME = 1.08
"""Values within this factor of each other are one value."""
ADDED = frozenset({"captions.dropout", "adapter.dropout", "adapter.rank_dropout", "scale_weight_norms", CAPTIONS_FROM})
"""Settings that are often 0, which no factor changes: they are set as the verdict says, and halved by half their sum."""
SWITCHES = frozenset({CAPTIONS_FROM})
"""Settings that are 0 or 1: taken back whole."""
NEVER_FURTHER = ADDED | {"steps"}
"""Settings that are not moved further than the verdict says: it extrapolates steps itself, and each costs time."""


@dataclass(frozen=True)
class Round:
    """A round that has run: its settings as they were trained, what its judges say, and what it cost.

    `change` are the settings that differ from the pipeline's own; `base` is the place of the round that it was changed
    from (-1 for the first), `origin` how. `moved` names the settings that were changed from that round.
    """

    values: Values
    judgements: tuple[Judgement, ...]
    change: Values = field(default_factory=dict)
    base: int = -1
    origin: Origin = "start"
    moved: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def merit(self) -> float:
        """The merit at strength 1 by the judge that thinks least of it, 0 … 1."""
        return min(each.merit for each in self.judgements)

    @property
    def is_good(self) -> bool:
        """Whether every judge calls it good at strength 1."""
        return all(each.is_good for each in self.judgements)

    @property
    def by_need(self) -> list[Judgement]:
        """The judgements, those that think least of it first; without those that call it good, unless all do."""
        wanting = [each for each in self.judgements if self.is_good or not each.is_good]
        return sorted(wanting, key=lambda each: each.merit)

    def is_less(self, patch: Values) -> bool:
        """Whether a patch makes it shorter and nothing else."""
        return patch.keys() == {"steps"} and patch["steps"] < self.values["steps"]


@dataclass(frozen=True)
class Change:
    """What to change next: `values` of the settings to move from round `base`, and why, in the verdict's words."""

    values: Values
    base: int
    origin: Origin
    state: str
    why: str


@dataclass(frozen=True)
class End:
    """The search is over, with the place of the best round."""

    best: int
    reason: Reason


@dataclass(frozen=True)
class Limits:
    """Most rounds, the first included, and most seconds of all rounds; a round is expected to take as long as the last."""

    rounds: int = 5
    seconds: float = math.inf


def best_of(rounds: Sequence[Round]) -> int:
    """The place of the round to end with: a good one before any other, for nothing is left to be wished of it, then the
    highest merit. It is never one that is clearly worse than the first.
    """
    return _best_beside(rounds, rounds[0].merit)


def _highest(rounds: Sequence[Round]) -> int:
    """The place of the round to go on from: the highest merit, but a good one before any that is not clearly better."""
    return _best_beside(rounds, max(each.merit for each in rounds))


def _best_beside(rounds: Sequence[Round], merit: float) -> int:
    """The place of the best of the rounds that are not clearly worse than this merit, a good one before any other."""
    sound = [place for place, each in enumerate(rounds) if each.merit > merit - WORSE]
    return max(sound, key=lambda place: (rounds[place].is_good, rounds[place].merit, -place))


def any_settings(settings: Values) -> bool:
    """Allow all settings."""
    return True


def next_change(
    rounds: Sequence[Round], free: frozenset[str], limits: Limits, allowed: Callable[[Values], bool] = any_settings
) -> Change | End:
    """The next change, or the end. `rounds` begin with the pipeline's own settings; only `free` settings are moved.

    `allowed` says whether a training may have these settings (all that differ from the pipeline's own); a change to others
    is passed over.
    """
    best, last = _highest(rounds), len(rounds) - 1
    if len(rounds) >= limits.rounds:
        return _end(rounds, "rounds")
    if sum(each.seconds for each in rounds) + rounds[last].seconds > limits.seconds:
        return _end(rounds, "hours")
    is_worse = rounds[last].merit < rounds[best].merit - WORSE
    for base in dict.fromkeys([best] if rounds[best].is_good or is_worse else [last, best]):
        for found in _changes(rounds, base, free):
            if allowed({**rounds[base].change, **found.values}):
                return found
    return _end(rounds, "nothing")


def _end(rounds: Sequence[Round], reason: Reason) -> End:
    """The end, for this reason unless the best is good."""
    best = best_of(rounds)
    return End(best, "good" if rounds[best].is_good else reason)


def _changes(rounds: Sequence[Round], base: int, free: frozenset[str]) -> Iterator[Change]:
    """The changes from a round that were not tried yet, in the order of its judges' needs and of their advice.

    A good round is changed for a better one alone: once, and not for a shorter one.
    """
    start = rounds[base]
    if start.is_good and any(each.base == base for each in rounds):
        return
    for judgement in start.by_need:
        for advice in judgement.advice:
            patch = _of_free(start, advice.patch, free)
            change = _tried(rounds, base, patch) if patch else None
            if change is not None and not _is_known(rounds, base, change[0]):
                yield Change(change[0], base, change[1], judgement.state, advice.what)


def _of_free(start: Round, patch: Values, free: frozenset[str]) -> Values:
    """What may be moved of a patch."""
    found = {name: value for name, value in patch.items() if name in free and name in start.values}
    return {} if start.is_good and start.is_less(found) else found


def _tried(rounds: Sequence[Round], base: int, patch: Values) -> tuple[Values, Origin] | None:
    """The patch as it is to be tried from `base`: whole, halved if the whole made it worse, None if the half did too."""
    worse = [each for each in rounds if _was_worse(rounds, base, patch, each)]
    if len(worse) > 1 or (worse and SWITCHES & {*patch}):
        return None
    if worse:
        return {name: _middle(name, rounds[base].values[name], worse[0].values[name]) for name in patch}, "halved"
    found, origins = {}, set[Origin]()
    for name, value in patch.items():
        moved, origin = _bracketed(rounds, base, name, _further(rounds, base, name, value))
        if moved is not None:
            found[name] = moved
            origins.add(origin)
    return (found, max(origins, key=ORDER.index)) if found else None


def _was_worse(rounds: Sequence[Round], base: int, patch: Values, tried: Round) -> bool:
    """Whether a round tried this patch from `base`, the same way, and became clearly worse."""
    before = rounds[base].values
    if tried.base != base or {*tried.moved} != {*patch} or tried.merit >= rounds[base].merit - WORSE:
        return False
    return all(_side(before[name], tried.values[name]) == _side(before[name], patch[name]) for name in patch)


def _further(rounds: Sequence[Round], base: int, name: str, value: float) -> tuple[float, Origin]:
    """The value that the advice gives; its factor twice where the last move was the same way, unless it is good there."""
    start = rounds[base]
    if start.is_good or name in NEVER_FURTHER or name not in start.moved:
        return value, "advice"
    before, now = rounds[start.base].values.get(name), start.values[name]
    if before is None or min(now, before, value) <= 0:
        return value, "advice"
    if _side(before, now) != _side(now, value):
        return value, "advice"
    return value * (value / now), "further"


def _bracketed(
    rounds: Sequence[Round], base: int, name: str, wanted: tuple[float, Origin]
) -> tuple[float | None, Origin]:
    """The value within what opposed verdicts leave: bisected where it lies outside, None where they leave nothing."""
    low, high = _bracket(rounds, base, name)
    now, (value, origin) = rounds[base].values[name], wanted
    if low < value < high:
        return (None if _is_same(name, value, now) else value), origin
    edge = high if value >= high else low
    middle = _middle(name, now, edge)
    return (None if _is_same(name, middle, now) else middle), "bisected"


def _bracket(rounds: Sequence[Round], base: int, name: str) -> tuple[float, float]:
    """The values between which a setting must be by the rounds' verdicts, the newest first: one that says less of it is
    above, one that says more is below. Older verdicts that contradict newer ones are dropped, since other settings have
    changed since.
    """
    low, high = -math.inf, math.inf
    for place in sorted(range(len(rounds)), key=lambda place: (place != base, -place)):
        value, side = rounds[place].values.get(name), _verdict_on(rounds, place, name)
        if value is None or not side:
            continue
        if side > 0 and value < high:
            low = max(low, value)
        elif side < 0 and value > low:
            high = min(high, value)
    return low, high


def _verdict_on(rounds: Sequence[Round], place: int, name: str) -> int:
    """Whether a round wants more of a setting (1), less (-1) or says nothing (0): by its advice, else by having become
    clearly worse when it was moved."""
    round = rounds[place]
    for judgement in round.by_need:
        for advice in judgement.advice:
            if name in advice.patch:
                return _side(round.values.get(name, 0.0), advice.patch[name])
    if round.base >= 0 and name in round.moved and round.merit < rounds[round.base].merit - WORSE:
        return _side(round.values[name], rounds[round.base].values[name])
    return 0


def _is_known(rounds: Sequence[Round], base: int, values: Values) -> bool:
    """Whether a round has had these settings already, with the others as in round `base`."""
    wanted = {**rounds[base].values, **values}
    return any(all(_is_same(name, wanted[name], each.values.get(name, math.nan)) for name in wanted) for each in rounds)


def _side(before: float, after: float) -> int:
    return (after > before) - (after < before)


def _middle(name: str, first: float, second: float) -> float:
    """Halfway: by factors (the geometric mean), or by sum where a setting may be 0."""
    if name in ADDED or min(first, second) <= 0 or math.isinf(max(first, second)):
        return (first + second) / 2
    return math.sqrt(first * second)


def _is_same(name: str, first: float, second: float) -> bool:
    if min(first, second) <= 0 or name in ADDED:
        return math.isclose(first, second, abs_tol=0.005)
    return max(first, second) / min(first, second) < SAME
