"""The trigger word of a training: the word that calls what was trained, as its settings or its captions tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

SHARED = 0.9
"""A tag that this share of the captions have is in all of them, but for a slip."""
COUNTS = re.compile(r"[0-9]+\+?(girl|boy|other)s?|solo|no humans")
"""Tags that say how many are in the picture, which no trigger word is."""


def tags_of(text: str) -> list[str]:
    """The tags of a caption or prompt, between its commas, with single spaces."""
    return [tag for part in text.split(",") if (tag := " ".join(part.split()))]


def trigger_word(settings: Mapping[str, Any], captions: Sequence[str]) -> str:
    """The trigger word of a training; empty where none can be told.

    It is the word that is learnt, else that which is put before captions (`captions.trigger`, `captions.prefix`), else the
    first tag that the captions share. `settings` are those of a train stage as plain values, `captions` as it reads them.
    """
    for knob in ("adapter", "embedding"):
        if word := (settings.get(knob) or {}).get("trigger"):
            return str(word)
    captioning = settings.get("captions") or {}
    for knob in ("trigger", "prefix"):
        if tags := tags_of(captioning.get(knob) or ""):
            return tags[0]
    return shared_tag(captions)


def shared_tag(captions: Sequence[str]) -> str:
    """The first tag that nearly all captions have, other than how many are in the picture; empty where there is none."""
    tags = [tags_of(caption) for caption in captions]
    having = Counter(tag.lower() for caption in tags for tag in {each.lower(): each for each in caption}.values())
    shared = dict.fromkeys(
        tag for caption in tags for tag in caption if having[tag.lower()] >= max(2, SHARED * len(captions))
    )
    return next((tag for tag in shared if not COUNTS.fullmatch(tag.lower())), "")


def without_word(caption: str, word: str) -> str:
    """A caption without the tags that are the trigger word."""
    return ", ".join(tag for tag in tags_of(caption) if tag.lower() != word.lower())
