"""What a plan says of the work to come, from heads of files alone, against what comes."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from PIL import Image

from lorapipe.pipeline.artifacts import Ref
from lorapipe.provenance import TrainingRecord
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.forecast import of_manifest
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.estimate import need
from lorapipe.training.families import Checkpoint, Family
from lorapipe.training.families.sd15 import SD15
from lorapipe.training.families.sdxl import SDXL
from lorapipe.training.optimizers.adamw8bit import AdamW8bit
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training.rhythm import Rhythm


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    images = tmp_path / "pictures"
    images.mkdir()
    for number in range(14):
        size = (64, 96) if number % 3 else (80, 64)
        Image.effect_noise(size, 20 + number).convert("RGB").save(images / f"{number}.png")
    (images / "3_penny cat").mkdir()
    Image.effect_noise((64, 64), 99).convert("RGB").save(images / "3_penny cat" / "x.jpg", exif=turned())
    (images / "broken.png").write_bytes(b"no picture")
    base = SD15.tiny(tmp_path / "base")
    return Prepare(
        images=Source(images), base=base, duplicate_tolerance=0, held_out=0.0, augment=Augmentation(flip=True)
    )


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def test_a_forecast_is_what_comes(prepare: Prepare, tmp_path: Path) -> None:
    forecast, bench = prepare.forecast(), tiny.Bench(tmp_path)
    found = of_manifest(Manifest.load(prepare.run(bench.context("prepare")).manifest))
    assert (forecast.training, forecast.showings) == (found.training, found.showings)
    assert forecast.per_epoch == 14 + 3
    latents = [path for path in (bench.folder / "cache" / "latents").rglob("*") if path.is_file()]
    content = sum(path.stat().st_size for path in latents)
    reckoned = 4 * forecast.cache  # real VAEs shrink by 8, the tiny one by 4
    assert reckoned <= content <= reckoned + 400 * len(latents)  # each file has a head


def test_held_out_pictures_are_counted(prepare: Prepare) -> None:
    import dataclasses

    forecast = dataclasses.replace(prepare, held_out=0.2).forecast()
    assert (forecast.training, forecast.held_out) == (12, 3)


def test_held_out_pictures_are_encoded_in_one_way_until_they_regularise(prepare: Prepare, tmp_path: Path) -> None:
    import dataclasses

    bench = tiny.Bench(tmp_path)
    dataset = dataclasses.replace(prepare, held_out=0.2).run(bench.context("prepare"))

    def encoded() -> int:
        return sum(path.is_file() for path in (bench.folder / "cache" / "latents").rglob("*"))

    assert encoded() == 12 * 2 + 3
    train = Train(
        dataset=dataset,
        regularisation=dataset,
        adapter=LoRA(rank=2),
        steps=Duration(1, "epochs"),
        batch=9,
        snapshots=Rhythm(1),
    )
    train.run(bench.context("train"))
    assert encoded() == 15 * 2


def test_steps_and_epochs_before_and_after_preparing(prepare: Prepare, tmp_path: Path) -> None:
    knobs = {"adapter": LoRA(rank=2), "steps": Duration(2, "epochs"), "batch": 2, "snapshots": Rhythm(1)}
    before = Train(dataset=Ref("a"), **knobs)  # type: ignore[arg-type]
    (line,) = before.outlook({"a": prepare})
    bench = tiny.Bench(tmp_path)
    after = Train(dataset=prepare.run(bench.context("prepare")), **knobs)  # type: ignore[arg-type]
    (again,) = after.outlook({})
    record = TrainingRecord.load(after.run(bench.context("train")).training)
    assert again == f"{record.steps} steps of 2, 2.0 epochs of 17 pictures"
    assert line == again.replace("2.0 epochs", "about 2.0 epochs")


def test_what_cannot_be_known_is_not_said(prepare: Prepare) -> None:
    assert list(Train(dataset=Ref("elsewhere")).outlook({"a": prepare})) == []  # type: ignore[arg-type]
    assert list(Train(dataset=Ref("a", ("best",))).outlook({"a": prepare})) == []  # type: ignore[arg-type]


def full_size(tmp_path: Path, family: type[SD15] | type[SDXL], **knobs: object) -> list[str]:
    images, file = tmp_path / "large", tmp_path / "x.safetensors"
    if not images.exists():
        images.mkdir()
        file.touch()
        for number in range(4):
            Image.new("RGB", (1100, 1100), (number * 9, 0, 0)).save(images / f"{number}.png")
    prepare = Prepare(images=Source(images), base=family(checkpoint=Checkpoint(file)))
    return list(Train(dataset=Ref("a"), **knobs).outlook({"a": prepare}))  # type: ignore[arg-type]


def test_memory_is_reckoned_for_bases_of_the_published_shape(tmp_path: Path) -> None:
    lines = full_size(tmp_path, SD15)
    assert any("on a GPU about" in line and "6 GB card" in line and "measured" in line for line in lines)
    lines = full_size(tmp_path, SDXL, text_encoder_lr=0.0)
    assert any("with gradient_checkpointing: true" in line for line in lines)


def test_memory_follows_what_is_asked_for() -> None:
    counted = SDXL.counted
    ranks = {"unet": 16}
    plain = need(counted, ranks, 2, 1024**2)
    assert need(counted, ranks, Prodigy.states, 1024**2).adapter > plain.adapter
    assert need(counted, ranks, AdamW8bit.states, 1024**2).adapter < plain.adapter
    assert need(counted, {"unet": 64}, 2, 1024**2).adapter == 4 * plain.adapter
    assert need(counted, ranks, 2, 2 * 1024**2).pictures == 2 * plain.pictures
    assert need(counted, ranks, 2, 1024**2, checkpointing=True).total < plain.total
    assert need(counted, {**ranks, "text_encoder_2": 16}, 2, 1024**2).base > plain.base
    assert need(counted, ranks, 2, 1024**2, bytes_each=4).base == 2 * plain.base
    assert need(counted, ranks, 2, 400 * 1024**2).card() is None


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_footprints_are_those_of_the_modules(family: str) -> None:
    """The counts of `benchmarks/memory.py`, of modules without weights."""
    from lorapipe.training.families._checkpoint import SingleFile
    from lorapipe.training.families._latent_diffusion import Parts

    kind = Family.registry.get(family)  # type: ignore[union-attr]
    model = kind.model(Parts(SingleFile(Path("none"), kind.known, kind.model.texts)), "cpu", "fp32")  # type: ignore[attr-defined]
    counted = kind.counted  # type: ignore[attr-defined]
    for part in model.trainable:
        module = model.skeleton(part)
        assert sum(parameter.numel() for parameter in module.parameters()) == counted.parameters[part]
        layers = [module.get_submodule(path) for path in model.targets(part)]
        assert sum(layer.weight.shape[0] + layer.weight.shape[1] for layer in layers) == counted.widths[part]
