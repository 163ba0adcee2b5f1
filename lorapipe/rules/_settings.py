"""What several rules ask of a training's settings and captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorapipe.captioning.tags import tags_of
from lorapipe.training.data.caption_kinds import is_sentence
from lorapipe.training.data.trigger_word import shared_tag

if TYPE_CHECKING:
    from lorapipe.rules import Facts
    from lorapipe.training.adapters import Adapter
    from lorapipe.training.options import TrainingOptions


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


def epochs(training: TrainingOptions, facts: Facts) -> float | None:
    """Return the number of epochs; None if the number of pictures is unknown."""
    if training.steps.unit == "epochs":
        return float(training.steps.count)
    return facts.total / facts.per_epoch if facts.total and facts.pictures else None


def is_small_adapter(training: TrainingOptions) -> bool:
    """Return whether an adapter is trained, not the base itself, nor a word, whose trainings have other lengths."""
    return not training.adapter.in_place and "embedding" not in training.adapter.trains
