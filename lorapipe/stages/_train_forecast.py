"""What a training will be, before it is: steps, epochs, memory. Light: for plans."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError
from lorapipe.formats import EMBEDDING
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.demand import Demand
from lorapipe.stages import Stage
from lorapipe.stages._train_rules import made_by
from lorapipe.training.check_steps import BACKWARD, CHECK_PASSES, check_steps
from lorapipe.training.data.forecast import Forecast, of_manifest
from lorapipe.training.options import TrainingOptions

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.training.data.buckets import Pair
    from lorapipe.training.memory_estimate import Need


def outlook(train: TrainingOptions, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Lines for the plan."""
    found = _forecasts(train, stages)
    if found is None:
        return
    showings = _showings(found, train.regularisation is not None)
    updates = sum(-(-count // train.batch) for count in showings.values()) / train.accumulation
    if not updates:
        return
    count = train.steps.count
    total = count if train.steps.unit == "steps" else math.ceil(count * updates)
    about = "" if all(each.known for each in found) else "about "
    epochs = f"{about}{total / updates:.1f} epochs of {sum(showings.values())} pictures"
    yield f"{total} steps of {train.batch * train.accumulation}, {epochs}"
    if train.stop:
        yield _checks(total, train.batch * train.accumulation)
    base = _base(train.dataset, stages)
    if base is not None:
        yield from _memory(train, base, max(each.largest for each in found))


def _checks(total: int, pictures: int) -> str:
    """What early stopping costs."""
    checks = len(check_steps(total, pictures))
    share = checks * CHECK_PASSES / (BACKWARD * total * pictures)
    return f"stop: early looks at it up to {checks} times, about {100 * share:.0f} % more time; it may end sooner"


def _forecasts(train: TrainingOptions, stages: Mapping[str, Stage]) -> list[Forecast] | None:
    """What is known of each dataset; None where one cannot be known yet."""
    try:
        of_each = {dataset: _forecast(dataset, stages) for dataset in dict.fromkeys(train.datasets)}
    except InputError:
        return None
    found = [of_each[dataset] for dataset in train.datasets]
    return None if any(each is None for each in found) else cast("list[Forecast]", found)


def _showings(forecasts: Sequence[Forecast], is_regularised: bool) -> Counter[Pair]:
    """How often an epoch shows pictures of each size; of the last dataset as many as of the others, if it regularises."""
    subject = forecasts[:-1] if is_regularised else forecasts
    showings: Counter[Pair] = Counter()
    for each in subject:
        showings.update(each.showings)
    if is_regularised:
        showings.update(_matched(forecasts[-1], sum(showings.values())))
    return showings


def demand(train: TrainingOptions, stages: Mapping[str, Stage], pictures: int) -> Demand:
    """How much work it is at the most."""
    made = (made_by(dataset, stages) for dataset in train.datasets)
    shown = max(1, pictures) * sum(getattr(stage, "repeats", 1) for stage in made)
    per_epoch = max(1, shown // (train.batch * train.accumulation))
    total = train.steps.count * (per_epoch if train.steps.unit == "epochs" else 1)
    painted = len(train.preview_prompts) * train.previews.times(total, per_epoch)
    return Demand(total * train.accumulation, painted, train.snapshots.times(total, per_epoch))


def memory(train: TrainingOptions, base: Family, pixels: int) -> tuple[Need, Need] | None:
    """What the training needs on a GPU, by counting, and what it would with gradient checkpointing.

    None where a base's shape or an adapter's size is not known. `pixels` are those of the largest picture.
    """
    from lorapipe.training.memory_estimate import need

    footprint = base.footprint()
    if footprint is None or footprint.activations is None:
        return None
    rates = train.rates(base.roles)
    parts = [part for part in rates if part in base.roles]
    numbers = train.adapter.size(footprint, parts)
    if not numbers:
        return None
    if EMBEDDING in rates:
        parts = [*{*parts, *(part for part, role in base.roles.items() if role == "text_encoder")}]
    needed = partial(
        need,
        footprint,
        footprint.activations,
        parts,
        numbers,
        train.optimizer.states,
        pixels * train.batch,
        bytes_each=4 if train.precision == "fp32" else 2,
    )
    return needed(checkpointing=train.gradient_checkpointing), needed(checkpointing=True)


def _memory(train: TrainingOptions, base: Family, largest: int) -> Iterator[str]:
    needs = memory(train, base, largest)
    if needs is None:
        return
    found, less = needs
    pieces = {"base": found.base, "adapter and optimizer": found.adapter, "pictures": found.pictures}
    told = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in pieces.items())
    card = f"a {found.card()} GB card" if found.card() else "more than any card has"
    how = "reckoned from the base's shape; trainings that were measured took 1 to 5 % less"
    yield f"on a GPU about {found.total / 1e9:.1f} GB ({told}): {card}; {how}"
    if not train.gradient_checkpointing and less.card() != found.card():
        yield f"with gradient_checkpointing: true about {less.total / 1e9:.1f} GB: a {less.card()} GB card"


def _forecast(dataset: Dataset, stages: Mapping[str, Stage]) -> Forecast | None:
    """What a dataset is, or will be; None where only a run can tell."""
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
    """The buckets of regularisation pictures, shown `wanted` times in all."""
    return {bucket: round(count * wanted / max(1, found.per_epoch)) for bucket, count in found.showings.items()}
