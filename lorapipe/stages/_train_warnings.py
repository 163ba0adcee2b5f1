"""Settings of a training that work and are seldom meant: what a user is told once, before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.stages.train import Train

ENOUGH_FOR_THE_SLOW = 2000
"""Steps that are not enough for optimizers that say they are slow (guide §5)."""
DAMPED = 0.1
"""Adaptive optimizers are given 0.1 to 1.0 (guide §5)."""


def warnings(train: Train, total: int | None = None, per_epoch: float = 1) -> Iterator[str]:
    """One sentence each; `total` steps and those of an epoch, as far as they are known."""
    if total is None and train.steps.unit == "steps":
        total = train.steps.count
    yield from _of_the_optimizer(train, total)
    if train.optimizer.follows_rate:
        yield from _of_rates(train)
        yield from _of_the_scheduler(train, total, per_epoch)


def _of_the_optimizer(train: Train, total: int | None) -> Iterator[str]:
    name, adapter = train.optimizer.name, train.adapter
    if train.optimizer.slow and total is not None and total <= ENOUGH_FOR_THE_SLOW:
        what = f"{name} learns very slowly: {total} steps will show little"
        yield f"{what}; give it several thousand, or use adamw or prodigy."
    rank = getattr(adapter, "rank", 0)
    alpha = getattr(adapter, "alpha", 0) or rank
    if train.optimizer.low_alpha and alpha > rank / 2:
        yield f"{name} works best with alpha 1, at most half the rank ({rank / 2:g}); it is {alpha:g} (0 means rank)."


def _of_rates(train: Train) -> Iterator[str]:
    rates = train.rates(("unet", "text_encoder"))
    unet, text = rates.get("unet"), rates.get("text_encoder")
    if train.optimizer.adaptive:
        for part, rate in rates.items():
            if rate < DAMPED:
                yield f"{part}_lr {rate:g} damps {train.optimizer.name} strongly: 0.1 to 1.0 is usual, 1.0 best."
    elif unet and text and text > unet:
        what = f"the text encoder's rate ({text:g}) is above the U-Net's ({unet:g}); about half of it is usual"
        yield f"{what}, and too much makes things appear that nobody asked for."


def _of_the_scheduler(train: Train, total: int | None, per_epoch: float) -> Iterator[str]:
    scheduler, name = train.scheduler, train.optimizer.name
    if train.optimizer.averages and scheduler.falls:
        yield f"{name} averages its weights in place of a falling rate; {scheduler.name} does it twice. constant is meant."
    elif train.optimizer.adaptive and scheduler.falls:
        what = f"{name} finds its own step size, and {scheduler.name} lowers what it has found"
        yield f"{what}; constant is usual, or constant_with_warmup."
    warmup = scheduler.warmup
    if total is None or not warmup.count:
        return
    if warmup.unit == "epochs" and train.steps.unit == "epochs":
        wanted, length, unit = warmup.count, float(train.steps.count), "epochs"
    else:
        wanted, length, unit = warmup.count * (per_epoch if warmup.unit == "epochs" else 1), float(total), "steps"
    if warmup.unit != "%" and wanted >= length:
        what = f"the warm-up ({warmup.plain()}) is as long as the training ({length:g} {unit})"
        yield f"{what}: the full rate is never reached."
