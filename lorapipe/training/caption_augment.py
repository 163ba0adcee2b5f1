"""What is said of a picture each time it is shown: its caption, shuffled, shortened or left out.

A function of (seed, epoch, picture, repeat) alone, so that a resumed training hears what an unbroken one would have heard.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from lorapipe.errors import Problem
from lorapipe.spec import Spec, Warmup, param
from lorapipe.training import seeds
from lorapipe.whole_words import has_words

if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

    from lorapipe.training.data.batches import Batch

T = TypeVar("T")
WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")
"""`{red|green|blue}`."""


@dataclass(frozen=True)
class Captioning(Spec):
    """How captions vary. By default they are said as they are, and encoded once.

    The order is that of kohya's sd-scripts (`train_util.py`, `process_caption`): prefix and suffix, dropout, wildcards,
    then the trigger words where they are missing, then the tags: some kept, the others shuffled, then dropped.
    """

    prefix: str = param(
        "", "put before every caption, as a trigger word; a space comes between", kohya=("caption_prefix",)
    )
    suffix: str = param("", "put after every caption; a space comes between", kohya=("caption_suffix",))
    trigger: str = param(
        "",
        "words that every caption must say, such as a trigger word: put before captions that lack them, with the separator "
        "between; never before those of regularisation pictures",
    )
    shuffle: bool = param(
        False,
        "shuffle the tags at every showing, so that their order is not learned; not for sentences",
        kohya=("shuffle_caption",),
    )
    keep_tokens: int = param(0, "tags at the beginning that stay where they are: 1 for a trigger word", ge=0, le=1000)
    keep_separator: str = param(
        "",
        "mark in captions (such as |||) before which tags stay in place, and again after a second one; it is not said. "
        "Captions without it keep keep_tokens tags",
        kohya=("keep_tokens_separator",),
    )
    separator: str = param(",", "what stands between tags", kohya=("caption_separator",))
    secondary_separator: str = param(
        "",
        "mark between tags (such as ;;;) that belong together: they are shuffled and dropped as one, and said with the "
        "separator between them",
    )
    token_warmup_step: Warmup = param(
        Warmup(0),
        "begin with few tags and add the others until then: 200, '10 %', '2 epochs'; for a trained text encoder, which must "
        "read captions as they come",
    )
    token_warmup_min: int = param(1, "tags (beside the kept ones) that the token warm-up begins with", ge=0, le=1000)
    tag_dropout: float = param(
        0.0,
        "chance of each tag that is not kept to be left out of a showing",
        ge=0,
        lt=1,
        kohya=("caption_tag_dropout_rate",),
    )
    dropout: float = param(
        0.0,
        "chance of the whole caption to be left out of a showing; 0.05 to 0.1 is usual",
        ge=0,
        le=1,
        kohya=("caption_dropout_rate",),
    )
    dropout_epochs: int = param(
        0,
        "leave all captions out in every n-th epoch: 10 is one in ten; 0 off",
        ge=0,
        kohya=("caption_dropout_every_n_epochs",),
    )
    wildcards: bool = param(
        False,
        "one of {red|green|blue} is said at each showing; they may stand in each other",
        kohya=("enable_wildcard",),
    )
    weighted: bool = param(
        False,
        "(tag:1.3), (tag) and [tag] weigh a tag as in A1111's prompts; otherwise they are spelled as they stand",
        kohya=("weighted_captions",),
    )
    variants: int = param(
        16,
        "with a frozen text encoder: how many variants of each caption are encoded and kept, of which each showing draws "
        "one. A trained text encoder reads a new one every time",
        ge=1,
        le=1000,
    )

    def problems(self) -> Iterator[Problem]:
        if self.keep_tokens and not (self.shuffle or self.tag_dropout or self.token_warmup_step.count):
            what = "keep_tokens keeps tags from being shuffled or dropped, and neither is asked for."
            yield Problem(what, cure="Write shuffle: true, or take it away.", path=("keep_tokens",))
        if self.token_warmup_min != 1 and not self.token_warmup_step.count:
            what = "there is no token warm-up that it could begin."
            yield Problem(what, cure="Give token_warmup_step.", path=("token_warmup_min",))
        if self.dropout_epochs == 1:
            what = "in every single epoch all captions would be left out."
            cure = "Write 2 or more; dropout: 1 if nothing is ever to be said."
            yield Problem(what, cure=cure, path=("dropout_epochs",))
        if not self.separator.strip():
            yield Problem("tags need something between them.", cure='A comma is usual: ",".', path=("separator",))

    def varies(self, caption: str) -> bool:
        """Whether a caption is said in more than one way, apart from being left out."""
        return bool(self.shuffle or self.tag_dropout or self.wildcards or "\n" in caption)

    def varied(self, caption: str, chance: random.Random, progress: float = 1.0) -> str:
        """One way of saying a caption, at this share of the token warm-up."""
        if "\n" in caption:
            caption = chance.choice(caption.split("\n"))
        text = " ".join(filter(None, (self.prefix, caption, self.suffix)))
        if self.wildcards:
            text = _chosen(text, chance)
        text = self._with_trigger(text)
        if self.shuffle or self.tag_dropout or self.keep_separator or self.token_warmup_step.count:
            text = self._rearranged(text, chance, progress)
        return text.replace(self.secondary_separator, self.separator) if self.secondary_separator else text

    def canonical(self, caption: str) -> str:
        """A caption for judging, the same every time: all its tags in their places, the first of lines and wildcards."""
        still = replace(self, shuffle=False, tag_dropout=0.0, token_warmup_step=Warmup(0))
        return still.varied(caption, _First())

    def _with_trigger(self, text: str) -> str:
        if not self.trigger or has_words(text, self.trigger):
            return text
        return f"{self.trigger}{self.separator} {text}" if text else self.trigger

    def _rearranged(self, text: str, chance: random.Random, progress: float) -> str:
        first, loose, last = self._parts(text)
        if progress < 1:
            loose = loose[: math.floor(progress * (len(loose) - self.token_warmup_min)) + self.token_warmup_min]
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


class _First(random.Random):
    """No chance at all."""

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[0]


def _chosen(text: str, chance: random.Random) -> str:
    """The text with one choice of each wildcard, from the inside out."""
    while (chosen := WILDCARD.sub(lambda found: chance.choice(found[1].split("|")), text)) != text:
        text = chosen
    return text


FROZEN_ENCODER = Problem(
    "with a frozen text encoder captions are encoded beforehand, in a fixed number of ways.",
    cure="Train the text encoder, take the token warm-up away, or use tag_dropout.",
)
"""Why there is no token warm-up without a text encoder that is trained."""


def problems_with_own_captions(captions: Captioning, own: Iterable[Captioning], trained: bool) -> Iterator[Problem]:
    """Caption augmentations of single datasets that do not fit the training's; `trained`: a text encoder is."""
    for captioning in own:
        if captioning.weighted != captions.weighted:
            what = "a dataset's captions are read with weights and the training's are not, or the other way round."
            yield Problem(what, cure="Write weighted: true in both, or in neither.", path=("captions", "weighted"))
        if captioning.token_warmup_step.count and not trained:
            yield replace(FROZEN_ENCODER, where="captions.token_warmup_step of a dataset")


