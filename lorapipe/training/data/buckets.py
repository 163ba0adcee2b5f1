"""Aspect-ratio buckets: the size at which each picture is trained, and its crop.

All pictures of a batch have one size, so pictures are sorted into buckets of about equal area and different aspect ratios,
scaled to cover their bucket, and cropped at the centre. The arithmetic is that of kohya's sd-scripts
(`library/model_util.py` `make_bucket_resolutions`, `library/train_util.py` `BucketManager`), so the same folder gives the
same buckets in both. Sizes are (width, height) in pixels throughout.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lorapipe.errors import Problem
from lorapipe.spec import Value

Pair = tuple[int, int]


@dataclass(frozen=True)
class Resolution(Value):
    """A training resolution: `512` for a square, or `512x768` or `[512, 768]`, width first."""

    width: int
    height: int

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        if isinstance(value, int) and not isinstance(value, bool):
            width = height = value
        elif isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value):
            width, height = value
        elif isinstance(value, str) and (
            match := re.fullmatch(r"([0-9]{1,6})(?:\s*[x×,]\s*([0-9]{1,6}))?", value.strip())
        ):
            width, height = int(match[1]), int(match[2] or match[1])
        else:
            raise ValueError(f"{value!r} is not a resolution; write 512, or 512x768 (width x height).")
        if not 16 <= min(width, height) <= max(width, height) <= 8192:
            raise ValueError(f"{width}x{height}: a side must be 16 to 8192 pixels.")
        return cls(width, height)

    def plain(self) -> int | str:
        return self.width if self.width == self.height else f"{self.width}x{self.height}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^\s*[0-9]+(\s*[x×,]\s*[0-9]+)?\s*$"}
        side = {"type": "integer", "minimum": 16, "maximum": 8192}
        return {"anyOf": [side, text, {"type": "array", "items": side, "minItems": 2, "maxItems": 2}]}

    @property
    def size(self) -> Pair:
        """(width, height)."""
        return self.width, self.height


@dataclass(frozen=True)
class Fit:
    """How a picture fills its bucket: scale it to `resized`, then crop a part of size `bucket` at the offset `crop`."""

    bucket: Pair
    resized: Pair
    crop: Pair

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The crop in the resized picture: left, top, right, bottom."""
        (left, top), (width, height) = self.crop, self.bucket
        return left, top, left + width, top + height


@dataclass(frozen=True)
class Buckets:
    """The rule that assigns pictures to buckets.

    If not `enabled`, the resolution is the only bucket. A bucket's sides are multiples of `step` between `smallest` and
    `largest`. With `no_upscale` there is no table of buckets: a picture keeps its size, unless its area exceeds the
    resolution's, and is cropped to multiples of `step`; `smallest` and `largest` are then ignored.
    """

    resolution: Pair
    smallest: int
    largest: int
    step: int
    enabled: bool = True
    no_upscale: bool = False

    def problems(self) -> list[Problem]:
        """Return why these settings give no buckets; paths are the knobs of `prepare`, named as in kohya's scripts."""
        found = []
        if min(self.resolution) < self.step:
            cure = f"Buckets are multiples of {self.step}: that is the least."
            found.append(Problem(f"{min(self.resolution)} is too small.", cure=cure, path=("resolution",)))
        if self.enabled and not self.no_upscale and self._floor(self.smallest) > min(self.resolution):
            cure = f"It must be at most the resolution's shorter side, {min(self.resolution)}."
            found.append(Problem(f"{self.smallest} is above the resolution.", cure=cure, path=("min_bucket_reso",)))
        if self.enabled and not self.no_upscale and self._ceil(self.largest) < max(self.resolution):
            cure = f"It must be at least the resolution's longer side, {max(self.resolution)}."
            found.append(Problem(f"{self.largest} is below the resolution.", cure=cure, path=("max_bucket_reso",)))
        if not self.enabled and any(side % self.step for side in self.resolution):
            cure = f"Without buckets both sides must be multiples of {self.step}."
            found.append(Problem("pictures of this size do not fit the base.", cure=cure, path=("resolution",)))
        return found

    @cached_property
    def table(self) -> tuple[Pair, ...]:
        """The predefined buckets, sorted: for every width the tallest height whose area is within the resolution's."""
        if not self.enabled:
            return (self.resolution,)
        area = self.resolution[0] * self.resolution[1]
        low, high = max(self.step, self._floor(self.smallest)), self._ceil(self.largest)
        side = self._floor(int(math.sqrt(area)))
        found = {(side, side)}
        for width in range(low, high + 1, self.step):
            height = min(high, self._floor(area // width))
            if height >= low:
                found |= {(width, height), (height, width)}
        return tuple(sorted(found))

    def fit(self, size: Pair) -> Fit | None:
        """Return how an upright picture of this size fills its bucket; None if it is too small or thin for any."""
        only_shrink = self.enabled and self.no_upscale
        resized, bucket = self._shrunk_to_area(size) if only_shrink else self._covering(size)
        if min(bucket) < self.step:
            return None
        return Fit(bucket, resized, ((resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2))

    def _covering(self, size: Pair) -> tuple[Pair, Pair]:
        """Return (resized, bucket) with upscaling: the bucket nearest in width / height (not its log); ties: the first."""
        width, height = size
        ratio = width / height
        bucket = size if size in self.table else min(self.table, key=lambda b: abs(b[0] / b[1] - ratio))
        scale = bucket[1] / height if ratio > bucket[0] / bucket[1] else bucket[0] / width
        return (int(width * scale + 0.5), int(height * scale + 0.5)), bucket

    def _shrunk_to_area(self, size: Pair) -> tuple[Pair, Pair]:
        """Return (resized, bucket) without upscaling."""
        area = self.resolution[0] * self.resolution[1]
        resized = self._shrunk(size[0] / size[1], area) if size[0] * size[1] > area else size
        return resized, (self._floor(resized[0]), self._floor(resized[1]))

    def _shrunk(self, ratio: float, area: int) -> Pair:
        """Return a size of about `area` pixels and this ratio, with one side a multiple of `step`.

        Both sides are tried; the one whose rounding changes the ratio least is chosen.
        """
        ideal = math.sqrt(area * ratio)
        width, height = self._round(ideal), self._round(area / ideal)
        by_width = (width, self._round(width / ratio))
        by_height = (self._round(height * ratio), height)
        if min(*by_width, *by_height) < self.step:  # very thin: the ratios below would divide by zero
            return max(1, int(ideal)), max(1, int(area / ideal))
        if abs(by_width[0] / by_width[1] - ratio) < abs(by_height[0] / by_height[1] - ratio):
            return width, int(width / ratio + 0.5)
        return int(height * ratio + 0.5), height

    def _round(self, side: float) -> int:
        whole = int(side + 0.5)
        return whole - whole % self.step

    def _floor(self, side: int) -> int:
        return side // self.step * self.step

    def _ceil(self, side: int) -> int:
        return -(-side // self.step) * self.step
