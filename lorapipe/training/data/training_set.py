"""The training set: the pictures of one or more datasets, and regularisation pictures of the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.events import Log
from lorapipe.spec import from_dict
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import Scene, encode_latents, missing_latents
from lorapipe.training.data.manifest import Manifest, Picture, by_bucket, per_epoch

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.pipeline.context import Context


@dataclass(frozen=True)
class TrainingSet:
    """Training pictures, regularisation pictures, and the loss weight `prior` of the latter (prior loss weight).

    `generated` is the loss weight of the training pictures that a synthesize stage has made.
    `held_out` is the number of held-out pictures, which are not included; `resolution` is that of the first dataset.
    `captions` maps indices in `all` to the caption augmentation of their dataset, if that has its own.
    """

    resolution: Pair
    pictures: tuple[Picture, ...]
    regularisation: tuple[Picture, ...] = ()
    prior: float = 1.0
    generated: float = 1.0
    held_out: int = 0
    captions: Mapping[int, Captioning] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Picture, ...]:
        """All pictures of the training, regularisation last."""
        return self.pictures + self.regularisation

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The loss weight of each picture in `all`; None if all are 1."""
        own = tuple(self.generated if picture.generated else 1.0 for picture in self.pictures)
        found = own + (self.prior,) * len(self.regularisation)
        return None if all(weight == 1 for weight in found) else found

    def buckets(self) -> dict[Pair, int]:
        """Return the number of pictures by bucket, repeats not counted, sorted."""
        return by_bucket(self.all)


def load_training_set(
    datasets: Sequence[Dataset],
    regularisation: Dataset | None,
    captions: Captioning,
    prior: float,
    cache: Cache,
    device: str,
    context: Context,
    generated: float = 1.0,
) -> TrainingSet:
    """Load the pictures of all datasets, and encode latents that the cache lacks.

    `captions` is the training's caption augmentation, `prior` and `generated` are loss weights: see `TrainingSet`.
    """
    manifests = [_load(dataset, cache, device, context) for dataset in datasets]
    pictures = tuple(picture for manifest in manifests for picture in manifest.training)
    own = [own_captions(manifest) for manifest in manifests for _ in manifest.training]
    kept: tuple[Picture, ...] = ()
    if regularisation is not None:
        manifest = _load(regularisation, cache, device, context, held_out=False)
        kept = matched(manifest.pictures, per_epoch(pictures))
        own += [_class_captions(own_captions(manifest), captions, context)] * len(kept)
    return TrainingSet(
        resolution=manifests[0].resolution,
        pictures=pictures,
        regularisation=kept,
        prior=prior,
        generated=generated,
        held_out=sum(len(manifest.held_out) for manifest in manifests),
        captions={index: captioning for index, captioning in enumerate(own) if captioning is not None},
    )


def _load(dataset: Dataset, cache: Cache, device: str, context: Context, held_out: bool = True) -> Manifest:
    """Load a dataset's manifest, and encode latents that the cache lacks or has lost since `prepare`.

    If `held_out` is false, nothing is held out: regularisation sets, which evaluation does not use, have no held-out split.
    """
    manifest = Manifest.load(dataset.manifest)
    if not held_out:
        pictures = tuple(replace(picture, held_out=False) for picture in manifest.pictures)
        manifest = replace(manifest, pictures=pictures)
    if missing := missing_latents(manifest.pictures, cache):
        vae = cast("Family", dataset.base).load(device, "fp32")
        for _ in encode_latents(missing, scene_of(dataset, manifest), vae, cache):
            context.check()
        context.emit(Log(text=f"{len(missing)} pictures encoded that were missing from the cache."))
    return manifest


def scene_of(dataset: Dataset, manifest: Manifest) -> Scene:
    """Return the folders of a dataset and the colour behind transparent pictures."""
    return Scene(dataset.images, manifest.background, dataset.masks)


def own_captions(manifest: Manifest) -> Captioning | None:
    """Return how a dataset has its captions augmented; None where the training decides."""
    return None if manifest.captions is None else from_dict(Captioning, manifest.captions)


def _class_captions(own: Captioning | None, captions: Captioning, context: Context) -> Captioning | None:
    """Return the caption augmentation of regularisation pictures, always without the subject's trigger word."""
    if own is not None:
        return own
    if captions.prefix or captions.suffix:
        what = "the regularisation pictures' captions get the prefix and suffix too"
        context.emit(Log(text=f"{what}; to avoid that, set captions: {{}} in their prepare stage.", level="warning"))
    return replace(captions, trigger="") if captions.trigger else None


def matched(pictures: Sequence[Picture], wanted: int) -> tuple[Picture, ...]:
    """Repeat regularisation pictures, or drop some from the end, until an epoch has `wanted` of them.

    As in kohya's sd-scripts (`train_util.py`, `DreamBoothDataset`): first each picture with its own repeats, then one more
    repeat of each in turn.
    """
    repeats: list[int] = []
    for picture in pictures:
        if sum(repeats) >= wanted:
            break
        repeats.append(picture.repeats)
    short = wanted - sum(repeats)
    for place in range(max(0, short)):
        repeats[place % len(repeats)] += 1
    return tuple(replace(picture, repeats=times) for picture, times in zip(pictures, repeats, strict=False))
