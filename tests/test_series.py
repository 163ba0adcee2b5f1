"""Downsampled and smoothed curves, and evenly spaced items."""

from __future__ import annotations

import math

import pytest

from lorapipe.series import bin_means, evenly_spaced, moving_average


def test_a_few_of_many_items_are_far_apart_and_the_last_is_among_them() -> None:
    assert evenly_spaced(range(1, 11), 5) == [2, 4, 6, 8, 10]
    assert evenly_spaced(range(1, 11), 4, with_first=True) == [1, 4, 7, 10]
    assert evenly_spaced([1, 2], 6) == [1, 2]


def test_a_long_curve_is_drawn_by_the_means_of_neighbours() -> None:
    points = [(float(x), float(x % 2)) for x in range(10)]
    assert bin_means(points, 5) == [(1.0, 0.5), (3.0, 0.5), (5.0, 0.5), (7.0, 0.5), (9.0, 0.5)]
    assert len(bin_means(points, 3)) == 3 and bin_means(points, 10) == points and bin_means([], 3) == []


def test_the_moving_average_of_a_constant_is_the_constant_from_the_first_point_on() -> None:
    assert moving_average([(1, 4.0), (2, math.nan), (3, 4.0)]) == [(1, 4.0), (3, 4.0)]
    noisy = moving_average((float(x), 1.0 if x % 2 else 0.0) for x in range(400))
    assert all(y == pytest.approx(0.5, abs=0.05) for _, y in noisy[100:])
