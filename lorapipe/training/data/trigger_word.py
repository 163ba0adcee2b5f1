"""Detects the trigger word of a training from its settings or captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lorapipe.captioning.tags import tags_of

SHARED = 0.9
"""Share of the captions from which a tag counts as shared by all."""
COUNTS = re.compile(r"[0-9]+\+?(girl|boy|other)s?|solo|no humans")
"""Tags that count subjects (`1girl`), which are never trigger words."""


def trigger_word(settings: Mapping[str, Any], captions: Sequence[str]) -> str:
    """Return the trigger word of a training; empty where there is none.

    It is the word of an embedding, else that of `captions.trigger` or `captions.prefix`, else the first tag that the
    captions share. `settings` are a train stage's settings as plain values, `captions` its captions.
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
    """Return the first tag that nearly all captions have, except counts of subjects; empty where there is none."""
    tags = [tags_of(caption) for caption in captions]
    having = Counter(tag for caption in tags for tag in {each.lower() for each in caption})
    enough = max(2, SHARED * len(captions))
    shared = dict.fromkeys(tag for caption in tags for tag in caption if having[tag.lower()] >= enough)
    return next((tag for tag in shared if not COUNTS.fullmatch(tag.lower())), "")


def without_word(caption: str, word: str) -> str:
    """Remove the trigger word's tags from a caption."""
    return ", ".join(tag for tag in tags_of(caption) if tag.lower() != word.lower())