def never(warmup: Warmup) -> float:
    """No token warm-up."""
    return 0.0


@dataclass(frozen=True)
class CaptionSampler:
    """Says the captions of batches. With `limited`, each in `variants` ways at most, which `all_variants` lists.

    `own` has what is said otherwise of some pictures, by their place among all that are shown. `batches` is how many a token
    warm-up lasts.
    """

    captioning: Captioning
    seed: int
    limited: bool
    batches: Callable[[Warmup], float] = never
    own: Mapping[int, Captioning] = field(default_factory=dict)

    def sample(self, batch: Batch) -> tuple[str, ...]:
        """What is said of each picture of a batch."""
        shown = zip(batch.captions, batch.indices, batch.repeats, strict=True)
        return tuple(self._said(batch, *showing) for showing in shown)

    def all_variants(self, captions: Sequence[str]) -> Sequence[str]:
        """Everything that may be said of pictures with these captions, each once."""
        written = dict.fromkeys((caption, self._how(index)) for index, caption in enumerate(captions))
        said = [self._variant(how, caption, way) for caption, how in written for way in range(_ways(how, caption))]
        silent = any(how.dropout or how.dropout_epochs for _, how in written)
        return [*dict.fromkeys(said), *([""] if silent else [])]

    def _how(self, index: int) -> Captioning:
        return self.own.get(index, self.captioning)

    def _said(self, batch: Batch, caption: str, index: int, repeat: int) -> str:
        how = self._how(index)
        chance = seeds.chance("caption", self.seed, batch.epoch, index, repeat)
        if how.dropout_epochs and (batch.epoch + 1) % how.dropout_epochs == 0:
            return ""
        if how.dropout and chance.random() < how.dropout:
            return ""
        if self.limited:
            ways = _ways(how, caption)
            return self._variant(how, caption, chance.randrange(ways) if ways > 1 else 0)
        warmup = self.batches(how.token_warmup_step)
        return how.varied(caption, chance, min(1.0, batch.index / warmup) if warmup else 1.0)

    def _variant(self, how: Captioning, caption: str, way: int) -> str:
        return how.varied(caption, seeds.chance("variant", self.seed, way, caption))


def _ways(how: Captioning, caption: str) -> int:
    return how.variants if how.varies(caption) else 1
