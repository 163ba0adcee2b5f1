"""Figures of pictures, on vectors and pictures whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from lorapipe.evaluation import metrics


def unit(*rows: tuple[float, ...]) -> metrics.Vectors:
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(centre: tuple[float, ...], count: int, spread: float, seed: int = 0) -> metrics.Vectors:
    noise = np.random.default_rng(seed).normal(0, spread, (count, len(centre)))
    return unit(*(np.array(centre) + noise))


SUBJECT, OTHER = (1.0, 0, 0, 0), (0, 1.0, 0, 0)


def test_likeness_runs_from_the_base_to_the_training_pictures_among_themselves() -> None:
    training, base = near(SUBJECT, 12, 0.15), near(OTHER, 8, 0.15, 1)
    scale = metrics.likeness_scale(base, training)
    assert scale is not None
    low, high = scale
    assert low == pytest.approx(float(metrics.image_similarity(base, training).mean()))
    unseen = near(SUBJECT, 40, 0.15, 2)
    likeness = (metrics.image_similarity(unseen, training).mean() - low) / (high - low)
    assert likeness == pytest.approx(1, abs=0.1), "new pictures of the subject are as like it as its own are"


def test_no_likeness_where_the_base_draws_the_subject_already() -> None:
    assert metrics.likeness_scale(near(SUBJECT, 8, 0.15, 1), near(SUBJECT, 12, 0.15)) is None
    assert metrics.likeness_scale(near(OTHER, 8, 0.1), unit(SUBJECT)) is None, "one picture has no likeness to others"


def test_following_is_kept_by_what_changes_all_pictures_alike() -> None:
    """The subject is a direction that no prompt has: it lowers every cosine and no contrast but by the same share."""
    prompts = unit((1, 0, 0, 0), (0, 1, 0, 0))
    base = unit((1, 0.1, 0, 0.3), (0.1, 1, 0, 0.3))
    subject = unit((1, 0.1, 0.3, 0.3), (0.1, 1, 0.3, 0.3))
    full = metrics.following_scale(base, prompts, [0, 1])
    assert full is not None
    kept = metrics.contrast_to_others(subject, prompts, [0, 1]).mean() / full
    assert 0.9 < kept < 1
    clip_t = metrics.text_similarity(subject, prompts, [0, 1]).mean()
    assert clip_t < metrics.text_similarity(base, prompts, [0, 1]).mean()


def test_following_is_lost_where_every_prompt_gives_the_same_picture() -> None:
    prompts = unit((1, 0, 0), (0, 1, 0), (0, 0, 1))
    same = unit((0.6, 0.3, 0.2), (0.6, 0.3, 0.2), (0.6, 0.3, 0.2))
    assert metrics.contrast_to_others(same, prompts, [0, 1, 2]).mean() == pytest.approx(0, abs=1e-6)


def test_prompts_that_clip_cannot_tell_apart_measure_nothing() -> None:
    prompts = unit((1, 0, 0.01), (1, 0.01, 0))
    assert metrics.following_scale(near((1, 0, 0), 8, 0.3), prompts, [0, 1] * 4) is None
    assert metrics.following_scale(near((1, 0, 0), 8, 0.3), prompts[:1], [0] * 8) is None


def test_one_picture_is_alike_to_no_other() -> None:
    assert math.isnan(metrics.among(unit((1, 0))))


def test_saturation_contrast_and_blanks() -> None:
    grey, red = Image.new("RGB", (8, 8), (90, 90, 90)), Image.new("RGB", (8, 8), (255, 0, 0))
    assert metrics.looks(grey)[1] == 0 and metrics.looks(red)[1] == 1
    halves = Image.new("L", (8, 8), 0)
    halves.paste(255, (0, 0, 4, 8))
    assert metrics.looks(halves.convert("RGB"))[2] == pytest.approx(0.5)
    assert metrics.blank(metrics.looks(grey)) and not metrics.blank(metrics.looks(halves))
