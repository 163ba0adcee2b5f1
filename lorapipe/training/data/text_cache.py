"""The cache of encoded captions, used if the text encoders are frozen: each caption is encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lorapipe.models import PLAIN_READING, TextReading
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.encoders import Encoders

if TYPE_CHECKING:
    import torch


def condition_key(caption: str, encoder: str, reading: TextReading) -> str:
    """Return the cache key of an encoded caption."""
    how = [reading.max_tokens, reading.clip_skip, *(["weighted"] if reading.weighted else [])]
    return key_of("text", caption, encoder, *how)


def encode_captions(
    captions: Sequence[str], model: Encoders, encoder: str, cache: Cache, reading: TextReading = PLAIN_READING
) -> Iterator[str]:
    """Encode the captions that are not in the cache; yield each new one when it is done.

    `encoder` is the `encoder_digest` of the model's text encoders.
    """
    import torch

    for caption in dict.fromkeys(captions):
        key = condition_key(caption, encoder, reading)
        if cache.tensors("text", key) is None:
            with torch.no_grad():
                condition = model.encode_text([caption], reading)
            cache.keep_tensors("text", key, condition)
            yield caption


def load_conditions(
    captions: Sequence[str], encoder: str, cache: Cache, reading: TextReading = PLAIN_READING
) -> dict[str, torch.Tensor]:
    """Return the condition of a batch of captions that `encode_captions` has encoded, on the CPU."""
    import torch

    keys = [condition_key(caption, encoder, reading) for caption in captions]
    found = [cache.require("text", key, repr(caption[:60])) for key, caption in zip(keys, captions, strict=True)]
    return {name: torch.cat([condition[name] for condition in found]) for name in found[0]}
