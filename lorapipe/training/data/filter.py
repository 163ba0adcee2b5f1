"""From looks at pictures to the manifest: what is left out or held out, and how the others are cut and captioned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import PurePosixPath

from lorapipe.kohya_folders import FolderName
from lorapipe.picture_files import LeftOut
from lorapipe.training.data.buckets import Buckets, Fit, Pair
from lorapipe.training.data.captions import Caption, CaptionFiles, folder_name
from lorapipe.training.data.duplicates import near_duplicates, unlike
from lorapipe.training.data.images import Colour
from lorapipe.training.data.manifest import Manifest, Picture, Variant
from lorapipe.training.data.scan import ImageInfo

MOST_LOOKS = 20_000
"""Pairs of pictures that are looked at closely, half a millisecond each; after that what may be two is two."""
ENOUGH_TO_HOLD_OUT = 10
"""With fewer pictures each is worth more in training than as a witness."""


@dataclass(frozen=True)
class Rules:
    """What decides over pictures; see the knobs of `prepare`."""

    buckets: Buckets
    min_size: int
    duplicate_tolerance: int
    held_out: float
    repeats: int
    class_word: str
    background: Colour


Closer = Callable[[ImageInfo], bytes]
"""What a closer look at a picture sees; see `duplicates.detail`."""


def select(
    looks: Sequence[ImageInfo | LeftOut], captions: CaptionFiles, rules: Rules, closer: Closer = lambda look: b""
) -> tuple[Manifest, list[str]]:
    """The manifest (without the latents' keys), and what is to be said of caption files, one line a file."""
    left_out = [look for look in looks if isinstance(look, LeftOut)]
    readable = [look for look in looks if isinstance(look, ImageInfo)]
    captioned = {look.path: captions.of(look.path, rules.class_word) for look in readable}
    fitting, unfit = _fitting(readable, rules)
    kept, repeated = _without_duplicates(fitting, captioned, rules.duplicate_tolerance, closer)
    held_out = _held_out(kept, rules.held_out)
    pictures = tuple(
        _picture(look, fitting[look], captioned[look.path], look.digest in held_out, rules) for look in kept
    )
    everything_else = tuple(sorted([*left_out, *unfit, *repeated], key=lambda file: file.path))
    manifest = Manifest(rules.buckets.resolution, rules.background, pictures, everything_else)
    return manifest, list(dict.fromkeys(captioned[p.path].complaint for p in pictures if captioned[p.path].complaint))


class Unusable(Exception):
    """This picture is readable and cannot be trained on, and why; `kind` is a word for counting."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def usable(size: Pair, named: FolderName | None, buckets: Buckets, least: int) -> Fit:
    """How a picture of this size comes to fill a bucket. Raises `Unusable`."""
    shown = "x".join(map(str, size))
    if named and named.repeats == 0:
        raise Unusable("no repeats", "its folder's name asks for 0 repeats")
    if min(size) < least:
        raise Unusable("tiny", f"{shown} pixels; min_size is {least}")
    if (fit := buckets.fit(size)) is None:
        raise Unusable("no bucket", f"{shown} pixels is too small or too thin for any bucket")
    return fit


def _fitting(looks: Iterable[ImageInfo], rules: Rules) -> tuple[dict[ImageInfo, Fit], list[LeftOut]]:
    fits: dict[ImageInfo, Fit] = {}
    unfit: list[LeftOut] = []
    for look in looks:
        try:
            fits[look] = usable(look.size, folder_name(PurePosixPath(look.path)), rules.buckets, rules.min_size)
        except Unusable as reason:
            unfit.append(LeftOut(look.path, reason.kind, str(reason)))
    return fits, unfit


def _without_duplicates(
    looks: Iterable[ImageInfo], captions: Mapping[str, Caption], tolerance: int, closer: Closer
) -> tuple[list[ImageInfo], list[LeftOut]]:
    """One of each, in the order of their paths: the copy with a caption file, else the better one, else the first.

    Better is the larger one, then one whose format loses nothing, then the larger file.
    """

    def worth(look: ImageInfo) -> tuple[bool, int, bool, int, str]:
        pixels = look.size[0] * look.size[1]
        return not captions[look.path].from_file, -pixels, not look.lossless, -look.length, look.path

    kept: dict[str, ImageInfo] = {}
    repeated: list[LeftOut] = []
    for look in sorted(looks, key=worth):
        if look.digest in kept:
            repeated.append(LeftOut(look.path, "duplicate", f"the same file as {kept[look.digest].path}"))
        else:
            kept[look.digest] = look
    ranked = list(kept.values())
    seen = lru_cache(maxsize=1000)(closer)
    looks_left = count(MOST_LOOKS, -1)

    def differ(first: int, second: int) -> bool:
        one, other = ranked[first], ranked[second]
        if _say_otherwise(captions[one.path], captions[other.path]):
            return True
        return next(looks_left) <= 0 or unlike(seen(one), seen(other))

    again = near_duplicates([look.signature for look in ranked], [look.size for look in ranked], tolerance, differ)
    for copy, original in again.items():
        repeated.append(LeftOut(ranked[copy].path, "duplicate", f"the same picture as {ranked[original].path}"))
    stay = [look for index, look in enumerate(ranked) if index not in again]
    return sorted(stay, key=lambda look: look.path), repeated


def _say_otherwise(one: Caption, other: Caption) -> bool:
    """Whether two captions of the same kind differ: whoever wrote them saw two pictures."""
    same_kind = one.from_file == other.from_file
    return same_kind and bool(one.text and other.text) and one.text.casefold().split() != other.text.casefold().split()


def _held_out(looks: Sequence[ImageInfo], share: float) -> set[str]:
    """The digests of the pictures to hold out: those with the smallest hash, so a choice by content, not by name.

    A picture that is added or removed changes the choice of one other at most for each.
    """
    count = held_out_count(len(looks), share)
    lots = sorted(looks, key=lambda look: hashlib.sha256(f"held out {look.digest}".encode()).digest())
    return {look.digest for look in lots[:count]}


def held_out_count(pictures: int, share: float) -> int:
    """How many of so many pictures are held out."""
    return max(1, round(share * pictures)) if pictures >= ENOUGH_TO_HOLD_OUT and share > 0 else 0


def _picture(look: ImageInfo, fit: Fit, caption: Caption, held_out: bool, rules: Rules) -> Picture:
    named = folder_name(PurePosixPath(look.path))
    return Picture(
        path=look.path,
        digest=look.digest,
        size=look.size,
        bucket=fit.bucket,
        resized=fit.resized,
        crop=fit.crop,
        repeats=named.repeats if named else rules.repeats,
        caption=caption.text,
        caption_from=caption.source,
        held_out=held_out,
    )


def with_latents(manifest: Manifest, key: Callable[[Picture, Variant], str]) -> Manifest:
    """The manifest with each picture's keys in the cache, for every way of showing it."""

    def keyed(picture: Picture) -> Picture:
        variants = tuple(replace(each, latents=key(picture, each)) for each in picture.variants)
        return replace(picture, latents=key(picture, picture.plain), variants=variants)

    return replace(manifest, pictures=tuple(map(keyed, manifest.pictures)))
