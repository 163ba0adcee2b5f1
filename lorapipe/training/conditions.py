"""Text and size conditions, the network's inputs besides noisy latents and timesteps (diffusers: `prompt_embeds`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from lorapipe.errors import InputError
from lorapipe.models import Model, TextReading
from lorapipe.pipeline.events import Log, Progress
from lorapipe.spec import Spec, Warmup
from lorapipe.training.caption_augment import Captioning, CaptionSampler, problems_with_own_captions
from lorapipe.training.data.batches import Batch
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.encoders import encoder_digest
from lorapipe.training.data.text_cache import encode_captions, load_conditions
from lorapipe.training.data.training_set import TrainingSet
from lorapipe.training.data_loader import Condition, Fetch, TrainingLength
from lorapipe.whole_words import has_words

if TYPE_CHECKING:
    from lorapipe.pipeline.context import Context

CHARACTERS = 4
"""Characters of a caption per token, at least: English words and tags have 4 to 5."""
MOST_TOKENS = 225

Captions = Callable[[Batch], Sequence[str]]
"""Returns the augmented caption of each picture of a batch."""


def caption_sampler(
    captions: Captioning, pictures: TrainingSet, length: TrainingLength, seed: int, trained: bool
) -> CaptionSampler:
    """Return the sampler of a training's captions. `trained`: a text encoder is trained, so captions are encoded live.

    Raises `InputError` if a dataset's own caption augmentation cannot be combined with the training's.
    """
    if problems := list(problems_with_own_captions(captions, {*pictures.captions.values()}, trained)):
        raise InputError(problems)

    def batches(warmup: Warmup) -> float:
        return warmup.steps(length.total, length.per_epoch) * length.accumulation

    return CaptionSampler(captions, seed, not trained, batches, pictures.captions)


def text_condition(
    sampler: CaptionSampler,
    captions: Sequence[str],
    model: Model,
    reading: TextReading,
    digest: Callable[[], str],
    cache: Cache,
    context: Context,
) -> Condition:
    """Return the text condition of batches. With frozen text encoders, encode all variants of `captions` now.

    With a trained one (the sampler is not `limited`) it has the tokens alone.

    `digest()` returns the `encoder_digest` of the text encoders. Encoders that are no longer needed are released.
    """
    if not sampler.limited:
        model.release("vae")
        return tokenized(model, sampler.sample, reading)
    variants, encoder = sampler.all_variants(captions), digest()
    for done, _ in enumerate(encode_captions(variants, model, encoder, cache, reading), start=1):
        context.check()
        context.emit(Progress(step=done, total=len(variants), unit="captions encoded"))
    model.release("vae", *model.text_encoders)
    return encoded_once(encoder, cache, sampler.sample, reading)


def text_encoder_digest(base: Spec, model: Model, dtype: str, cache: Cache) -> str:
    """Return the `encoder_digest` of a loaded base's text encoders."""
    return encoder_digest(base, model.text_encoders, dtype, cache, lambda: model)


def tokenized(model: Model, captions: Captions, reading: TextReading) -> Condition:
    """Return a condition that only tokenizes captions: a trained text encoder encodes them in each forward pass."""
    return lambda batch: partial(model.tokenize, captions(batch), reading)


def encoded_once(encoder: str, cache: Cache, captions: Captions, reading: TextReading) -> Condition:
    """Return a condition that loads encoded captions from the cache; `encoder` is their `encoder_digest`."""

    def condition(batch: Batch) -> Fetch:
        loaded = load_conditions(captions(batch), encoder, cache, reading)
        return lambda: loaded

    return condition


def with_size_conditioning(model: Model, condition: Condition) -> Condition:
    """Add the model's size conditioning to the text condition (SDXL's micro-conditioning: Podell et al. 2023, §2.2)."""

    def both(batch: Batch) -> Fetch:
        shapes = [model.size_conditioning(view.picture.size, view.corner, view.picture.bucket) for view in batch.views]
        sizes = {name: torch.cat([shape[name] for shape in shapes]) for name in shapes[0]}
        fetch = condition(batch)
        return (lambda: {**fetch(), **sizes}) if sizes else fetch

    return both


def require_word(word: str, captioning: Captioning, pictures: TrainingSet, context: Context) -> None:
    """Raise `InputError` if no caption contains the word that is trained; warn if some do not."""
    said = [
        pictures.captions.get(place, captioning).canonical(each.caption) for place, each in enumerate(pictures.pictures)
    ]
    silent = sum(not has_words(text, word) for text in said)
    cure = f"captions: {{trigger: {word}}} puts it before those that lack it."
    if silent == len(said):
        raise InputError(f"no caption contains {word}, so it cannot be learnt.", where="captions", cure=cure)
    if silent:
        what = f"{silent} of {len(said)} captions do not contain {word}, so it learns nothing from them; {cure}"
        context.emit(Log(text=what, level="warning"))


def warn_of_truncation(captioning: Captioning, captions: Sequence[str], max_tokens: int, context: Context) -> None:
    """Warn of captions that are probably truncated at `max_tokens`. Of several lines the longest counts."""
    extra = len(captioning.prefix) + len(captioning.suffix) + len(captioning.trigger)
    longest = [max(map(len, caption.split("\n"))) + extra for caption in captions]
    long = sum(length > CHARACTERS * max_tokens for length in longest)
    if long and max_tokens < MOST_TOKENS:
        whose = f"the captions of {long} pictures are" if long > 1 else "the caption of a picture is"
        what = f"{whose} probably longer than {max_tokens} tokens, and truncated"
        context.emit(Log(text=f"{what}; max_tokens: {MOST_TOKENS} reads more.", level="warning"))
