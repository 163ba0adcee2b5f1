"""What an evaluation takes from the record of the training that it judges: adapter, captions, settings, rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lorapipe.spec import from_dict

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.training.adapters import Attachable
    from lorapipe.training.caption_augment import Captioning
    from lorapipe.training.data.manifest import Manifest
    from lorapipe.training_record import TrainingRecord


def adapter_of(record: TrainingRecord) -> Attachable:
    """The adapter that was trained, with its word if it has one."""
    from lorapipe.training.adapter_layers.together import Together
    from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
    from lorapipe.training.adapters import Adapter

    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]  # the registry finds the file
    adapter = from_dict(contract, record.settings["adapter"])
    word = record.settings.get("embedding")
    return Together((adapter, from_dict(WordEmbedding, word))) if word else adapter


def settings_line(record: TrainingRecord) -> str:
    """Steps, rank and rates in a line, as the report shows them."""
    rates = ", ".join(f"{part} {rate:g}" for part, rate in record.rates.items())
    early = " (stopped early)" if record.stopped else ""
    return f"{record.steps} steps{early}, {f'rank {record.rank}, ' if record.rank else ''}rates {rates}"


def captioning_of(record: TrainingRecord | None, manifest: Manifest) -> Captioning:
    """How the captions were made that the training saw: the dataset's own way, else the training's."""
    from lorapipe.training.caption_augment import Captioning

    return from_dict(Captioning, manifest.captions or (record.settings.get("captions") if record else None) or {})


def advised_options(base: Family, record: TrainingRecord) -> dict[str, float]:
    """Return the knobs of the training that advice may change, with their values."""
    from lorapipe.training.options import rate_options

    captions = record.settings.get("captions") or {}
    knobs = {"steps": float(record.steps), "captions.dropout": float(captions.get("dropout", 0.0))}
    optimizer: Mapping[str, float] = record.settings.get("optimizer") or {}
    if "d_coef" in optimizer:
        knobs["optimizer.d_coef"] = optimizer["d_coef"]
    else:
        options = rate_options(base.roles)
        rates = {options[part]: rate for part, rate in record.rates.items() if part in options}
        if rates.get("text_encoder_2_lr") == rates.get("text_encoder_lr"):
            rates.pop("text_encoder_2_lr", None)  # it follows text_encoder_lr
        knobs |= rates
    return knobs | ({"adapter.rank": float(record.rank)} if record.rank else {})
