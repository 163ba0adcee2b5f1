"""Statistics of a dataset for kohya's metadata: tag frequencies and repeats by folder, kinds of augmentation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from lorapipe.training.data.manifest import Picture


def tags(pictures: Iterable[Picture]) -> dict[str, dict[str, int]]:
    """Return the number of pictures with each comma-separated tag, by folder, the most frequent first (ss_tag_frequency)."""
    counts: dict[str, Counter[str]] = {}
    for picture in pictures:
        found = dict.fromkeys(tag for part in re.split("[,\n]", picture.caption) if (tag := part.strip()))
        counts.setdefault(_folder(picture), Counter()).update(found.keys())
    return {
        folder: dict(sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))) for folder, count in counts.items()
    }


AUGMENTED: Mapping[str, Callable[[Picture], bool]] = {
    "flip": lambda picture: any(variant.flip for variant in picture.variants),
    "colour": lambda picture: any(variant.colour for variant in picture.variants),
    "crop": lambda picture: len({(variant.resized, variant.crop) for variant in picture.variants}) > 1,
    "mask": lambda picture: picture.mask is not None,
}
"""Kinds of augmentation, and whether a picture has them."""


def folders(pictures: Iterable[Picture]) -> dict[str, dict[str, int]]:
    """Return the repeats and number of pictures of each folder (ss_dataset_dirs)."""
    found: dict[str, dict[str, int]] = {}
    for picture in pictures:
        folder = found.setdefault(_folder(picture), {"n_repeats": picture.repeats, "img_count": 0})
        folder["img_count"] += 1
    return found


def _folder(picture: Picture) -> str:
    return PurePosixPath(picture.path).parent.name or "images"
