"""The plan's forecast, made from file headers only, compared with the actual run."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints

import published
import pytest
import tiny
import torch
from PIL import Image

from lorapipe.models import Activations, Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.spec import Duration, Ref, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.hypernetwork_nets import ContextNet
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.embedding import Embedding
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.hypernetwork import Hypernetwork
from lorapipe.training.adapters.ia3 import IA3
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.adapters.peft import Peft
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.forecast import of_manifest
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.interval import Interval
from lorapipe.training.memory_estimate import need
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adamw import AdamW
from lorapipe.training.optimizers.adamw8bit import AdamW8bit
from lorapipe.training.optimizers.lion import Lion
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training.optimizers.sgd_nesterov import SgdNesterov as Sgd
from lorapipe.training.param_groups import grouped
from lorapipe.training.training_memory import fewest_blocks, memory, needs
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
    assert forecast.cache <= content <= forecast.cache + 400 * len(latents)  # each file has a header


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
    assert any("gradient_checkpointing: auto computes again" in line and "of 87 blocks on a" in line for line in lines)
    lines = full_size(tmp_path, SDXL, text_encoder_lr=0.0, gradient_checkpointing=False)
    assert any("with gradient_checkpointing: true" in line for line in lines)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_no_more_blocks_are_computed_again_than_the_memory_asks_for(family: str, tmp_path: Path) -> None:
    base = published.base(family, tmp_path)
    train = Train(dataset=Ref("a"), batch=4, precision="bf16")  # type: ignore[arg-type]
    whole, least = (memory(replace(train, gradient_checkpointing=each), base, 1024**2) for each in ("auto", True))
    assert whole is not None and least is not None
    counts = []
    for share in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.0):
        available = least.total + share * (whole.total - least.total)
        found = fewest_blocks(train, base, 1024**2, available)
        assert found is not None and found.fits and found.need.total <= available
        if found.blocks:
            footprint = base.footprint()
            assert footprint is not None
            fewer = sum(footprint.recomputed[path] for path in found.blocks[:-1])
            estimate = needs(train, base, 1024**2)
            assert estimate is not None and estimate(fewer).total > available, "one block less would not fit"
        counts.append(len(found.blocks))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == found.total
    above = fewest_blocks(train, base, 1024**2, least.total - 1)
    assert above is not None and not above.fits and len(above.blocks) == above.total


def test_memory_follows_what_is_asked_for(tmp_path: Path) -> None:
    base, side = published.base("sdxl", tmp_path).footprint(), 1024**2
    assert base is not None and base.activations is not None
    needed, unet = partial(need, base, base.activations), ["unet"]
    numbers = LoRA(rank=16).size(base, unet)
    plain = needed(unet, numbers, 2, side)
    assert needed(unet, numbers, Prodigy.states, side).adapter > plain.adapter
    assert needed(unet, numbers, AdamW8bit.states, side).adapter < plain.adapter
    assert needed(unet, 4 * numbers, 2, side).adapter == 4 * plain.adapter
    assert needed(unet, numbers, 2, 2 * side).pictures == 2 * plain.pictures
    assert needed(unet, numbers, 2, side, recomputed=1.0).total < plain.total
    assert needed([*unet, "text_encoder_2"], numbers, 2, side).base > plain.base
    assert needed(unet, numbers, 2, side, bytes_each=4).base == 2 * plain.base
    assert needed(unet, numbers, 2, 400 * side).card() is None


@pytest.mark.parametrize(
    ("family", "unet", "texts"),
    [
        ("sd15", (859_520_964, 423_936, 626_880), [(123_060_480, 165_888, 165_888)]),
        ("sd2", (865_910_724, 432_128, 626_880), [(340_387_840, 423_936, 423_936)]),
        (
            "sdxl",
            (2_567_463_684, 2_659_840, 414_400),
            [(123_060_480, 165_888, 165_888), (694_659_840, 737_280, 737_280)],
        ),
    ],
)
def test_footprints_are_those_of_the_published_models(
    tmp_path: Path, family: str, unet: tuple[int, int, int], texts: list[tuple[int, int, int]]
) -> None:
    """Parameters of each part, and of a LoRA and a LoCon of rank 1 on it, counted in diffusers' full-size modules."""
    base = published.base(family, tmp_path).footprint()
    assert base is not None
    (plain, larger) = (LoRA(rank=1), LoCon(rank=1, conv_rank=1))
    counted = [(base.parameters[part], plain.size(base, [part]), larger.size(base, [part])) for part in base.parameters]
    assert counted == [(unet[0], unet[1], unet[1] + unet[2]), *texts]


KINDS = [Adapter.registry.get(name) for name in Adapter.registry.names()]  # type: ignore[union-attr]
ADAPTERS = [kind(trigger="hat", replace=True) if issubclass(kind, Embedding) else kind() for kind in KINDS]
FURTHER = [
    LoRA(rank=4),
    LoRA(dora=True, norms=True),
    LoRA(dora=True, dora_axis="output", preset="full"),
    LoCon(rank=4, conv_rank=2),
    LoHa(rank=3, tucker=True, preset="full"),
    Hypernetwork(structure=(1, 1.5, 2, 1), layer_norm=True),
    IA3(on_input=True, preset="full"),
]
RANKS = (4, 0, 8, 2, 1, 0, 2, 3, 4)
"""Block settings for a tiny SD1.x."""


@pytest.mark.parametrize("adapter", [*ADAPTERS, *FURTHER])
def test_the_size_of_an_adapter_is_known_before_it_is_made(adapter: Adapter, tmp_path: Path) -> None:
    told, made = sizes(adapter, tmp_path)
    if isinstance(adapter, (Full, Finetune)):
        assert made <= told <= 1.02 * made, "not every module has a bias"
    else:
        assert told in (made, 0)
    assert told or isinstance(adapter, Peft), "a forecast needs it"


