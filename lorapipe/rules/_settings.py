"""What several rules ask of a training's settings and captions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorapipe.training.data.trigger_word import shared_tag, tags_of

if TYPE_CHECKING:
    from lorapipe.rules import Facts
    from lorapipe.training.adapters import Adapter
    from lorapipe.training.options import TrainingOptions

LONG_TAG = 5
"""Words from which on a text between commas is part of a sentence, not a tag."""


def rank_of(adapter: Adapter) -> int:
    """Return the rank of a LoRA, LoCon or LoHa; 0 for adapters whose rank means something else, or that have none."""
    return int(getattr(adapter, "rank", 0)) if adapter.name in ("lora", "locon", "loha", "glora") else 0


def alpha_of(adapter: Adapter) -> float:
    """Return the effective alpha: 0 means the rank."""
    return float(getattr(adapter, "alpha", 0) or rank_of(adapter))


def trigger_of(training: TrainingOptions, facts: Facts) -> str:
    """Return the trigger word in lower case, from the settings or the captions; empty where there is none."""
    said = training.captions.trigger or training.captions.prefix
    word = next(iter([*(word.trigger for word in training.words), *tags_of(said)]), "") or shared_tag(facts.captions)
    return word.lower()


def are_sentences(captions: Sequence[str]) -> bool:
    """Return whether most captions are sentences: their parts between commas are long, or end with a full stop."""
    written = [caption for caption in captions if caption.strip()]
    return bool(written) and sum(map(is_sentence, written)) > len(written) / 2


def is_sentence(caption: str) -> bool:
    """Return whether a caption is a sentence rather than tags."""
    tags = tags_of(caption)
    words = len(caption.split())
    return words > LONG_TAG and words / max(1, len(tags)) >= LONG_TAG


def least_tokens(caption: str) -> int:
    """Return the least number of CLIP's tokens of a caption: every word, number's digit and run of marks is one at least.

    CLIP's tokenizer (Radford et al. 2021, `simple_tokenizer`) splits a text in these pieces, and the pieces further.
    """
    return len(re.findall(r"[^\W\d_]+|\d|(?:[^\s\w]|_)+", caption))


def epochs(training: TrainingOptions, facts: Facts) -> float | None:
    """Return the number of epochs; None if the number of pictures is unknown."""
    if training.steps.unit == "epochs":
        return float(training.steps.count)
    return facts.total / facts.per_epoch if facts.total and facts.pictures else None


def is_small_adapter(training: TrainingOptions) -> bool:
    """Return whether an adapter is trained, not the base itself, nor a word, whose trainings have other lengths."""
    return not training.adapter.in_place and "embedding" not in training.adapter.trains
