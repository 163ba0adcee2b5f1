"""What a plan says of the work to come, from heads of files alone, against what comes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

from lorapipe.models import Checkpoint, Family, Footprint
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.spec import Duration, Ref, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.forecast import of_manifest
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.interval import Interval
from lorapipe.training.memory_estimate import need
from lorapipe.training.optimizers.adamw8bit import AdamW8bit
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training_record import TrainingRecord


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
    assert forecast.cache <= content <= forecast.cache + 400 * len(latents)  # each file has a head


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
        snapshots=Interval(1),
    )
    train.run(bench.context("train"))
    assert encoded() == 15 * 2


def test_steps_and_epochs_before_and_after_preparing(prepare: Prepare, tmp_path: Path) -> None:
    knobs = {"adapter": LoRA(rank=2), "steps": Duration(2, "epochs"), "batch": 2, "snapshots": Interval(1)}
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
    counted, unet, side = SDXL.counted, ["unet"], 1024**2
    numbers = LoRA(rank=16).size(counted, unet)
    plain = need(counted, unet, numbers, 2, side)
    assert need(counted, unet, numbers, Prodigy.states, side).adapter > plain.adapter
    assert need(counted, unet, numbers, AdamW8bit.states, side).adapter < plain.adapter
    assert need(counted, unet, 4 * numbers, 2, side).adapter == 4 * plain.adapter
    assert need(counted, unet, numbers, 2, 2 * side).pictures == 2 * plain.pictures
    assert need(counted, unet, numbers, 2, side, checkpointing=True).total < plain.total
    assert need(counted, [*unet, "text_encoder_2"], numbers, 2, side).base > plain.base
    assert need(counted, unet, numbers, 2, side, bytes_each=4).base == 2 * plain.base
    assert need(counted, unet, numbers, 2, 400 * side).card() is None


def footprint_of(model: LatentDiffusion) -> Footprint:
    """What can be counted without a forward pass, of modules that need have no weights."""
    modules = {part: model.skeleton(part) for part in model.trainable}
    parameters = {part: sum(each.numel() for each in module.parameters()) for part, module in modules.items()}
    usual = {part: [ref.path for ref in model.targets(part)] for part in modules}
    widths = {part: sum(width(modules[part].get_submodule(path)) for path in usual[part]) for part in modules}
    further = [ref.path for ref in model.modules("unet") if ref.path not in usual["unet"]]
    layers = [modules["unet"].get_submodule(path) for path in further]
    larger = [layer for layer in layers if getattr(layer, "kernel_size", (1, 1)) != (1, 1)]
    wide = sum(map(width, larger))
    return Footprint("unet", parameters, widths, (sum(map(width, layers)) - wide, wide), 0, 0)


def width(layer: torch.nn.Module) -> int:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return len(weight) + weight[0].numel()


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_footprints_are_those_of_the_modules(family: str) -> None:
    """The counts of `benchmarks/memory.py`, of modules without weights."""
    from lorapipe.models._parts import Parts
    from lorapipe.models._weight_files import SingleFile

    kind = Family.registry.get(family)  # type: ignore[union-attr]
    model = kind.model(Parts(SingleFile(Path("none"), kind.known, kind.model.texts)), "cpu", "fp32")  # type: ignore[attr-defined]
    counted = kind.counted  # type: ignore[attr-defined]
    assert dataclasses.replace(counted, kept=0, recomputed=0) == footprint_of(model)


ADAPTERS = [Adapter.registry.get(name)() for name in Adapter.registry.names()]  # type: ignore[union-attr]


@pytest.mark.parametrize("adapter", [*ADAPTERS, LoRA(rank=4), LoCon(rank=4, conv_rank=2)])
def test_the_size_of_an_adapter_is_known_before_it_is_made(adapter: Adapter, tmp_path: Path) -> None:
    model = SD15.tiny(tmp_path / "base").load("cpu")
    told = adapter.size(footprint_of(model), model.trainable)
    attached = adapter.attach(model, model.trainable)
    made = sum(parameter.numel() for found in attached.parameters().values() for parameter in found)
    assert told in (made, 0)


def test_the_size_of_an_adapter_of_differing_blocks_is_that_of_the_widest() -> None:
    ranks = (4,) * 24 + (8,)
    assert LoRA(block_ranks=ranks).size(SD15.counted, ["unet"]) == LoRA(rank=8).size(SD15.counted, ["unet"])
