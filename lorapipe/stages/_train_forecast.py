"""Forecast of a training for the plan: steps, epochs and memory. It loads no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError
from lorapipe.percent import percent
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.demand import Demand
from lorapipe.stages import Stage
from lorapipe.stages._train_rules import made_by
from lorapipe.training.check_steps import BACKWARD, CHECK_PASSES, check_steps
from lorapipe.training.data.forecast import Forecast, of_manifest
from lorapipe.training.memory_estimate import CARDS, usable_bytes
from lorapipe.training.options import TrainingOptions
from lorapipe.training.training_memory import bytes_of_average, fewest_blocks, memory, needs

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.training.data.buckets import Pair
    from lorapipe.training.memory_estimate import Need

CARDS_TOLD = 4
"""Most sizes of cards in a line of the plan: the smallest that are sufficient."""


def outlook(train: TrainingOptions, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Yield the lines of the plan."""
    found = _forecasts(train, stages)
    if found is None:
        return
    showings = _showings(found, train.regularisation is not None)
    updates = sum(-(-count // train.batch) for count in showings.values()) / train.accumulation
    if not updates:
        return
    total = train.steps.steps(updates)
    last = total if train.until is None else min(total, train.until.steps(updates))
    about = "" if all(each.known for each in found) else "about "
    epochs = f"{about}{total / updates:.1f} epochs of {sum(showings.values())} pictures"
    told = f"the first {last} of {total} steps" if last < total else f"{total} steps"
    yield f"{told} of {train.batch * train.accumulation}, {epochs}"
    if train.stop:
        yield _checks(total, train.batch * train.accumulation)
    base = _base(train.dataset, stages)
    if base is not None:
        yield from _memory(train, base, max(each.largest for each in found))
        yield from _disk(train, base, total, updates)


def _checks(total: int, pictures: int) -> str:
    """Describe the cost of early stopping."""
    checks = len(check_steps(total, pictures))
    share = checks * CHECK_PASSES / (BACKWARD * total * pictures)
    return f"stop: early looks at it up to {checks} times, about {percent(share)} more time; it may end sooner"


def _forecasts(train: TrainingOptions, stages: Mapping[str, Stage]) -> list[Forecast] | None:
    """Return the forecast of each dataset; None if one is unknown before a run."""
    try:
        of_each = {dataset: _forecast(dataset, stages) for dataset in dict.fromkeys(train.datasets)}
    except InputError:
        return None
    found = [of_each[dataset] for dataset in train.datasets]
    return None if any(each is None for each in found) else cast("list[Forecast]", found)


def _showings(forecasts: Sequence[Forecast], is_regularised: bool) -> Counter[Pair]:
    """Count the showings of each picture size in an epoch.

    Regularisation pictures, which are the last dataset, are shown as often in all as the others.
    """
    subject = forecasts[:-1] if is_regularised else forecasts
    showings: Counter[Pair] = Counter()
    for each in subject:
        showings.update(each.showings)
    if is_regularised:
        showings.update(_matched(forecasts[-1], sum(showings.values())))
    return showings


def demand(train: TrainingOptions, stages: Mapping[str, Stage], pictures: int) -> Demand:
    """Return an upper bound of the training's work."""
    made = (made_by(dataset, stages) for dataset in train.datasets)
    shown = max(1, pictures) * sum(getattr(stage, "repeats", 1) for stage in made)
    per_epoch = max(1, shown // (train.batch * train.accumulation))
    total = (train.until or train.steps).steps(per_epoch)
    painted = len(train.preview_prompts) * train.previews.times(total, per_epoch)
    return Demand(total * train.accumulation, painted, train.snapshots.times(total, per_epoch))


def _disk(train: TrainingOptions, base: Family, total: int, per_epoch: float) -> Iterator[str]:
    """Yield a line about disk space, for trainings whose snapshots are as large as the base."""
    if not train.adapter.in_place or (footprint := base.footprint()) is None:
        return
    numbers = train.adapter.size(footprint, [part for part in train.rates(base.roles) if part in base.roles])
    snapshot = numbers * {"fp32": 4, "bf16": 2}[train.adapter.snapshot_dtype]
    weight = 2 if train.adapter.needs_precision == "bf16" else 4
    state = numbers * (weight + 4 * train.optimizer.states + bytes_of_average(train))
    count = len(train.snapshots.steps(total, per_epoch))
    many = f"{count} snapshots of {_size(snapshot)}" if count > 1 else f"a snapshot of {_size(snapshot)}"
    whole = _size(count * snapshot + 2 * state)
    yield f"on disk about {whole}: {many}, and while it trains twice {_size(state)} to resume from"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _memory(train: TrainingOptions, base: Family, largest: int) -> Iterator[str]:
    if (found := memory(train, base, largest)) is None or (need := needs(train, base, largest)) is None:
        return
    pieces = {"base": found.base, "adapter and optimizer": found.adapter, "pictures": found.pictures}
    told = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in pieces.items())
    card = f"a {found.card()} GB card" if found.card() else "more than any card has"
    how = "estimated from the base's shape; measured trainings took 1 to 5 % less"
    yield f"on a GPU about {found.total / 1e9:.1f} GB ({told}): {card}; {how}"
    if train.gradient_checkpointing == "auto":
        yield from _on_smaller_cards(train, base, largest, found)
    elif not train.gradient_checkpointing and (less := need(1.0)).card() != found.card():
        yield f"with gradient_checkpointing: true about {less.total / 1e9:.1f} GB: a {less.card()} GB card"


def _on_smaller_cards(train: TrainingOptions, base: Family, largest: int, whole: Need) -> Iterator[str]:
    """Yield a line that says how many blocks are computed again on cards that are too small for `whole`."""
    smaller = [size for size in reversed(CARDS) if size < (whole.card() or math.inf)]
    found = [(size, fewest_blocks(train, base, largest, usable_bytes(size))) for size in smaller]
    fitting = [f"{blocks} on a {size} GB card" for size, blocks in found if blocks is not None and blocks.fits]
    if fitting:
        yield f"gradient_checkpointing: auto computes again {', '.join(fitting[-CARDS_TOLD:])}"


def _forecast(dataset: Dataset, stages: Mapping[str, Stage]) -> Forecast | None:
    """Return the forecast of a dataset; None if it is unknown before a run."""
    if isinstance(dataset, Dataset):
        from lorapipe.training.data.manifest import Manifest

        return of_manifest(Manifest.load(dataset.manifest))
    maker = made_by(dataset, stages)
    return maker.forecast() if hasattr(maker, "forecast") else None


def _base(dataset: Dataset, stages: Mapping[str, Stage]) -> Family | None:
    if isinstance(dataset, Dataset):
        return cast("Family", dataset.base)
    return getattr(made_by(dataset, stages), "base", None)


def _matched(found: Forecast, wanted: int) -> dict[Pair, int]:
    """Return the showings of regularisation pictures by bucket, scaled to `wanted` in all."""
    return {bucket: round(count * wanted / max(1, found.per_epoch)) for bucket, count in found.showings.items()}
