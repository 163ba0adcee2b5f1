"""The training set: pictures of one or more datasets, and those of the class that regularise the training."""

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
    """Pictures to learn, regularisation pictures, and how much one of the latter counts (`prior`, the prior loss weight).

    `held_out` is the number of pictures held out, which are not among them; `resolution` that of the first dataset.
    `captions` has the caption augmentation of pictures whose dataset has its own, by their index in `all`.
    """

    resolution: Pair
    pictures: tuple[Picture, ...]
    regularisation: tuple[Picture, ...] = ()
    prior: float = 1.0
    held_out: int = 0
    captions: Mapping[int, Captioning] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Picture, ...]:
        """All pictures of an epoch."""
        return self.pictures + self.regularisation

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The loss weight of each of `all`; None where all are 1."""
        if not self.regularisation or self.prior == 1:
            return None
        return (1.0,) * len(self.pictures) + (self.prior,) * len(self.regularisation)

    def buckets(self) -> dict[Pair, int]:
        """Number of pictures by bucket, repeats not counted, sorted."""
        return by_bucket(self.all)


def load_training_set(
    datasets: Sequence[Dataset],
    regularisation: Dataset | None,
    captions: Captioning,
    prior: float,
    cache: Cache,
    device: str,
    context: Context,
) -> TrainingSet:
    """The pictures of all datasets, with their latents in the cache. `captions` is how the training augments captions."""
    manifests = [_load(dataset, cache, device, context) for dataset in datasets]
    pictures = tuple(picture for manifest in manifests for picture in manifest.training)
    own = [_own_captions(manifest) for manifest in manifests for _ in manifest.training]
    kept: tuple[Picture, ...] = ()
    if regularisation is not None:
        manifest = _load(regularisation, cache, device, context, held_out=False)
        kept = matched(manifest.pictures, per_epoch(pictures))
        own += [_class_captions(_own_captions(manifest), captions, context)] * len(kept)
    return TrainingSet(
        resolution=manifests[0].resolution,
        pictures=pictures,
        regularisation=kept,
        prior=prior,
        held_out=sum(len(manifest.held_out) for manifest in manifests),
        captions={index: captioning for index, captioning in enumerate(own) if captioning is not None},
    )


def _load(dataset: Dataset, cache: Cache, device: str, context: Context, held_out: bool = True) -> Manifest:
    """The manifest of a dataset. Latents that the cache does not have, or has lost since `prepare`, are encoded.

    Without `held_out` nothing is held out: so it is with regularisation, from which evaluation takes no pictures.
    """
    manifest = Manifest.load(dataset.manifest)
    if not held_out:
        pictures = tuple(replace(picture, held_out=False) for picture in manifest.pictures)
        manifest = replace(manifest, pictures=pictures)
    if missing := missing_latents(manifest.pictures, cache):
        vae = cast("Family", dataset.base).load(device, "fp32")
        for _ in encode_latents(missing, scene_of(dataset, manifest), vae, cache):
            context.check()
        context.emit(Log(text=f"{len(missing)} pictures were encoded that the cache did not have."))
    return manifest


def scene_of(dataset: Dataset, manifest: Manifest) -> Scene:
    """Where the files of a dataset are, and the colour behind transparent pictures."""
    return Scene(dataset.images, manifest.background, dataset.masks)


def _own_captions(manifest: Manifest) -> Captioning | None:
    return None if manifest.captions is None else from_dict(Captioning, manifest.captions)


def _class_captions(own: Captioning | None, captions: Captioning, context: Context) -> Captioning | None:
    """The caption augmentation of regularisation pictures: never with the trigger words of the subject."""
    if own is not None:
        return own
    if captions.prefix or captions.suffix:
        what = "the prefix and suffix of captions are said of the regularisation pictures too"
        context.emit(Log(text=f"{what}; captions: {{}} in their prepare stage leaves them out.", level="warning"))
    return replace(captions, trigger="") if captions.trigger else None


def matched(pictures: Sequence[Picture], wanted: int) -> tuple[Picture, ...]:
    """Regularisation pictures repeated, or left out from the end, until an epoch shows `wanted` of them.

    As in kohya's sd-scripts (`train_util.py`, `DreamBoothDataset`): each with its own repeats once, then one more of each
    in turn.
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
