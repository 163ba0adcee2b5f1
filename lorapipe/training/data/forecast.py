"""Forecast of a dataset's size from the headers of its files, for `plan`, before anything is prepared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lorapipe.picture_files import Contents, LeftOut
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.buckets import Buckets, Fit, Pair
from lorapipe.training.data.captions import folder_name
from lorapipe.training.data.filter import Unusable, held_out_count, usable
from lorapipe.training.data.image_reader import Unreadable, quiet
from lorapipe.training.data.images import header_size
from lorapipe.training.data.manifest import Manifest

LATENT_NUMBER = 4
"""Bytes of a cached latent's number: float32."""


@dataclass(frozen=True)
class Forecast:
    """Number of pictures to train on and of held-out ones, and samples of an epoch by bucket.

    `cache` is the size of the latents' cache in bytes; `known` says that the numbers are exact, `left_out` lists the
    pictures that cannot be used, judging by their headers. `sizes` are the pictures' own, (width, height) in pixels; empty
    for a dataset that exists.
    """

    training: int
    held_out: int
    showings: Mapping[Pair, int] = field(default_factory=dict)
    cache: float = 0.0
    known: bool = False
    left_out: tuple[LeftOut, ...] = ()
    sizes: tuple[Pair, ...] = ()

    @property
    def per_epoch(self) -> int:
        """Samples of an epoch, repeats counted."""
        return sum(self.showings.values())

    @property
    def largest(self) -> int:
        """Number of pixels of the largest bucket."""
        return max((width * height for width, height in self.showings), default=0)


def of_manifest(manifest: Manifest) -> Forecast:
    """Return the exact numbers of a prepared dataset."""
    showings: Counter[Pair] = Counter()
    for picture in manifest.training:
        showings[picture.bucket] += picture.repeats
    return Forecast(len(manifest.training), len(manifest.held_out), dict(sorted(showings.items())), known=True)


def of_folder(
    images: Path,
    contents: Contents,
    buckets: Buckets,
    least: int,
    repeats: int,
    share_held_out: float,
    augment: Augmentation,
    numbers: float = 4 / 64,
) -> Forecast:
    """Return the forecast of a folder. `numbers` is the size of the latents per pixel: 4 channels for 8×8 pixels in SD.

    Duplicates and damage after the headers are not seen, so the counts are approximate upper bounds.
    """
    found: list[tuple[Pair, int]] = []
    sizes: list[Pair] = []
    left_out: list[LeftOut] = []
    with quiet():
        for path in contents.pictures:
            try:
                size = header_size(images / path)
                fit, times = _fit(path, size, buckets, least, repeats)
                found.append((fit.bucket, times))
                sizes.append(size)
            except Unusable as reason:
                left_out.append(LeftOut(path, reason.kind, str(reason)))
            except Unreadable as reason:
                left_out.append(LeftOut(path, "unreadable", str(reason)))
    held_out = held_out_count(len(found), share_held_out)
    showings: Counter[Pair] = Counter()
    for bucket, times in found[held_out:]:
        showings[bucket] += times
    pixels = [width * height for (width, height), _ in found]
    cache = LATENT_NUMBER * numbers * (sum(pixels[:held_out]) + augment.ways * sum(pixels[held_out:]))
    counted = dict(sorted(showings.items()))
    return Forecast(len(found) - held_out, held_out, counted, cache, left_out=tuple(left_out), sizes=tuple(sizes))


def _fit(path: str, size: Pair, buckets: Buckets, least: int, repeats: int) -> tuple[Fit, int]:
    named = folder_name(PurePosixPath(path))
    fit = usable(size, named, buckets, least)
    return fit, named.repeats if named else repeats
