"""Put the trigger word first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.tags import Tags, joined, tag_key
from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.whole_words import has_words


@dataclass(frozen=True)
class AddTrigger(Edit):
    """Put the trigger word before every caption; where it is a later tag, it moves to the front.

    A sentence that has the word in it stays as it is.
    """

    trigger: str = param(help="the trigger word, such as penny")

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.trigger.strip() or "," in self.trigger or "\n" in self.trigger:
            yield Problem("is not one tag.", cure="Write a word without commas.", path=("trigger",))

    def edited(self, captions: Sequence[Tags]) -> Sequence[Tags]:
        return [self._with_trigger(tags) for tags in captions]

    def _with_trigger(self, tags: Tags) -> Tags:
        trigger = " ".join(self.trigger.split())
        others = tuple(tag for tag in tags if tag_key(tag) != tag_key(trigger))
        if len(others) == len(tags) and has_words(joined(tags), trigger):
            return tags
        return (trigger, *others)
