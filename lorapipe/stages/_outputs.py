"""What a training leaves on the disk: its record, snapshots and previews.

All of it is made in `context.resume`, which outlives a killed attempt, and appears in `context.out` at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.pipeline.artifacts import Snapshot
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log, Preview

if TYPE_CHECKING:
    from lorapipe.models import Family, Model
    from lorapipe.training.adapters import Attached
    from lorapipe.training.data.training_set import TrainingSet
    from lorapipe.training.data_loader import DataLoader, TrainingLength
    from lorapipe.training_record import TrainingRecord


def record(
    model: Model, base: Family, material: TrainingSet, course: TrainingLength, settings: Mapping[str, Any], **found: Any
) -> TrainingRecord:
    """What is said of a training in the metadata of its files.

    `settings` has its knobs in document form; `found`, under the record's names, what was made of them.
    """
    from lorapipe.training import dataset_statistics
    from lorapipe.training.data.manifest import per_epoch
    from lorapipe.training_record import TrainingRecord

    rank = settings["adapter"].get("rank", 0)
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
        pictures=len(material.pictures),
        pictures_per_epoch=per_epoch(material.pictures),
        regularisation_per_epoch=per_epoch(material.regularisation),
        batches_per_epoch=course.batches.per_epoch,
        steps=course.total,
        resolution=material.resolution,
        buckets={f"{width}x{height}": count for (width, height), count in material.buckets().items()},
        tags=dataset_statistics.tags(material.all),
        held_out=material.held_out,
        folders=dataset_statistics.folders(material.pictures),
        regularisation_folders=dataset_statistics.folders(material.regularisation),
        augmented={name: any(rule(p) for p in material.all) for name, rule in dataset_statistics.AUGMENTED.items()},
        **found,
    )


@dataclass(frozen=True)
class Outputs:
    """Writes the files of a training under way."""

    base: Family
    model: Model
    adapter: Attached
    feed: DataLoader
    record: TrainingRecord
    context: Context

    def snapshot(self, step: int) -> Path:
        """The adapter as a file that other programs load: kohya's keys, fp32, and the metadata that loaders need."""
        from lorapipe import formats
        from lorapipe.formats.kohya import Kohya
        from lorapipe.metadata import kohya_metadata

        learned, epoch = self.adapter.learned(), self.feed.length.epoch(step)
        metadata = kohya_metadata(self.record, "", step, epoch, "none", learned.algorithms)
        path = self.context.resume / _file(step)
        formats.save(learned, self.model.kohya_names(), path, Kohya(), metadata=lambda tensors: metadata)
        return path

    def preview(self, step: int, prompts: tuple[str, ...]) -> None:
        """Paint the prompts, each from the same noise every time. A preview that fails does not end a training."""
        from lorapipe.atomic import replacing
        from lorapipe.evaluation.sampler import Sampler, SamplingOptions

        rates = self.record.rates
        recipe = SamplingOptions(self.record.resolution, cfg=self.base.usual_cfg(), **self.record.reading)
        try:
            sampler = Sampler(self.model, recipe)
            sampler.read(prompts)
            for seed, prompt in enumerate(prompts):
                picture = sampler.pictures([prompt], [seed], self.context.check)[0]
                path = self.context.resume / "previews" / f"step-{step:06d}-{seed + 1}.png"
                with replacing(path, synced=False) as part:
                    picture.save(part, format="PNG")
                self.context.emit(Preview(path=str(path), caption=f"step {step}: {prompt}"))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            self.context.emit(Log(text=f"no preview at step {step}: {reason}", level="warning"))
        finally:
            frozen = (part for part in self.model.trainable if part.startswith("text_encoder") and part not in rates)
            self.model.release("vae", *frozen)


def publish(course: TrainingLength, steps: Iterable[int], context: Context) -> tuple[Snapshot, ...]:
    """Put what was made where it belongs; the snapshots after `steps`. A damaged preview is left out, and named."""
    from lorapipe.atomic import write_text
    from lorapipe.checksum import is_whole_png
    from lorapipe.training import metrics_log, snapshots

    for picture in sorted((context.resume / "previews").glob("*.png")):
        if not is_whole_png(picture):
            context.emit(Log(text=f"the preview {picture.name} is damaged, and left out", level="warning"))
            picture.unlink()
    write_text(metrics_log.table(metrics_log.read(context.resume / "metrics.jsonl")), context.out / "metrics.csv")
    for name in ("snapshots", "previews", "tensorboard", "metrics.jsonl"):
        if (context.resume / name).exists():
            snapshots.publish(context.resume / name, context.out / name)
    return tuple(Snapshot(step, course.epoch(step), context.out / _file(step)) for step in sorted(steps))


def _file(step: int) -> str:
    """A snapshot's place in the resume and result folders; sorted by name is sorted by step."""
    return f"snapshots/step-{step:06d}.safetensors"
