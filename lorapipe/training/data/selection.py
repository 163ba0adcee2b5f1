"""From looks at pictures to the manifest: what is left out or held out, and how the others are cut and captioned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lorapipe.training.data.buckets import Buckets, Fit
from lorapipe.training.data.captions import Caption, CaptionFiles, folder_name
from lorapipe.training.data.duplicates import near_duplicates
from lorapipe.training.data.manifest import LeftOut, Manifest, Picture, Variant
from lorapipe.training.data.pictures import Colour
from lorapipe.training.data.scan import Look

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


def select(looks: Sequence[Look | LeftOut], captions: CaptionFiles, rules: Rules) -> tuple[Manifest, list[str]]:
    """The manifest (without the latents' keys), and what is to be said of caption files, one line a file."""
    left_out = [look for look in looks if isinstance(look, LeftOut)]
    readable = [look for look in looks if isinstance(look, Look)]
    captioned = {look.path: captions.of(PurePosixPath(look.path), rules.class_word) for look in readable}
    fitting, unfit = _fitting(readable, rules)
    kept, repeated = _without_duplicates(fitting, captioned, rules.duplicate_tolerance)
    held_out = _held_out(kept, rules.held_out)
    pictures = tuple(
        _picture(look, fitting[look], captioned[look.path], look.digest in held_out, rules) for look in kept
    )
    everything_else = tuple(sorted([*left_out, *unfit, *repeated], key=lambda file: file.path))
    manifest = Manifest(rules.buckets.resolution, rules.background, pictures, everything_else)
    return manifest, [f"{p.path}: {captioned[p.path].complaint}" for p in pictures if captioned[p.path].complaint]


def _fitting(looks: Iterable[Look], rules: Rules) -> tuple[dict[Look, Fit], list[LeftOut]]:
    fits: dict[Look, Fit] = {}
    unfit: list[LeftOut] = []
    for look in looks:
        named = folder_name(PurePosixPath(look.path))
        size = "x".join(map(str, look.size))
        if named and named.repeats == 0:
            unfit.append(LeftOut(look.path, "no repeats", "its folder's name asks for 0 repeats"))
        elif min(look.size) < rules.min_size:
            unfit.append(LeftOut(look.path, "tiny", f"{size} pixels; min_size is {rules.min_size}"))
        elif (fit := rules.buckets.fit(look.size)) is None:
            unfit.append(LeftOut(look.path, "no bucket", f"{size} pixels is too small or too thin for any bucket"))
        else:
            fits[look] = fit
    return fits, unfit


def _without_duplicates(
    looks: Iterable[Look], captions: Mapping[str, Caption], tolerance: int
) -> tuple[list[Look], list[LeftOut]]:
    """One of each, in the order of their paths: the copy with a caption file, else the largest, else the first."""

    def worth(look: Look) -> tuple[bool, int, str]:
        has_file = captions[look.path].source not in ("folder", "class_word", "none")
        return not has_file, -look.size[0] * look.size[1], look.path

    kept: dict[str, Look] = {}
    repeated: list[LeftOut] = []
    for look in sorted(looks, key=worth):
        if look.digest in kept:
            repeated.append(LeftOut(look.path, "duplicate", f"the same file as {kept[look.digest].path}"))
        else:
            kept[look.digest] = look
    ranked = list(kept.values())
    again = near_duplicates([look.signature for look in ranked], [look.size for look in ranked], tolerance)
    for copy, original in again.items():
        repeated.append(LeftOut(ranked[copy].path, "duplicate", f"the same picture as {ranked[original].path}"))
    stay = [look for index, look in enumerate(ranked) if index not in again]
    return sorted(stay, key=lambda look: look.path), repeated


def _held_out(looks: Sequence[Look], share: float) -> set[str]:
    """The digests of the pictures to hold out: those with the smallest hash, so a choice by content, not by name.

    A picture that is added or removed changes the choice of one other at most for each.
    """
    count = held_out_count(len(looks), share)
    lots = sorted(looks, key=lambda look: hashlib.sha256(f"held out {look.digest}".encode()).digest())
    return {look.digest for look in lots[:count]}


def held_out_count(pictures: int, share: float) -> int:
    """How many of so many pictures are held out."""
    return max(1, round(share * pictures)) if pictures >= ENOUGH_TO_HOLD_OUT and share > 0 else 0


def _picture(look: Look, fit: Fit, caption: Caption, held_out: bool, rules: Rules) -> Picture:
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
