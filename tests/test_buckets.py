"""Buckets are kohya's, to the pixel. The expected numbers were worked out by hand from a description of its rules."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lorapipe.training.data.buckets import Buckets, Fit, Resolution

sd15 = Buckets((512, 512), 256, 1024, 64)
kept = Buckets((512, 512), 256, 1024, 64, no_upscale=True)

table_512 = [
    (256, 1024), (320, 768), (384, 640), (448, 576), (512, 512), (576, 448), (640, 384), (704, 320), (768, 320),
    (832, 256), (896, 256), (960, 256), (1024, 256),
    (256, 960), (256, 896), (256, 832), (320, 704),
]  # fmt: skip
"""For each width w of 256, 320 … 1024 the tallest h with w·h ≤ 512²: 262144 // 320 = 819 → 768, // 576 = 455 → 448 …,
and each of them lying down."""


def test_the_table_of_512():
    assert not set(sd15.table) ^ set(table_512)
    assert list(sd15.table) == sorted(sd15.table)


def test_no_bucket_exceeds_the_area_or_the_limits():
    for bucket in Buckets((1024, 768), 500, 1500, 32).table:
        assert bucket[0] * bucket[1] <= 1024 * 768
        assert min(bucket) >= 480 and max(bucket) <= 1504  # 500 is rounded down and 1500 up to a multiple of 32
        assert not bucket[0] % 32 and not bucket[1] % 32


def test_a_resolution_off_the_step_gives_the_square_below():
    table = Buckets((600, 600), 256, 1024, 64).table
    assert (576, 576) in table and (640, 512) in table  # 360000 // 640 = 562 → 512
    assert (600, 600) not in table


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # 1.5 lies between 576/448 = 1.286 (0.214 away) and 640/384 = 1.667 (0.167); covered by height × 0.64
        ((1500, 1000), Fit((640, 384), (640, 427), (0, 21))),
        ((1000, 1500), Fit((384, 640), (427, 640), (21, 0))),
        ((512, 512), Fit((512, 512), (512, 512), (0, 0))),
        # an exact size match is taken as it is
        ((576, 448), Fit((576, 448), (576, 448), (0, 0))),
        # enlarging: 300x200 is 1.5 again; 640/300 × 200 = 426.67
        ((300, 200), Fit((640, 384), (640, 427), (0, 21))),
        # 1.14 is nearer to 1 than to 1.286, but only by difference (0.14 < 0.146) … and by logarithm it is not
        ((1140, 1000), Fit((512, 512), (584, 512), (36, 0))),
        # very wide ends in the widest bucket
        ((5000, 500), Fit((1024, 256), (2560, 256), (768, 0))),
    ],
)
def test_fits(size, expected):
    assert sd15.fit(size) == expected


def test_the_ratio_is_compared_by_difference_not_by_logarithm():
    ratio = 1.14
    by_logarithm = min(sd15.table, key=lambda b: abs(math.log(b[0] / b[1] / ratio)))
    assert by_logarithm == (576, 448) and sd15.fit((1140, 1000)).bucket == (512, 512)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # within the area: the size stays, the margin above a multiple of 64 is cut
        ((500, 300), Fit((448, 256), (500, 300), (26, 22))),
        ((512, 512), Fit((512, 512), (512, 512), (0, 0))),
        # above: the ideal is 627.07 x 418.05. Width rounds to 576 and its height 384 to 384 (ratio 1.5, error 0).
        # Height rounds to 384 and its width 576 to 576 (error 0 too); of equals, by height: 384 → 576
        ((3000, 2000), Fit((576, 384), (576, 384), (0, 0))),
        # 1000x800: ideal 572.43 x 457.95; by width 512 → 409.6 → 384: 1.333, by height 448 → 560 → 512: 1.143;
        # 0.083 < 0.107, so by width: 512 x 410
        ((1000, 800), Fit((512, 384), (512, 410), (0, 13))),
        # smaller than a step: no bucket
        ((50, 300), None),
        # a hair above the area
        ((40_000, 12), None),
    ],
)
def test_fits_without_upscaling(size, expected):
    assert kept.fit(size) == expected


def test_without_buckets_everything_is_cut_to_the_resolution():
    square = Buckets((512, 512), 256, 1024, 64, enabled=False)
    assert square.fit((1500, 1000)) == Fit((512, 512), (768, 512), (128, 0))
    assert square.table == ((512, 512),)


def test_every_fit_is_covered_by_its_picture():
    for rule in (sd15, kept, Buckets((768, 512), 320, 1024, 64)):
        for width in range(64, 3000, 97):
            for height in range(64, 3000, 101):
                fit = rule.fit((width, height))
                assert fit is not None
                assert fit.box[0] >= 0 and fit.box[1] >= 0
                assert fit.box[2] <= fit.resized[0] and fit.box[3] <= fit.resized[1], (width, height, fit)


def test_a_resolution_of_one_step_has_one_bucket_and_less_is_refused():
    assert Buckets((64, 64), 32, 128, 64).table == ((64, 64),)
    (problem,) = Buckets((32, 32), 16, 128, 64).problems()
    assert problem.path == ("resolution",)


def test_settings_that_make_no_buckets_are_named():
    wrong = Buckets((512, 512), 640, 448, 64)
    assert {problem.path[0] for problem in wrong.problems()} == {"min_bucket_reso", "max_bucket_reso"}
    assert not sd15.problems()
    # kohya rounds the limits outwards first: 540 counts as 512
    assert not Buckets((512, 512), 540, 512, 64).problems()


@pytest.mark.parametrize(("text", "size"), [(512, (512, 512)), ("512x768", (512, 768)), (" 640 × 512 ", (640, 512))])
def test_resolutions_are_read(text, size):
    resolution = Resolution.parse(text, Path())
    assert resolution.size == size and Resolution.parse(resolution.plain(), Path()) == resolution


@pytest.mark.parametrize("text", ["wide", 3, "512x", True, "9000x9000", None])
def test_what_is_no_resolution_is_refused(text):
    with pytest.raises(ValueError):
        Resolution.parse(text, Path())
