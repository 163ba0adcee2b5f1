"""Probe losses: what the loss at fixed noise and timesteps tells of the snapshots of a training. Arithmetic, without torch.

Its pictures, noise and timesteps are the same for every snapshot, so differences are paired. The loss on training pictures
falls for ever, and tells that something is learnt, or that the weights broke; that on held-out pictures, of which there
must be enough, tells learning from memorising. It says nothing of strengths. How it is taken is in `probe`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

TELLING = 4
"""Held-out pictures below this number tell nothing of memorising by their loss."""
DIVERGED = 1.05
"""A loss above so much of the base's: the weights are worse at the training pictures than none."""


@dataclass(frozen=True)
class Probe:
    """Loss at fixed noise and timesteps of some training pictures and some held-out ones, a number for each picture."""

    training: tuple[float, ...]
    held_out: tuple[float, ...] = ()


@dataclass(frozen=True)
class ProbeLosses:
    """The probes of the base and of each snapshot by its step; no snapshot needs to have one."""

    base: Probe
    by_step: Mapping[int, Probe]

    def lowest(self, steps: Iterable[int]) -> int | None:
        """The step to use of these by the loss alone; None where none of them was probed.

        With held-out pictures: the earliest whose loss on them is the lowest, within one standard error. Without: the loss
        on the training pictures falls for ever, so the earliest that has made nine tenths of its way.
        """
        probes = {step: self.by_step[step] for step in steps if step in self.by_step}
        finite = {step: probe for step, probe in probes.items() if math.isfinite(fmean(probe.training))}
        if not finite:
            return max(probes, default=None)
        if self.base.held_out:
            best = min(finite.values(), key=lambda probe: fmean(probe.held_out))
            return min(step for step, probe in finite.items() if not risen(best.held_out, probe.held_out))
        way = {step: fmean(self.base.training) - fmean(probe.training) for step, probe in finite.items()}
        most = max(way.values())
        return min(step for step, gone in way.items() if gone >= most - 0.1 * abs(most))

    def order_of_equals(self) -> dict[int, tuple[bool, float]]:
        """By step, which of equal snapshots comes first: the smallest does. Without the steps whose loss is no number.

        With held-out pictures: the latest of those whose loss on them has not clearly risen above the lowest; the latest of
        all where they are too few to tell. Without: the loss on the training pictures falls for ever, so it counts only
        down to nine tenths of its way.
        """
        training = {step: loss for step, probe in self.by_step.items() if math.isfinite(loss := fmean(probe.training))}
        if self.base.held_out:
            found = {step: self.by_step[step].held_out for step in training}
            held_out = {step: losses for step, losses in found.items() if math.isfinite(fmean(losses))}
            best = min(held_out.values(), key=fmean, default=())
            return {step: (self.tell_memorising and risen(best, losses), -step) for step, losses in held_out.items()}
        start = fmean(self.base.training)
        floor = start - 0.9 * (start - min(training.values(), default=start))
        return {step: (False, max(loss, floor)) for step, loss in training.items()}

    def is_finite(self, step: int) -> bool:
        """Whether a snapshot's loss on training pictures is a number; also where it was not probed."""
        return step not in self.by_step or math.isfinite(fmean(self.by_step[step].training))

    def is_worse_than_base(self, step: int) -> bool:
        """Whether a snapshot's loss on training pictures is no number, or clearly above the base's; not where it was not
        probed.
        """
        probe = self.by_step.get(step)
        return probe is not None and not fmean(probe.training) <= DIVERGED * fmean(self.base.training)

    def is_worse_at_subject(self, step: int) -> bool:
        """Whether a snapshot's loss is clearly above the base's at pictures of the subject, seen and unseen ones counting
        alike: one that has memorised is better at those that it has seen. Not where it was not probed.
        """
        probe = self.by_step.get(step)
        if probe is None:
            return False
        pairs = ((probe.training, self.base.training), (probe.held_out, self.base.held_out))
        shares = [fmean(ours) / fmean(base) for ours, base in pairs if base]
        return not fmean(shares) <= DIVERGED

    @property
    def tell_memorising(self) -> bool:
        """Whether enough pictures were held out to tell learning from memorising."""
        return len(self.base.held_out) >= TELLING

    def has_learnt(self, step: int) -> bool:
        """Whether a snapshot's loss on training pictures is below the base's by more than chance; also where it is no
        number: see `is_worse_than_base`.
        """
        return risen(self.by_step[step].training, self.base.training)

    def still_falls(self) -> bool:
        """Whether the loss on held-out pictures is lowest at the last snapshot; not where none were held out."""
        losses = [fmean(probe.held_out) for _, probe in sorted(self.by_step.items()) if probe.held_out]
        if not losses or not all(map(math.isfinite, losses)):
            return False
        return losses[-1] <= min([*losses, fmean(self.base.held_out)])

    def has_risen(self, early: int, late: int) -> bool:
        """Whether the loss on held-out pictures has risen from one snapshot to another by more than chance; not where one
        of them was not probed.
        """
        first, last = self.by_step.get(early), self.by_step.get(late)
        return first is not None and last is not None and risen(first.held_out, last.held_out)

    def was_no_better_unseen(self) -> bool:
        """Whether a snapshot was no better than the base at held-out pictures: the rates are at their limit."""
        base = self.base.held_out
        return bool(base) and any(not fmean(each.held_out) < fmean(base) for each in self.by_step.values())


def risen(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether losses of the same pictures have grown by more than one standard error of the difference."""
    if len(before) < 2:
        return bool(before) and after[0] - before[0] > 0.02 * before[0]
    rise, error = paired_difference(before, after)
    return rise > max(error, 1e-4 * fmean(before))


def paired_difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """The mean of the paired differences, and its standard error, which is 0 for a single pair."""
    differences = [late - early for early, late in zip(before, after, strict=True)]
    count, middle = len(differences), fmean(differences)
    squares = sum((each - middle) ** 2 for each in differences)
    return middle, math.sqrt(squares / (count - 1) / count) if count > 1 else 0.0
