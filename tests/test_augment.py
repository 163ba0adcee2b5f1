"""Pictures shown in more than one way: each is encoded once, and every showing draws one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.events import Log
from lorapipe.spec import Source
from lorapipe.stages.prepare import Prepare
from lorapipe.training.data.augment import Augmentation, face, fit_of, shown
from lorapipe.training.data.batches import Batches
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import View, views_of
from lorapipe.training.data.manifest import Manifest, Picture, Variant


def picture(size: tuple[int, int] = (100, 80), name: str = "a.png", bucket: tuple[int, int] = (64, 64)) -> Picture:
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    resized = (round(size[0] * scale), round(size[1] * scale))
    crop = ((resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2)
    return Picture(name, "d" * 64, size, bucket, resized, crop, 1, "x", "none", latents="k")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tiny.Bench:
    return tiny.Bench(tmp_path_factory.mktemp("augment"))


@pytest.fixture(scope="module")
def base(bench: tiny.Bench) -> SD15:
    return SD15.tiny(bench.folder / "base")


def prepared(bench: tiny.Bench, base: SD15, name: str, **knobs: object) -> tuple[Dataset, Manifest]:
    folder = bench.folder / "pictures"
    images = Source(folder if folder.exists() else tiny.draw(folder))
    dataset = Prepare(images=images, base=base, duplicate_tolerance=0, **knobs).run(bench.context(name))  # type: ignore[arg-type]
    return dataset, Manifest.load(dataset.manifest)


def test_by_default_there_is_one_way_and_the_manifest_says_nothing_of_it(bench: tiny.Bench, base: SD15) -> None:
    dataset, manifest = prepared(bench, base, "plain")
    assert all(each.variants == () and each.mask is None for each in manifest.pictures)
    assert "variants" not in dataset.manifest.read_text() and "mask" not in dataset.manifest.read_text()


def test_mirrored_latents_are_those_of_the_mirrored_picture(bench: tiny.Bench, base: SD15) -> None:
    _, manifest = prepared(bench, base, "flip", augment=Augmentation(flip=True))
    cache, model = Cache(bench.folder / "cache"), base.load("cpu")
    first = manifest.pictures[0]
    plain, mirrored = first.variants
    assert (plain.flip, mirrored.flip) == (False, True)
    assert plain.latents == first.latents != mirrored.latents
    pixels = np.asarray(Image.open(bench.folder / "pictures" / first.path), dtype=np.float32)[:, ::-1] / 127.5 - 1
    expected = model.encode_images(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])[0]
    found = cache.tensors("latents", mirrored.latents)
    assert found is not None and torch.allclose(found["latents"], expected, atol=1e-6)


def test_only_what_is_new_is_encoded(bench: tiny.Bench, base: SD15) -> None:
    prepared(bench, base, "once", augment=Augmentation(flip=True))
    bench.told.clear()
    _, manifest = prepared(bench, base, "twice", augment=Augmentation(flip=True, colour=True, variants=3))
    assert len(views_of(manifest.pictures)) == 5 * 3  # the first of three is the plain one
    assert any("10 pictures encoded, 5 taken" in event.text for event in bench.of(Log))


def test_every_way_is_shown_about_as_often_and_again_the_same(bench: tiny.Bench, base: SD15) -> None:
    _, manifest = prepared(bench, base, "batches", augment=Augmentation(flip=True))
    batches, cache = Batches(manifest.training, 1, seed=7), Cache(bench.folder / "cache")
    drawn = [batches.load(index, cache).views[0] for index in range(200)]
    sides = Counter(showing.variant.flip for showing in drawn)
    assert 70 < sides[True] < 130
    again = Batches(manifest.training, 1, seed=7)
    assert [again.load(index, cache).views[0] for index in range(150, 160)] == drawn[150:160]
    other = Batches(manifest.training, 1, seed=8)
    assert [other.load(index, cache).views[0] for index in range(200)] != drawn


def test_random_cuts_stay_inside_and_differ() -> None:
    wide = picture((200, 64))
    ways = Augmentation(random_crop=True, variants=12).variants_of(wide)
    assert len({way.crop for way in ways}) > 6
    assert all(0 <= way.crop[0] <= way.resized[0] - 64 and way.crop[1] == 0 for way in ways)
    assert ways == Augmentation(random_crop=True, variants=12).variants_of(wide)


@pytest.mark.parametrize("bucket", [(64, 64), (96, 64), (64, 128)])
def test_face_cuts_show_the_face_at_the_size_asked_for(bucket: tuple[int, int]) -> None:
    big = picture((1000, 800), "who_0700_0200_0100_0120.png", bucket)
    assert face(big) == (700, 200, 100, 120)
    for way in Augmentation(face_crop=(2.0, 4.0), variants=16).variants_of(big):
        scale = way.resized[0] / 1000
        assert way.resized[0] >= bucket[0] and way.resized[1] >= bucket[1]
        assert 2.0 - 0.1 <= min(bucket) / (120 * scale) <= 4.0 + 0.1
        left, top, right, bottom = fit_of(big, way).box
        assert left <= 700 * scale <= right and top <= 200 * scale <= bottom
        assert left >= 0 and top >= 0 and right <= way.resized[0] and bottom <= way.resized[1]


def test_a_small_picture_is_covered_although_its_face_is_large() -> None:
    small = picture((80, 60), "who_0040_0030_0050_0050.png")
    for way in Augmentation(face_crop=(1.0, 1.5)).variants_of(small):
        assert min(way.resized) >= 64


def test_names_without_a_face_are_told_of_and_shown_plainly(bench: tiny.Bench, base: SD15) -> None:
    bench.told.clear()
    _, manifest = prepared(bench, base, "faces", augment=Augmentation(face_crop=(2.0, 4.0)))
    assert any("without the face's place in their names" in event.text for event in bench.of(Log))
    assert all(each.variants == () for each in manifest.pictures)


def test_colours_change_a_little_and_grey_stays_grey() -> None:
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    changed = [np.asarray(shown(image, Variant((8, 8), (0, 0), colour=number)), dtype=int) for number in range(1, 20)]
    differences = [np.abs(each - (200, 100, 50)).max() for each in changed]
    assert max(differences) > 3 and max(differences) <= 40  # 16 of 60 degrees of 150 levels
    grey = Image.new("RGB", (8, 8), (90, 90, 90))
    for number in range(1, 20):
        pixel = np.asarray(shown(grey, Variant((8, 8), (0, 0), colour=number)))[0, 0]
        assert len(set(pixel.tolist())) == 1


def test_the_network_is_told_the_corner_of_what_it_sees() -> None:
    each = replace(picture((200, 64)), resized=(200, 64))
    assert View(each, Variant((200, 64), (30, 0))).corner == (30, 0)
    assert View(each, Variant((200, 64), (30, 0), flip=True)).corner == (200 - 64 - 30, 0)


def test_what_cannot_be_combined_is_refused() -> None:
    assert [p.path for p in Augmentation(face_crop=(4.0, 2.0)).problems()] == [("face_crop",)]
    assert [p.path for p in Augmentation(face_crop=(2.0, 4.0), random_crop=True).problems()] == [("random_crop",)]


def test_a_manifest_with_all_of_it_is_read_back(bench: tiny.Bench, base: SD15, tmp_path: Path) -> None:
    _, manifest = prepared(
        bench, base, "back", augment=Augmentation(flip=True, random_crop=True, variants=4), alpha_mask=True
    )
    manifest.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json").pictures == manifest.pictures
