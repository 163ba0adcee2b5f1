"""What a training is fed with: pictures of its datasets, captions as they are said, and warnings about both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log, Progress
from lorapipe.spec import Warmup, from_dict, to_dict
from lorapipe.stages import _train_checks
from lorapipe.training.caption_augment import Captioning, CaptionSampler

if TYPE_CHECKING:
    from lorapipe.models import Family, Model
    from lorapipe.stages.train import Train
    from lorapipe.training.data.batches import Batch
    from lorapipe.training.data.cache import Cache
    from lorapipe.training.data.latents import Scene
    from lorapipe.training.data.manifest import Manifest
    from lorapipe.training.data.training_set import TrainingSet
    from lorapipe.training.data_loader import Fetch, TrainingLength

CHARACTERS = 4
"""Of a caption to a token, at least: English words and tags have 4 to 5."""


def material(train: Train, cache: Cache, where: str, context: Context) -> TrainingSet:
    """The pictures of all datasets, their latents in the cache."""
    from lorapipe.training.data.manifest import Manifest, per_epoch
    from lorapipe.training.data.training_set import TrainingSet, matched

    manifests = [Manifest.load(dataset.manifest) for dataset in train.datasets]
    if train.regularisation:  # all of it is shown: nothing is learnt from it that evaluation could be a witness of
        shown = tuple(replace(picture, held_out=False) for picture in manifests[-1].pictures)
        manifests[-1] = replace(manifests[-1], pictures=shown)
    for dataset, manifest in zip(train.datasets, manifests, strict=True):
        _need_latents(dataset, manifest, cache, where, context)
    wanted = manifests[: len(manifests) - (train.regularisation is not None)]
    pictures = tuple(picture for manifest in wanted for picture in manifest.training)
    kept = matched(manifests[-1].pictures, per_epoch(pictures)) if train.regularisation else ()
    told = [manifest.captions for manifest in wanted for _ in manifest.training]
    of_the_class = manifests[-1].captions
    if of_the_class is None and train.captions.trigger:
        of_the_class = to_dict(replace(train.captions, trigger=""))
    told += [of_the_class for _ in kept]
    if kept and manifests[-1].captions is None and (train.captions.prefix or train.captions.suffix):
        what = "the prefix and suffix of captions are said of the regularisation pictures too"
        context.emit(Log(text=f"{what}; captions: {{}} in their prepare stage leaves them out.", level="warning"))
    own = {place: captions for place, captions in enumerate(told) if captions is not None}
    held_out = sum(len(manifest.held_out) for manifest in wanted)
    return TrainingSet(manifests[0].resolution, pictures, kept, train.prior_loss_weight, held_out, own)


def _need_latents(dataset: Dataset, manifest: Manifest, cache: Cache, where: str, context: Context) -> None:
    """Encode what `prepare` has not, or what has gone from the cache since."""
    from lorapipe.training.data.latents import encode_latents, missing_latents

    missing = missing_latents(manifest.pictures, cache)
    if missing:
        vae = cast("Family", dataset.base).load(where, "fp32")
        for _ in encode_latents(missing, scene(dataset, manifest), vae, cache):
            context.check()
        context.emit(Log(text=f"{len(missing)} pictures were encoded that the cache did not have."))


def scene(dataset: Dataset, manifest: Manifest) -> Scene:
    """Where a dataset's files lie."""
    from lorapipe.training.data.latents import Scene

    return Scene(dataset.images, manifest.background, dataset.masks)


def condition(
    train: Train,
    material: TrainingSet,
    model: Model,
    rates: Mapping[str, float],
    course: TrainingLength,
    dtype: str,
    cache: Cache,
    context: Context,
) -> Callable[[Batch], Fetch]:
    """What fetches a batch's encoded captions. Encoders that are not needed any more leave the memory."""
    from lorapipe.training.data.latents import encode_captions, encoder_digest
    from lorapipe.training.data_loader import encoded_live, encoded_once

    reading, encoders = train.reading, model.text_encoders
    trained = any(part in rates for part in encoders)
    own = {place: from_dict(Captioning, captions) for place, captions in material.captions.items()}
    if problems := list(_train_checks.problems_with_captions(train, {*own.values()}, trained)):
        raise InputError(problems)

    def batches(warmup: Warmup) -> float:
        return warmup.steps(course.total, course.per_epoch) * course.accumulation

    sampler = CaptionSampler(train.captions, train.seed, not trained, batches, own)
    written = [picture.caption for picture in material.all]
    _warn_of_length(train, written, context)
    if trained:
        model.release("vae")
        return encoded_live(model, sampler.sample, reading)
    captions = sampler.all_variants(written)
    digest = encoder_digest(train.dataset.base, encoders, dtype, cache, lambda: model)
    for done, _ in enumerate(encode_captions(captions, model, digest, cache, reading), start=1):
        context.check()
        context.emit(Progress(step=done, total=len(captions), unit="captions encoded"))
    model.release("vae", *encoders)
    return encoded_once(digest, cache, sampler.sample, reading)


def _warn_of_length(train: Train, captions: Sequence[str], context: Context) -> None:
    """Of several lines the longest counts; with what is put around them."""
    around = len(train.captions.prefix) + len(train.captions.suffix) + len(train.captions.trigger)
    longest = [max(map(len, caption.split("\n"))) + around for caption in captions]
    long = sum(length > CHARACTERS * train.max_tokens for length in longest)
    if long and train.max_tokens < 225:
        whose = f"the captions of {long} pictures are" if long > 1 else "the caption of a picture is"
        what = f"{whose} probably longer than {train.max_tokens} tokens, and cut there"
        context.emit(Log(text=f"{what}; max_tokens: 225 reads more.", level="warning"))
