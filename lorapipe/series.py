"""Downsample and smooth curves, and pick a few of many items, for charts, probes and grids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
Point = tuple[float, float]


def evenly_spaced(items: Sequence[T], most: int, *, with_first: bool = False) -> list[T]:
    """Return at most `most` evenly spaced items, always with the last, and with the first if `with_first`."""
    if len(items) <= most:
        return list(items)
    if with_first:
        return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
    return [items[round((place + 1) * len(items) / most) - 1] for place in range(most)]


def bin_means(points: Sequence[Point], most: int) -> list[Point]:
    """Return a curve with at most `most` points: the mean of each bin of neighbours, at the last x of the bin."""
    size = max(1, -(-len(points) // most))
    bins = (points[start : start + size] for start in range(0, len(points), size))
    return [(each[-1][0], sum(y for _, y in each) / len(each)) for each in bins]


def moving_average(points: Iterable[Point], window: float = 1 / 20) -> list[Point]:
    """Return the exponential moving average of a curve over a share of its points; non-finite values are left out.

    It is bias-corrected: each value is the weighted mean of those so far, as in Adam (Kingma & Ba 2015, §3).
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    keep = 1 - 1 / max(1.0, len(finite) * window)
    average, weight, found = 0.0, 0.0, list[Point]()
    for x, y in finite:
        average = keep * average + (1 - keep) * y
        weight = keep * weight + (1 - keep)
        found.append((x, average / weight))
    return found
