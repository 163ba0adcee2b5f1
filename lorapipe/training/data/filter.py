"""Select the pictures of a dataset: which are left out or held out, and the bucket and caption of the others."""

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
from lorapipe.training.data.captions import Caption, folder_name
from lorapipe.training.data.duplicates import near_duplicates, unlike
from lorapipe.training.data.images import Colour
from lorapipe.training.data.manifest import Manifest, Picture, Variant
from lorapipe.training.data.scan import ImageInfo

MOST_COMPARISONS = 20_000
"""Most pairs that are compared in detail, at half a millisecond each; further candidates count as different."""
ENOUGH_TO_HOLD_OUT = 10
"""With fewer pictures none is held out: training needs them all."""


@dataclass(frozen=True)
class Rules:
    """The rules by which pictures are selected; see the knobs of `prepare`."""

    buckets: Buckets
    min_size: int
    duplicate_tolerance: int
    held_out: float
    repeats: int
    class_word: str
    background: Colour


Closer = Callable[[ImageInfo], bytes]
"""Returns `duplicates.detail` of a picture."""


def select(
    found: Sequence[ImageInfo | LeftOut],
    captioned: Mapping[str, Caption],
    rules: Rules,
    closer: Closer = lambda info: b"",
) -> tuple[Manifest, list[str]]:
    """Return the manifest (without keys of latents), and messages about caption files, one line each.

    `captioned` has the caption of every readable picture.
    """
    left_out = [each for each in found if isinstance(each, LeftOut)]
    readable = [each for each in found if isinstance(each, ImageInfo)]
    fitting, unfit = _fitting(readable, rules)
    kept, repeated = _without_duplicates(fitting, captioned, rules.duplicate_tolerance, closer)
    held_out = _held_out(kept, rules.held_out)
    pictures = tuple(
        _picture(info, fitting[info], captioned[info.path], info.digest in held_out, rules) for info in kept
    )
    everything_else = tuple(sorted([*left_out, *unfit, *repeated], key=lambda file: file.path))
    manifest = Manifest(rules.buckets.resolution, rules.background, pictures, everything_else)
    return manifest, list(dict.fromkeys(captioned[p.path].complaint for p in pictures if captioned[p.path].complaint))


class Unusable(Exception):
    """A readable picture cannot be trained on, and why; `kind` groups such pictures in messages."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def usable(size: Pair, named: FolderName | None, buckets: Buckets, least: int) -> Fit:
    """Return how a picture of this size fills its bucket. Raises `Unusable`."""
    shown = "x".join(map(str, size))
    if named and named.repeats == 0:
        raise Unusable("no repeats", "its folder's name asks for 0 repeats")
    if min(size) < least:
        raise Unusable("tiny", f"{shown} pixels; min_size is {least}")
    if (fit := buckets.fit(size)) is None:
        raise Unusable("no bucket", f"{shown} pixels is too small or too thin for any bucket")
    return fit


def _fitting(infos: Iterable[ImageInfo], rules: Rules) -> tuple[dict[ImageInfo, Fit], list[LeftOut]]:
    fits: dict[ImageInfo, Fit] = {}
    unfit: list[LeftOut] = []
    for info in infos:
        try:
            fits[info] = usable(info.size, folder_name(PurePosixPath(info.path)), rules.buckets, rules.min_size)
        except Unusable as reason:
            unfit.append(LeftOut(info.path, reason.kind, str(reason)))
    return fits, unfit


def _without_duplicates(
    infos: Iterable[ImageInfo], captions: Mapping[str, Caption], tolerance: int, closer: Closer
) -> tuple[list[ImageInfo], list[LeftOut]]:
    """Return one picture of each group of duplicates, sorted by path, and the others.

    Kept is, in this order of criteria: one with a caption file, the larger picture, a lossless format, the larger file,
    the first path.
    """

    def rank(info: ImageInfo) -> tuple[bool, int, bool, int, str]:
        pixels = info.size[0] * info.size[1]
        return not captions[info.path].from_file, -pixels, not info.lossless, -info.length, info.path

    kept: dict[str, ImageInfo] = {}
    repeated: list[LeftOut] = []
    for info in sorted(infos, key=rank):
        if info.digest in kept:
            repeated.append(LeftOut(info.path, "duplicate", f"the same file as {kept[info.digest].path}"))
        else:
            kept[info.digest] = info
    ranked = list(kept.values())
    detail = lru_cache(maxsize=1000)(closer)
    comparisons_left = count(MOST_COMPARISONS, -1)

    def differ(first: int, second: int) -> bool:
        one, other = ranked[first], ranked[second]
        if _captions_differ(captions[one.path], captions[other.path]):
            return True
        return next(comparisons_left) <= 0 or unlike(detail(one), detail(other))

    copies = near_duplicates([info.signature for info in ranked], [info.size for info in ranked], tolerance, differ)
    for copy, original in copies.items():
        repeated.append(LeftOut(ranked[copy].path, "duplicate", f"the same picture as {ranked[original].path}"))
    unique = [info for index, info in enumerate(ranked) if index not in copies]
    return sorted(unique, key=lambda info: info.path), repeated


def _captions_differ(one: Caption, other: Caption) -> bool:
    """Return whether two captions from the same kind of source differ: their author saw two different pictures."""
    same_kind = one.from_file == other.from_file
    return same_kind and bool(one.text and other.text) and one.text.casefold().split() != other.text.casefold().split()


def _held_out(infos: Sequence[ImageInfo], share: float) -> set[str]:
    """Return the digests of the pictures to hold out: those with the smallest hash, so by content, not by name.

    Each picture that is added or removed changes the choice of at most one other.
    """
    count = held_out_count(len(infos), share)
    ordered = sorted(infos, key=lambda info: hashlib.sha256(f"held out {info.digest}".encode()).digest())
    return {info.digest for info in ordered[:count]}


def held_out_count(pictures: int, share: float) -> int:
    """Return how many of this number of pictures are held out."""
    return max(1, round(share * pictures)) if pictures >= ENOUGH_TO_HOLD_OUT and share > 0 else 0


def _picture(info: ImageInfo, fit: Fit, caption: Caption, held_out: bool, rules: Rules) -> Picture:
    named = folder_name(PurePosixPath(info.path))
    return Picture(
        path=info.path,
        digest=info.digest,
        size=info.size,
        bucket=fit.bucket,
        resized=fit.resized,
        crop=fit.crop,
        repeats=named.repeats if named else rules.repeats,
        caption=caption.text,
        caption_from=caption.source,
        held_out=held_out,
    )


def with_latents(manifest: Manifest, key: Callable[[Picture, Variant], str]) -> Manifest:
    """Return the manifest with the cache keys of all pictures and variants filled in."""

    def keyed(picture: Picture) -> Picture:
        variants = tuple(replace(each, latents=key(picture, each)) for each in picture.variants)
        return replace(picture, latents=key(picture, picture.plain), variants=variants)

    return replace(manifest, pictures=tuple(map(keyed, manifest.pictures)))