@pytest.mark.parametrize("adapter", [LoRA, LoCon])
def test_the_size_of_an_adapter_of_differing_blocks_is_theirs(adapter: type[LoraKnobs], tmp_path: Path) -> None:
    told, made = sizes(adapter(block_ranks=RANKS, block_rates=(1.0,) * 8 + (0.0,)), tmp_path)
    assert told == made > 0


def sizes(adapter: Adapter, folder: Path) -> tuple[int, int]:
    """Return the expected and the actual number of trained parameters of an adapter on a tiny base."""
    base = SD15.tiny(folder / "base")
    model, footprint = base.load("cpu"), base.footprint()
    assert footprint is not None
    attached = adapter.attach(model, model.trainable)
    made = sum(parameter.numel() for found in attached.parameters().values() for parameter in found)
    return adapter.size(footprint, model.trainable), made


def tensors_alive() -> int:
    """Return the bytes of all tensors that tests have made in this process."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated modules' lazy attributes
        found = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    found += [each.grad for each in found if each.requires_grad and each.is_leaf and each.grad is not None]
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in found if not each.is_meta}
    return sum(storages.values())


FINETUNES = {
    "fp32": (Finetune(), "fp32"),
    "fp32, fused": (Finetune(fused_backward=True), "fp32"),
    "copies": (Finetune(), "bf16"),
    "copies, fused": (Finetune(fused_backward=True), "bf16"),
    "bf16": (Finetune(weights="bf16"), "bf16"),
    "bf16, fused": (Finetune(weights="bf16", fused_backward=True), "bf16"),
    "attentions": (Finetune(include=("attn",), weights="bf16"), "bf16"),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("optimizer", [AdamW(), Lion(), Sgd()], ids=lambda each: each.name)
@pytest.mark.parametrize("form", FINETUNES)
def test_the_memory_of_a_finetune_is_what_is_allocated(form: str, optimizer: Optimizer, tmp_path: Path) -> None:
    """Weights, copies, gradients and the optimizer's state, counted in the process while a second step is made."""
    adapter, precision = FINETUNES[form]
    base, parts = SD15.tiny(tmp_path / "base"), ["unet"]
    footprint, model = base.footprint(), base.load("cpu", precision)
    assert footprint is not None
    bytes_of_weight = {"fp32": 4, "bf16": 2}[precision]
    counted = sum(each.numel() * each.element_size() for each in model.part("unet").parameters())
    told = need(footprint, Activations(0, 0), parts, 0, 0, 0, bytes_each=bytes_of_weight)
    assert told.base == counted
    attached = adapter.attach(model, parts)
    before = tensors_alive()
    trainable = grouped(attached, {"unet": 1e-4}, optimizer, model)
    latents, condition = torch.zeros(1, 4, 8, 8), {"hidden": torch.zeros(1, 77, 32)}
    for _ in range(2):
        model.predict(latents, torch.tensor([5]), condition).square().mean().backward()
        found = tensors_alive() - before  # with gradients, if they are kept
        trainable.optimizer.step()
        found = max(found, tensors_alive() - before)
        trainable.optimizer.zero_grad()
    numbers = adapter.size(footprint, parts)
    wanted = numbers * adapter.bytes_each(optimizer.states, bytes_of_weight)
    print(f"{form}, {optimizer.name}: {found} bytes, forecast {wanted:.0f}")
    assert found == pytest.approx(wanted, rel=0.05, abs=50_000)
    attached.detach()


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "adapter",
    [
        Hypernetwork(),
        Hypernetwork(structure=(1, 2, 2, 1), activation="mish"),
        Hypernetwork(structure=(1, 1.5, 1), activation="relu", layer_norm=True),
        *(Hypernetwork(activation=each) for each in get_args(get_type_hints(Hypernetwork)["activation"])),  # type: ignore[arg-type]
    ],
)
def test_the_memory_of_a_hypernetworks_activations(adapter: Hypernetwork, tmp_path: Path) -> None:
    """What its networks save for the backward pass, counted as torch saves it, for a picture of 512 px."""
    base = SD15.tiny(tmp_path / "base")
    model, footprint = base.load("cpu", "bf16"), base.footprint()
    assert footprint is not None
    attached = adapter.attach(model, ["unet"])
    ours = {each.untyped_storage()._cdata for each in attached.parameters()["unet"]}
    sizes: dict[int, int] = {}
    alive = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    forward = ContextNet.forward

    def counted(net: ContextNet, context: torch.Tensor) -> torch.Tensor:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            return forward(net, context)

    latents, condition = torch.zeros(1, 4, 64, 64), {"hidden": torch.zeros(1, 77, 32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContextNet, "forward", counted)
        model.predict(latents, torch.tensor([5]), condition)
    attached.detach()
    wanted = adapter.activations(footprint, ["unet"]) * 512**2
    print(f"{adapter}: {sum(sizes.values())} bytes, forecast {wanted:.0f}")
    assert sum(sizes.values()) == pytest.approx(wanted, rel=0.03)


def test_a_hypernetwork_needs_more_memory_with_larger_networks(tmp_path: Path) -> None:
    base = published.base("sd15", tmp_path / "base")
    pictures = []
    for structure in ((1, 2, 1), (1, 4, 1)):
        train = Train(dataset=Ref("a"), adapter=Hypernetwork(structure=structure), precision="bf16")  # type: ignore[arg-type]
        found = memory(train, base, 512**2)
        assert found is not None
        pictures.append(found.pictures)
    plain = SD15.activations.kept * 512**2
    assert 1.2 * plain < pictures[0] < pictures[1] < 2.5 * plain
