"""Masks, several datasets and regularisation pictures: samples and loss weights of a training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from lorapipe.errors import InputError
from lorapipe.metadata import kohya_metadata
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.events import Log
from lorapipe.spec import Duration, Source, Warmup
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.batches import Batches
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.manifest import Manifest, Picture
from lorapipe.training.data.training_set import TrainingSet, load_training_set, matched
from lorapipe.training.diffusion import EpsilonPrediction
from lorapipe.training.interval import Interval
from lorapipe.training.loop import MicroBatch, Objective
from lorapipe.training.losses.mse import Mse
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.weightings.none import NoWeighting
from lorapipe.training_record import TrainingRecord


@pytest.fixture
def bench(tmp_path: Path) -> tiny.Bench:
    return tiny.Bench(tmp_path)


@pytest.fixture
def base(tmp_path: Path) -> SD15:
    return SD15.tiny(tmp_path / "base")


def prepared(bench: tiny.Bench, base: SD15, images: Path, **knobs: object) -> Dataset:
    stage = Prepare(images=Source(images), base=base, duplicate_tolerance=0, **knobs)  # type: ignore[arg-type]
    return stage.run(bench.context(f"prepare-{images.name}-{len(knobs)}"))


def latents_of(bench: tiny.Bench, dataset: Dataset) -> dict[str, dict[str, torch.Tensor]]:
    cache = Cache(bench.folder / "cache")
    found = {p.path: cache.tensors("latents", p.latents) for p in Manifest.load(dataset.manifest).pictures}
    return {path: tensors for path, tensors in found.items() if tensors is not None}


# --------------------------------------------------------------------------------------------------------------- masks


def test_transparency_as_a_mask(bench: tiny.Bench, base: SD15) -> None:
    images = tiny.draw(bench.folder / "pictures")
    rgba = Image.open(images / "0.png").convert("RGBA")
    opacity = np.zeros((64, 64), np.uint8)
    opacity[:, :32] = 255
    rgba.putalpha(Image.fromarray(opacity))
    rgba.save(images / "0.png")
    dataset = prepared(bench, base, images, alpha_mask=True)
    found = latents_of(bench, dataset)
    mask = found["0.png"]["mask"]
    assert mask.shape == (1, *found["0.png"]["latents"].shape[1:])
    width = mask.shape[2]
    assert (mask[:, :, : width // 2] == 1).all() and (mask[:, :, width // 2 :] == 0).all()
    assert (found["1.png"]["mask"] == 1).all(), "an opaque picture is looked at whole"


def test_masks_of_a_folder_are_cut_as_their_pictures(bench: tiny.Bench, base: SD15) -> None:
    images, masks = tiny.draw(bench.folder / "pictures"), bench.folder / "masks"
    masks.mkdir()
    Image.linear_gradient("L").resize((128, 128)).save(masks / "0.jpg")  # twice the picture's size
    dataset = prepared(bench, base, images, masks=Source(masks))
    found = latents_of(bench, dataset)
    rows = found["0.png"]["mask"][0].mean(dim=1)
    assert torch.all(rows[1:] > rows[:-1]) and 0 <= rows[0] < 0.1 and rows[-1] > 0.9
    assert "mask" not in found["1.png"]
    batch = Batches(Manifest.load(dataset.manifest).training, 5, 0).load(0, Cache(bench.folder / "cache"))
    assert batch.mask is None or batch.mask.shape[1] == 1
    (masks / "1.png").write_bytes((images / "4.png").read_bytes())  # 64x96, of a 64x64 picture
    with pytest.raises(InputError, match="not the same shape"):
        prepared(bench, base, images, masks=Source(masks))


def test_a_changed_mask_makes_other_latents(bench: tiny.Bench, base: SD15) -> None:
    images, masks = tiny.draw(bench.folder / "pictures"), bench.folder / "masks"
    masks.mkdir()
    keys = []
    for level in (255, 128):
        Image.new("L", (64, 64), level).save(masks / "0.png")
        dataset = prepared(bench, base, images, masks=Source(masks))
        keys.append(Manifest.load(dataset.manifest).pictures[0].latents)
    assert keys[0] != keys[1]
    found = latents_of(bench, dataset)["0.png"]["mask"]
    assert torch.allclose(found, torch.full_like(found, 128 / 255), atol=1e-6)


class Still:
    """A model that always predicts 0, so that the loss is the squared noise."""

    device = torch.device("cpu")
    dtype = torch.float32
    diffusion = EpsilonPrediction(torch.linspace(0.99, 0.01, 1000))

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: object) -> torch.Tensor:
        return torch.zeros_like(noisy)


def test_a_mask_multiplies_the_loss_and_weights_come_on_top() -> None:
    objective = Objective(Still(), Mse(), NoWeighting(), NoiseOptions().draw, 3)  # type: ignore[arg-type]
    clean = torch.zeros(2, 4, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :4], mask[1] = 1.0, 0.5
    drawn = NoiseOptions().draw(3, 0, range(2), clean, Still.diffusion).target
    expected = torch.stack([drawn[0, :, :4].square().sum() / 256, drawn[1].square().mean() / 2])
    found = objective(0, range(2), MicroBatch(clean, dict, mask))
    assert torch.allclose(found, expected)
    weighed = objective(0, range(2), MicroBatch(clean, dict, mask, torch.tensor([1.0, 0.25])))
    assert torch.allclose(weighed, expected * torch.tensor([1.0, 0.25]))


def test_a_masked_training_runs_and_says_so(bench: tiny.Bench, base: SD15) -> None:
    images, masks = tiny.draw(bench.folder / "pictures"), bench.folder / "masks"
    masks.mkdir()
    Image.new("L", (64, 64), 0).save(masks / "0.png")
    losses = []
    for knobs in ({"masks": Source(masks)}, {}):
        dataset = prepared(bench, base, images, **knobs)
        train = Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(4), snapshots=Interval(1), batch=4)
        weights = train.run(bench.context(f"train-{len(knobs)}"))
        record = TrainingRecord.load(weights.training)
        assert record.augmented["mask"] == bool(knobs)
        losses.append(weights.log.read_text())
    assert losses[0] != losses[1]


# -------------------------------------------------------------------------------------- several datasets, regularisation


def picture(name: str, repeats: int = 1) -> Picture:
    return Picture(name, name, (64, 64), (64, 64), (64, 64), (0, 0), repeats, "x", "none")


@pytest.mark.parametrize(
    ("count", "repeats", "wanted", "expected"),
    [(3, 1, 7, [3, 2, 2]), (3, 1, 2, [1, 1]), (2, 4, 6, [4, 4]), (2, 5, 4, [5]), (1, 1, 5, [5])],
)
def test_regularisation_pictures_are_matched_in_number(
    count: int, repeats: int, wanted: int, expected: list[int]
) -> None:
    found = matched([picture(str(place), repeats) for place in range(count)], wanted)
    assert [each.repeats for each in found] == expected


def test_regularisation_is_shown_as_often_and_counts_as_told(bench: tiny.Bench, base: SD15) -> None:
    subject = prepared(bench, base, tiny.draw(bench.folder / "pictures"), repeats=3)
    few = bench.folder / "women"
    few.mkdir()
    for place in range(2):
        Image.new("RGB", (64, 64), (place * 90, 30, 60)).save(few / f"{place}.png")
    women = prepared(bench, base, few, class_word="woman")
    train = Train(
        dataset=subject, regularisation=women, prior_loss_weight=0.5, adapter=LoRA(rank=2),
        steps=Duration(1, "epochs"), snapshots=Interval(1),
    )  # fmt: skip
    record = TrainingRecord.load(train.run(bench.context("train")).training)
    assert (record.pictures_per_epoch, record.regularisation_per_epoch, record.steps) == (15, 15, 30)
    told = kohya_metadata(record, "", 1, 1, "full")
    assert (told["ss_num_reg_images"], told["ss_prior_loss_weight"]) == ("15", "0.5")
    assert json.loads(told["ss_dataset_dirs"]) == {"images": {"n_repeats": 3, "img_count": 5}}
    assert json.loads(told["ss_reg_dataset_dirs"]) == {"images": {"n_repeats": 8, "img_count": 2}}
    assert (told["ss_num_epochs"], told["ss_num_batches_per_epoch"]) == ("1", "30")
    of_epochs = {**record.settings, "steps": "10 epochs", "accumulation": 2}
    assert dataclasses.replace(record, steps=4, settings=of_epochs).planned_steps == 5 * record.batches_per_epoch
    halved = dataclasses.replace(record, steps=15, settings={**record.settings, "accumulation": 2})
    assert kohya_metadata(halved, "", 1, 1, "full")["ss_num_epochs"] == "1"


def loaded(train: Train, bench: tiny.Bench, name: str) -> TrainingSet:
    cache = Cache(bench.folder / "cache")
    return load_training_set(
        [train.dataset],
        train.regularisation,
        train.captions,
        train.prior_loss_weight,
        cache,
        "cpu",
        bench.context(name),
    )


def test_captions_of_a_dataset_vary_in_its_own_way(bench: tiny.Bench, base: SD15) -> None:
    images = tiny.draw(bench.folder / "pictures")
    subject = prepared(bench, base, images)
    women = prepared(bench, base, images, captions=Captioning(), repeats=2)
    knobs = {
        "adapter": LoRA(rank=2),
        "steps": Duration(1, "epochs"),
        "snapshots": Interval(1),
        "captions": Captioning(prefix="ohwx,"),
    }
    own = Train(dataset=subject, regularisation=women, **knobs)  # type: ignore[arg-type]
    found = loaded(own, bench, "own")
    assert [*found.captions] == [*range(5, len(found.all))] and found.captions[5].prefix == ""
    assert not [event.text for event in bench.of(Log) if "prefix" in event.text]
    own.run(bench.context("train"))
    alike = Train(dataset=subject, regularisation=subject, **knobs)  # type: ignore[arg-type]
    loaded(alike, bench, "alike")
    assert "captions: {} in their prepare stage" in bench.of(Log)[-1].text
    knobs["captions"] = Captioning(trigger="ohwx", suffix="a")
    told = Train(dataset=subject, regularisation=subject, **knobs)  # type: ignore[arg-type]
    found = loaded(told, bench, "trigger")
    assert [found.captions[place].trigger for place in found.captions] == [""] * len(found.regularisation)
    assert {found.captions[place].suffix for place in found.captions} == {"a"}


def test_captions_that_cannot_be_read_together_are_refused(bench: tiny.Bench, base: SD15) -> None:
    images = tiny.draw(bench.folder / "pictures")
    captions = Captioning(weighted=True, token_warmup_step=Warmup(5))
    dataset = prepared(bench, base, images, captions=captions)
    with pytest.raises(InputError) as error:
        Train(dataset=dataset, text_encoder_lr=0.0).run(bench.context("train"))
    assert ["weighted" in error.value.problems[0].what, "frozen" in error.value.problems[1].what] == [True, True]


def test_weights_reach_the_batches(bench: tiny.Bench, base: SD15) -> None:
    dataset = prepared(bench, base, tiny.draw(bench.folder / "pictures"))
    pictures = Manifest.load(dataset.manifest).training
    batches = Batches(pictures, 2, 0, weights=[0.1 * place for place in range(len(pictures))])
    batch = batches.load(1, Cache(bench.folder / "cache"))
    assert batch.weights is not None
    assert torch.allclose(batch.weights, torch.tensor([0.1 * index for index in batch.indices]))


def test_one_folder_at_two_resolutions(bench: tiny.Bench, base: SD15) -> None:
    images = tiny.draw(bench.folder / "pictures")
    small, large = (prepared(bench, base, images, **knobs) for knobs in ({}, {"resolution": Resolution(96, 96)}))
    train = Train(
        dataset=small, more_datasets=(large,), adapter=LoRA(rank=2), steps=Duration(1, "epochs"), snapshots=Interval(1)
    )
    record = TrainingRecord.load(train.run(bench.context("train")).training)
    assert record.pictures == 10
    assert {"64x64", "96x96"} <= record.buckets.keys()


def test_another_base_is_refused(bench: tiny.Bench, base: SD15) -> None:
    images = tiny.draw(bench.folder / "pictures")
    other = SD15.tiny(bench.folder / "other", seed=1)
    both = prepared(bench, base, images), prepared(bench, other, images, repeats=2)
    train = Train(dataset=both[0], more_datasets=(both[1],), steps=Duration(1))
    with pytest.raises(InputError, match="another base"):
        train.run(bench.context("train"))


def test_a_weight_of_nothing_is_refused(bench: tiny.Bench, base: SD15) -> None:
    dataset = prepared(bench, base, tiny.draw(bench.folder / "pictures"))
    assert [p.path for p in Train(dataset=dataset, prior_loss_weight=0.5).problems()] == [("prior_loss_weight",)]
