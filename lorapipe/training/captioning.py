"""What is said of a picture each time it is shown: its caption, shuffled, shortened or left out.

A function of (seed, epoch, picture, repeat) alone, so that a resumed training hears what an unbroken one would have heard.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.spec import Spec, param

if TYPE_CHECKING:
    from lorapipe.training.data.batches import Batch

WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")
"""`{red|green|blue}`."""


@dataclass(frozen=True)
class Captioning(Spec):
    """How captions vary. By default they are said as they are, and encoded once.

    The order is that of kohya's sd-scripts (`train_util.py`, `process_caption`): prefix and suffix, dropout, wildcards,
    then the tags: some kept, the others shuffled, then dropped.
    """

    prefix: str = param("", "put before every caption, as a trigger word; a space comes between")
    suffix: str = param("", "put after every caption; a space comes between")
    shuffle: bool = param(
        False,
        "shuffle the tags at every showing (shuffle_caption), so that their order is not learned; not for sentences",
    )
    keep_tokens: int = param(0, "tags at the beginning that stay where they are: 1 for a trigger word", ge=0, le=1000)
    keep_separator: str = param(
        "",
        "mark in captions (such as |||) before which tags stay in place, and again after a second one; it is not said",
    )
    separator: str = param(",", "what stands between tags")
    tag_dropout: float = param(0.0, "chance of each tag that is not kept to be left out of a showing", ge=0, lt=1)
    dropout: float = param(
        0.0,
        "chance of the whole caption to be left out of a showing; 0.05 to 0.1 is usual",
        ge=0,
        le=1,
    )
    wildcards: bool = param(False, "one of {red|green|blue} is said at each showing")
    variants: int = param(
        16,
        "with a frozen text encoder: how many variants of each caption are encoded and kept, of which each showing draws "
        "one. A trained text encoder reads a new one every time",
        ge=1,
        le=1000,
    )

    def problems(self) -> Iterator[Problem]:
        """See `Spec.problems`."""
        if self.keep_tokens and self.keep_separator:
            what = "keep_tokens counts the tags to keep, keep_separator marks them: only one of them can hold."
            yield Problem(what, cure="Take one of them away.", path=("keep_tokens",))
        if (self.keep_tokens or self.keep_separator) and not (self.shuffle or self.tag_dropout):
            name = "keep_tokens" if self.keep_tokens else "keep_separator"
            what = f"{name} keeps tags from being shuffled or dropped, and neither is asked for."
            yield Problem(what, cure="Write shuffle: true, or take it away.", path=(name,))
        if not self.separator.strip():
            yield Problem("tags need something between them.", cure='A comma is usual: ",".', path=("separator",))

    @property
    def varies(self) -> bool:
        """Whether a caption is said in more than one way, apart from being left out."""
        return bool(self.shuffle or self.tag_dropout or self.wildcards)

    def said(self, caption: str, chance: random.Random) -> str:
        """One way of saying a caption."""
        text = " ".join(filter(None, (self.prefix, caption, self.suffix)))
        if self.wildcards:
            text = WILDCARD.sub(lambda found: chance.choice(found[1].split("|")), text)
        if not (self.shuffle or self.tag_dropout or self.keep_separator):
            return text
        first, loose, last = self._parts(text)
        if self.shuffle:
            chance.shuffle(loose)
        loose = [tag for tag in loose if not self.tag_dropout or chance.random() >= self.tag_dropout]
        return ", ".join([*first, *loose, *last])

    def _parts(self, text: str) -> tuple[list[str], list[str], list[str]]:
        """The tags that stay at the beginning, those that may move, and those that stay at the end."""
        if self.keep_separator and self.keep_separator in text:
            first, _, rest = text.partition(self.keep_separator)
            loose, _, last = rest.partition(self.keep_separator)
            return self._tags(first), self._tags(loose), self._tags(last)
        tags = self._tags(text)
        return tags[: self.keep_tokens], tags[self.keep_tokens :], []

    def _tags(self, text: str) -> list[str]:
        return [tag.strip() for tag in text.split(self.separator) if tag.strip()]


@dataclass(frozen=True)
class Speaker:
    """Says the captions of batches. With `limited`, each in `variants` ways at most, which `all` lists."""

    captioning: Captioning
    seed: int
    limited: bool

    def said(self, batch: Batch) -> tuple[str, ...]:
        """What is said of each picture of a batch."""
        shown = zip(batch.captions, batch.indices, batch.repeats, strict=True)
        return tuple(self._said(caption, f"{batch.epoch} {index} {repeat}") for caption, index, repeat in shown)

    def all(self, captions: Iterable[str]) -> Sequence[str]:
        """Everything that may be said, each once."""
        ways = range(self.captioning.variants if self.captioning.varies else 1)
        found = dict.fromkeys(self._variant(caption, way) for caption in captions for way in ways)
        return [*found, *([""] if self.captioning.dropout else [])]

    def _said(self, caption: str, showing: str) -> str:
        chance = random.Random(f"caption {self.seed} {showing}")
        if self.captioning.dropout and chance.random() < self.captioning.dropout:
            return ""
        if self.limited:
            return self._variant(caption, chance.randrange(self.captioning.variants) if self.captioning.varies else 0)
        return self.captioning.said(caption, chance)

    def _variant(self, caption: str, way: int) -> str:
        return self.captioning.said(caption, random.Random(f"variant {self.seed} {way} {caption}"))
