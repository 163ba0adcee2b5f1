"""How a trigger word comes into captions that have it, lack it, or do not exist; and how long a training is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lorapipe.whole_words import has_words


class TriggerSettings(NamedTuple):
    """Settings of captions: `prefix` goes before all of them, `trigger` before those that lack it, and `class_word` is the
    caption of pictures without one. Each is empty where it is not needed.
    """

    prefix: str
    trigger: str
    class_word: str


def trigger_settings(word: str, captions: Sequence[str]) -> TriggerSettings:
    """Return how a trigger word is put into captions; empty ones are those of pictures without a caption."""
    has = [has_words(text, word) for text in captions if text]
    in_none = bool(has) and not any(has)
    return TriggerSettings(
        prefix=f"{word}," if in_none else "",
        trigger="" if in_none or all(has) else word,
        class_word="" if in_none else word,
    )


def whole_epochs(pictures: int, wanted: float) -> int:
    """Return the number of epochs of so many pictures that shows about `wanted` pictures: one at least."""
    return max(1, round(wanted / max(1, pictures)))
