"""What the captions of a folder are: tags, sentences, folders' names or none; their length, and words in common."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from lorapipe.captioning.tags import compared_tags
from lorapipe.training.data.caption_kinds import is_sentence, least_tokens
from lorapipe.training.data.trigger_word import COUNTS, shared_tag

CaptionKind = Literal["tags", "sentences", "folder words", "none"]
MALE = re.compile(r"(?i)\b(1boy|male focus|man|male)\b")
TOKENS = 1.35
"""CLIP's tokens for each word, digit or mark of a caption, at most as a rule; tags of names are split further."""


@dataclass(frozen=True)
class CaptionFacts:
    """The captions of a folder's pictures: one of each in `texts`, perhaps empty; `written` come from files."""

    texts: tuple[str, ...] = ()
    written: int = 0
    folder_words: tuple[str, ...] = field(default=())
    """The words of folders named like kohya's."""

    @cached_property
    def kind(self) -> CaptionKind:
        """What most pictures have."""
        if self.written * 2 >= max(1, len(self.texts)):
            said = [text for text in self.texts if text]
            return "sentences" if sum(map(is_sentence, said)) * 2 > len(said) else "tags"
        return "folder words" if self.folder_words else "none"

    @cached_property
    def longest(self) -> int:
        """Estimated tokens of the longest caption."""
        return round(TOKENS * max(map(least_tokens, self.texts), default=0))

    @cached_property
    def is_booru(self) -> bool:
        """Whether captions count subjects, like 1girl: the language of anime bases."""
        said = [compared_tags(text) for text in self.texts if text]
        return bool(said) and sum(any(COUNTS.fullmatch(tag) for tag in tags) for tags in said) >= 0.3 * len(said)

    @cached_property
    def is_male(self) -> bool:
        """Whether the subject is male, as far as captions say."""
        said = [text for text in self.texts if text]
        return bool(said) and sum(MALE.search(text) is not None for text in said) * 2 > len(said)

    @cached_property
    def shared(self) -> str:
        """The first tag that nearly all captions have; empty where there is none."""
        return shared_tag([text for text in self.texts if text])

    def in_front(self, word: str) -> bool:
        """Whether a word is the first tag of most captions that have it."""
        having = [tags for text in self.texts if word.lower() in (tags := compared_tags(text))]
        return bool(having) and sum(tags[0] == word.lower() for tags in having) * 2 > len(having)
