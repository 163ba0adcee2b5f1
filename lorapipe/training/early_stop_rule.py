"""The rule for early stopping: statistics of the checks' losses, without torch.

A check has losses on fixed pictures at fixed noise, relative to the base's: on training pictures (`fit`), held-out pictures,
and pictures that the base has generated without the trigger word (`drift`). Differences are paired by picture, and count if
they exceed one standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pvariance

from lorapipe.evaluation.probe_losses import paired_difference, risen

PATIENCE = 4
"""Consecutive checks without improvement before a training stops."""
ERRORS = 3.5
"""Standard errors by which the held-out loss must rise (the standard error of eight pictures is itself noisy)."""
LEAST_CHECKS = PATIENCE + 2
"""Fewest checks of a training with which it can stop early."""
LEAST_HELD_OUT = 8
"""Fewest held-out pictures whose loss is used."""
CONVERGED = 0.01
"""Variance of the fit in the last checks, relative to that in all, below which the fit has converged."""


@dataclass(frozen=True)
class Check:
    """Losses after `step` relative to the base's, one for each picture; `held_out` may be empty."""

    step: int
    fit: tuple[float, ...]
    drift: tuple[float, ...]
    held_out: tuple[float, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Mean losses, as metrics."""
        found = {"check/training": fmean(self.fit), "check/drift": fmean(self.drift)}
        return found | ({"check/held_out": fmean(self.held_out)} if self.held_out else {})

    def plain(self) -> dict[str, object]:
        """Return the check as plain values."""
        return {"step": self.step, **{name: list(getattr(self, name)) for name in ("fit", "drift", "held_out")}}


def base_check(like: Check) -> Check:
    """Return the check of the base, before the first step: all losses are 1."""
    return Check(0, (1.0,) * len(like.fit), (1.0,) * len(like.drift), (1.0,) * len(like.held_out))


def reason_to_stop(checks: Sequence[Check]) -> str | None:
    """Say why later steps are worse, with numbers; None if they are not. `checks` are in order, without the base's."""
    if len(checks) <= PATIENCE or not all(map(math.isfinite, checks[-1].fit)):
        return None
    history = [base_check(checks[0]), *checks]
    return _by_held_out(history) if checks[0].held_out else _by_fit(history)


def _by_held_out(history: Sequence[Check]) -> str | None:
    """Decide by held-out pictures: the last checks are worse than the best before, and fit improves or drift rises.

    This is patience (Prechelt 1998, "Early stopping, but when?") over paired differences. The lowest of many losses is
    biased, so it is pooled with its neighbours, and several standard errors are required: few trainings with a constant
    held-out loss stop by chance within fifteen checks.
    """
    before = history[:-PATIENCE]
    place = min(range(len(before)), key=lambda each: fmean(before[each].held_out))
    if any(risen(check.held_out, before[place].held_out) for check in history[-PATIENCE:]):
        return None
    best, last = _pooled(before[max(0, place - 1) : place + 2]), _pooled(history[-PATIENCE:])
    if not _clearly_risen(best.held_out, last.held_out):
        return None
    learns, drifts = risen(last.fit, best.fit), risen(best.drift, last.drift)
    if not (learns or drifts):
        return None
    how = [_change("on held-out pictures", best.held_out, last.held_out)]
    how += [_change("on training pictures", best.fit, last.fit)] if learns else []
    how += [_change("on pictures without the trigger word", best.drift, last.drift)] if drifts else []
    since = f"step {before[place].step}" if before[place].step else "the base"
    return f"no check since {since} is better: the loss went {'; '.join(how)}"


def _pooled(checks: Sequence[Check]) -> Check:
    """Return the mean of several checks, picture by picture."""

    def mean(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        return tuple(fmean(values) for values in zip(*rows, strict=True))

    fit, drift, held_out = (mean([getattr(check, name) for check in checks]) for name in ("fit", "drift", "held_out"))
    return Check(checks[-1].step, fit, drift, held_out)


def _clearly_risen(before: Sequence[float], after: Sequence[float]) -> bool:
    """Return whether paired losses have risen by more than `ERRORS` standard errors."""
    rise, error = paired_difference(before, after)
    return rise > max(ERRORS * error, 1e-3)


def _by_fit(history: Sequence[Check]) -> str | None:
    """Decide without held-out pictures: what was learnt is lost again, or the fit has converged and drift rises."""
    return _by_lost_fit(history) or _by_converged_fit(history)


def _by_lost_fit(history: Sequence[Check]) -> str | None:
    """Decide by the training pictures: the last checks are worse on them than the best before, as where it diverges."""
    before = history[:-PATIENCE]
    place = min(range(len(before)), key=lambda each: fmean(before[each].fit))
    if any(risen(check.fit, before[place].fit) for check in history[-PATIENCE:]):
        return None
    best, last = before[place], _pooled(history[-PATIENCE:])
    if not _clearly_risen(best.fit, last.fit) or not risen(best.drift, last.drift):
        return None
    fit, drift = (
        _change(what, getattr(best, name), getattr(last, name))
        for what, name in (("on training pictures", "fit"), ("on pictures without the trigger word", "drift"))
    )
    since = f"step {best.step}" if best.step else "the start"
    return f"what was learnt by {since} is lost again: the loss went {fit}; {drift}"


def _by_converged_fit(history: Sequence[Check]) -> str | None:
    """Decide by the drift: the fit has converged (DVAR: Voronov et al. 2023, arXiv:2302.04841), and the drift rises."""
    recent, last = history[-PATIENCE - 1 :], history[-1]
    whole = pvariance([fmean(check.fit) for check in history])
    share = pvariance([fmean(check.fit) for check in recent]) / whole if whole > 0 else 0.0
    drifts = all(fmean(later.drift) > fmean(check.drift) for check, later in pairwise(recent))
    if share >= CONVERGED or not drifts or not risen(recent[0].drift, last.drift):
        return None
    fit, drift = (
        _change(what, getattr(recent[0], name), getattr(last, name))
        for what, name in (("on training pictures", "fit"), ("on pictures without the trigger word", "drift"))
    )
    return f"since step {recent[0].step} it learns no more and only drifts: the loss went {fit}; {drift}"


def _change(what: str, before: Sequence[float], after: Sequence[float]) -> str:
    _, error = paired_difference(before, after)
    return f"{what} from {fmean(before):.3f} to {fmean(after):.3f} of the base's (±{error:.3f})"
