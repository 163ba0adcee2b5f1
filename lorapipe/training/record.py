"""The record of a training, which becomes the metadata of its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorapipe.models import Family, Model
from lorapipe.training import dataset_statistics
from lorapipe.training.adapters import Adapter
from lorapipe.training.data.manifest import per_epoch
from lorapipe.training.data.training_set import TrainingSet
from lorapipe.training.data_loader import TrainingLength
from lorapipe.training_record import TrainingRecord


def record_of(
    model: Model,
    base: Family,
    pictures: TrainingSet,
    length: TrainingLength,
    settings: Mapping[str, Any],
    rates: Mapping[str, float],
    warmup_steps: int,
) -> TrainingRecord:
    """Return the record. `settings` are the training's options as plain values, `rates` the learning rates by part."""
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]
    assert contract.registry is not None
    rank = contract.registry.get(settings["adapter"]["type"]).network_dim(settings["adapter"])
    return TrainingRecord(
        family=base.name,
        base_model_version=base.base_model_version(model.diffusion.prediction),
        architecture=base.architecture(model.diffusion.prediction),
        prediction=model.diffusion.prediction,
        zero_terminal_snr=model.diffusion.zero_terminal_snr,
        base_name=base.checkpoint.plain().rpartition("/")[2],
        settings=settings,
        rank=rank,
        alpha=settings["adapter"].get("alpha") or rank,
        pictures=len(pictures.pictures),
        pictures_per_epoch=per_epoch(pictures.pictures),
        regularisation_per_epoch=per_epoch(pictures.regularisation),
        batches_per_epoch=length.batches.per_epoch,
        steps=length.total,
        resolution=pictures.resolution,
        buckets={f"{width}x{height}": count for (width, height), count in pictures.buckets().items()},
        tags=dataset_statistics.tags(pictures.all),
        held_out=pictures.held_out,
        folders=dataset_statistics.folders(pictures.pictures),
        regularisation_folders=dataset_statistics.folders(pictures.regularisation),
        augmented={name: any(rule(p) for p in pictures.all) for name, rule in dataset_statistics.AUGMENTED.items()},
        rates=rates,
        warmup_steps=warmup_steps,
    )
