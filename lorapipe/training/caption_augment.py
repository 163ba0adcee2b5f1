"""Caption augmentation: tags shuffled or dropped, captions dropped, wildcards, prefix and suffix.

The result is a function of (seed, epoch, picture, repeat) alone, so a resumed training sees the same captions as an
uninterrupted one.
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
"""Matches an innermost `{red|green|blue}`."""


@dataclass(frozen=True)
class Captioning(Spec):
    """How captions are augmented. By default they are used unchanged, and encoded once.

    The order is that of kohya's sd-scripts (`train_util.py`, `process_caption`): prefix and suffix, dropout, wildcards,
    then trigger words that are missing, then the tags: some stay in place, the others are shuffled, then dropped.
    """

    prefix: str = param(
        "", "text before every caption, such as a trigger word, separated by a space", kohya=("caption_prefix",)
    )
    suffix: str = param("", "text after every caption, separated by a space", kohya=("caption_suffix",))
    trigger: str = param(
        "",
        "words that every caption must contain, such as a trigger word: added, with the separator, before captions that "
        "lack them, except those of regularisation pictures",
    )
    shuffle: bool = param(
        False,
        "shuffle the tags each time a picture is used, so that their order is not learned; not for sentences",
        kohya=("shuffle_caption",),
    )
    keep_tokens: int = param(
        0, "number of tags at the beginning that stay in place: 1 for a trigger word", ge=0, le=1000
    )
    keep_separator: str = param(
        "",
        "mark in captions (such as |||): tags before it, and after a second one, stay in place; the mark itself is removed. "
        "In captions without it, the first keep_tokens tags stay",
        kohya=("keep_tokens_separator",),
        rare=True,
    )
    separator: str = param(",", "text between tags", kohya=("caption_separator",), rare=True)
    secondary_separator: str = param(
        "",
        "mark between tags that belong together (such as ;;;): they are shuffled and dropped as one, and the mark is "
        "replaced by the separator",
        rare=True,
    )
    token_warmup_step: Warmup = param(
        Warmup(0),
        "begin with few tags and add the others over this time: 200, '10 %', '2 epochs'; for a trained text encoder",
        rare=True,
    )
    token_warmup_min: int = param(
        1,
        "number of tags, besides those that stay in place, with which the token warm-up begins",
        ge=0,
        le=1000,
        rare=True,
    )
    tag_dropout: float = param(
        0.0,
        "probability that a tag is left out each time, except tags that stay in place",
        ge=0,
        lt=1,
        kohya=("caption_tag_dropout_rate",),
    )
    dropout: float = param(
        0.0,
        "probability that the whole caption is left out each time; 0.05 to 0.1 is usual",
        ge=0,
        le=1,
        kohya=("caption_dropout_rate",),
    )
    dropout_epochs: int = param(
        0,
        "leave out all captions in every n-th epoch: 10 means one epoch in ten; 0 off",
        ge=0,
        kohya=("caption_dropout_every_n_epochs",),
        rare=True,
    )
    wildcards: bool = param(
        False,
        "replace {red|green|blue} by one of its choices each time; they may be nested",
        kohya=("enable_wildcard",),
    )
    weighted: bool = param(
        False,
        "(tag:1.3), (tag) and [tag] weight a tag as in A1111's prompts; otherwise brackets are read as text",
        kohya=("weighted_captions",),
        rare=True,
    )
    variants: int = param(
        16,
        "with a frozen text encoder: number of variants of each caption that are encoded and cached; one of them is drawn "
        "each time. A trained text encoder gets a new variant every time",
        ge=1,
        le=1000,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        if self.keep_tokens and not (self.shuffle or self.tag_dropout or self.token_warmup_step.count):
            what = "keep_tokens has no effect: tags are neither shuffled nor dropped."
            yield Problem(what, cure="Set shuffle: true, or remove keep_tokens.", path=("keep_tokens",))
        if self.token_warmup_min != 1 and not self.token_warmup_step.count:
            what = "has no effect without a token warm-up."
            yield Problem(what, cure="Set token_warmup_step.", path=("token_warmup_min",))
        if self.dropout_epochs == 1:
            what = "leaves out all captions in every epoch."
            cure = "Set 2 or more; to train without captions, set dropout: 1."
            yield Problem(what, cure=cure, path=("dropout_epochs",))
        if not self.separator.strip():
            yield Problem("is empty: tags need a separator.", cure='A comma is usual: ",".', path=("separator",))

    def varies(self, caption: str) -> bool:
        """Return whether a caption has more than one variant, apart from being left out."""
        return bool(self.shuffle or self.tag_dropout or self.wildcards or "\n" in caption)

    def varied(self, caption: str, chance: random.Random, progress: float = 1.0) -> str:
        """Return a random variant of a caption; `progress`, 0 … 1, is the share of the token warm-up that is over."""
        if "\n" in caption:
            caption = chance.choice(caption.split("\n"))
        text = " ".join(filter(None, (self.prefix, caption, self.suffix)))
        if self.wildcards:
            text = _fill_wildcards(text, chance)
        text = self._with_trigger(text)
        if self.shuffle or self.tag_dropout or self.keep_separator or self.token_warmup_step.count:
            text = self._rearranged(text, chance, progress)
        return text.replace(self.secondary_separator, self.separator) if self.secondary_separator else text

    def canonical(self, caption: str) -> str:
        """Return the caption for evaluation, always the same: all tags in order, the first line and wildcard choices."""
        fixed = replace(self, shuffle=False, tag_dropout=0.0, token_warmup_step=Warmup(0))
        return fixed.varied(caption, _First())

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
        """Return the tags that stay at the beginning, those that may move, and those that stay at the end."""
        if self.keep_separator and self.keep_separator in text:
            first, _, rest = text.partition(self.keep_separator)
            loose, _, last = rest.partition(self.keep_separator)
            return self._tags(first), self._tags(loose), self._tags(last)
        tags = self._tags(text)
        return tags[: self.keep_tokens], tags[self.keep_tokens :], []

    def _tags(self, text: str) -> list[str]:
        return [tag.strip() for tag in text.split(self.separator) if tag.strip()]


class _First(random.Random):
    """Always chooses the first item."""

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[0]


def _fill_wildcards(text: str, chance: random.Random) -> str:
    """Replace each wildcard by one of its choices, from the inside out."""
    while (filled := WILDCARD.sub(lambda found: chance.choice(found[1].split("|")), text)) != text:
        text = filled
    return text


FROZEN_ENCODER = Problem(
    "with a frozen text encoder a fixed number of variants of each caption is encoded before training.",
    cure="Train the text encoder, remove the token warm-up, or use tag_dropout.",
)
"""Why a token warm-up needs a trained text encoder."""


def problems_with_own_captions(captions: Captioning, own: Iterable[Captioning], trained: bool) -> Iterator[Problem]:
    """Yield why caption augmentations of single datasets do not fit the training's.

    `trained`: a text encoder is trained.
    """
    for captioning in own:
        if captioning.weighted != captions.weighted:
            what = "captions must be weighted in a dataset and in the training, or in neither."
            yield Problem(what, cure="Set weighted: true in both, or in neither.", path=("captions", "weighted"))
        if captioning.token_warmup_step.count and not trained:
            yield replace(FROZEN_ENCODER, where="captions.token_warmup_step of a dataset")


def never(warmup: Warmup) -> float:
    """Return 0 batches: no token warm-up."""
    return 0.0


@dataclass(frozen=True)
class CaptionSampler:
    """Samples the captions of batches. If `limited`, at most `variants` of each, which `all_variants` lists.

    `own` maps indices of pictures to the caption augmentation of their dataset. `batches` returns the length of a token
    warm-up in batches.
    """

    captioning: Captioning
    seed: int
    limited: bool
    batches: Callable[[Warmup], float] = never
    own: Mapping[int, Captioning] = field(default_factory=dict)

    def sample(self, batch: Batch) -> tuple[str, ...]:
        """Return the augmented caption of each picture of a batch."""
        samples = zip(batch.captions, batch.indices, batch.repeats, strict=True)
        return tuple(self._augmented(batch, *sample) for sample in samples)

    def all_variants(self, captions: Sequence[str]) -> Sequence[str]:
        """Return all captions that `sample` may return for pictures with these captions, without repetitions."""
        pairs = dict.fromkeys((caption, self._captioning(index)) for index, caption in enumerate(captions))
        variants = [self._variant(how, caption, n) for caption, how in pairs for n in range(_variants_of(how, caption))]
        has_empty = any(how.dropout or how.dropout_epochs for _, how in pairs)
        return [*dict.fromkeys(variants), *([""] if has_empty else [])]

    def _captioning(self, index: int) -> Captioning:
        return self.own.get(index, self.captioning)

    def _augmented(self, batch: Batch, caption: str, index: int, repeat: int) -> str:
        how = self._captioning(index)
        chance = seeds.chance("caption", self.seed, batch.epoch, index, repeat)
        if how.dropout_epochs and (batch.epoch + 1) % how.dropout_epochs == 0:
            return ""
        if how.dropout and chance.random() < how.dropout:
            return ""
        if self.limited:
            count = _variants_of(how, caption)
            return self._variant(how, caption, chance.randrange(count) if count > 1 else 0)
        warmup = self.batches(how.token_warmup_step)
        return how.varied(caption, chance, min(1.0, batch.index / warmup) if warmup else 1.0)

    def _variant(self, how: Captioning, caption: str, number: int) -> str:
        return how.varied(caption, seeds.chance("variant", self.seed, number, caption))


def _variants_of(how: Captioning, caption: str) -> int:
    return how.variants if how.varies(caption) else 1
