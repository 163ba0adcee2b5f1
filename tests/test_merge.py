"""Adapters into checkpoints: the same weights as diffusers' and an independent sum, and everything else untouched."""

from __future__ import annotations

import copy
import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import ends
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorapipe import formats
from lorapipe.cli import main
from lorapipe.errors import InputError, Interrupted
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.formats.kohya import Kohya
from lorapipe.lora_tools.checkpoint_merge import merge_adapters
from lorapipe.lora_tools.checkpoint_sum import WeightedBase, merge_checkpoints
from lorapipe.lora_tools.weighted_adapters import Strengths, WeightedFile
from lorapipe.models import Checkpoint, Family, Model, Saving
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.delivery_log import is_as_exported
from lorapipe.pipeline.execution.runner import Run
from lorapipe.spec import Source
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.glora import GLoRA
from lorapipe.training.adapters.ia3 import IA3
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.adapters.oft import OFT
from pipelines import pipeline_of

KINDS: dict[str, Adapter] = {
    "locon": LoCon(rank=4, alpha=2.0, conv_rank=2, norms=True), "loha": LoHa(rank=2, preset="full"),
    "lokr": LoKr(rank=2, factor=4), "dora": LoRA(rank=2, dora=True), "oft": OFT(block_size=4), "ia3": IA3(),
    "glora": GLoRA(rank=2), "full": Full(),
}  # fmt: skip
REGISTRY: Any = Family.registry
Usage = namedtuple("Usage", "total used free")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def drawn(adapter: Adapter, model: Model, seed: int = 0, size: float = 0.1) -> AdapterWeights:
    """Return an adapter with random weights, as after a training."""
    attached = adapter.attach(model, model.trainable)
    generator = torch.Generator().manual_seed(seed)
    for parameter in (each for found in attached.parameters().values() for each in found):
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * size)
    learned = attached.learned()
    attached.detach()
    return learned


def saved(weights: AdapterWeights, model: Model, path: Path) -> Path:
    formats.save(weights, model.kohya_names(), path, Kohya())
    return path


def single_file(base: Family, model: Model, path: Path, dtype: Any = "fp16") -> Family:
    """Return the base as a single file, with keys that belong to no part."""
    model.save_checkpoint(path, "single_file", Saving({}, dtype, lambda digest: {}))
    more = {"model_ema.decay": torch.tensor(0.999), "alphas_cumprod": torch.linspace(1, 0, 1000, dtype=torch.float64)}
    save_file({**load_file(path), **more}, path, {"modelspec.title": "Old", "modelspec.hash_sha256": "0xff"})
    return replace(base, checkpoint=Checkpoint(path), config=Source(base.checkpoint.path))


def weight_of(model: Model, place: tuple[str, str], kind: str = "weight") -> Tensor:
    found: Tensor = getattr(model.part(place[0]).get_submodule(place[1]), kind).detach()
    return found


@pytest.fixture(scope="module", params=["sd15", "sd2", "sdxl"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return REGISTRY.get(request.param).tiny(tmp_path_factory.mktemp(request.param) / "base")


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_every_weight_is_the_sum_in_fp32_rounded_once_and_all_else_keeps_its_bytes(
    family: Family, tmp_path: Path, dtype: str
) -> None:
    model = family.load("cpu")
    base = single_file(family, model, tmp_path / "base.safetensors", dtype)
    files, learned = [], []
    for seed, strengths in enumerate([Strengths(0.8, 0.5), Strengths(-0.3)]):
        learned.append(drawn(KINDS["locon"], model, seed))
        files.append(WeightedFile(saved(learned[-1], model, tmp_path / f"{seed}.safetensors"), strengths))
    merge_adapters(base, files, tmp_path / "merged.safetensors")
    before, after = load_file(tmp_path / "base.safetensors"), load_file(tmp_path / "merged.safetensors")
    assert before.keys() == after.keys()
    places, changed = base.tensor_places(), set()
    for (part, path), module in learned[0].modules.items():
        other, tensors = learned[1].modules[part, path], dict(module.tensors)
        place = places[part, f"{path.removeprefix('text_model.')}.weight"]
        own = before[place.key].chunk(place.slices)[place.slice_index]
        first, second = (0.8, -0.3) if part == family.denoiser else (0.5, -0.3)
        wanted = own.float()
        for strength, each in ((first, module), (second, other)):
            wanted = wanted + strength * plain_delta(each).reshape(own.shape)
        found = after[place.key].chunk(place.slices)[place.slice_index]
        assert torch.equal(found, wanted.to(DTYPES[dtype])), (part, path)
        assert tensors
        changed |= {place.key} | ({place.key.removesuffix("weight") + "bias"} if module.algorithm == "norm" else set())
    for key in before.keys() - changed:
        assert before[key].dtype == after[key].dtype and torch.equal(before[key], after[key]), key
    assert {"model_ema.decay", "alphas_cumprod"} <= before.keys() - changed


def plain_delta(module: ModuleWeights) -> Tensor:
    """Return ΔW of a LoCon's module by its published formula, in float32."""
    tensors = {name: tensor.float() for name, tensor in module.tensors.items()}
    if module.algorithm == "norm":
        return tensors["weight"]
    rank = tensors["down"].shape[0]
    return module.alpha / rank * (tensors["up"].flatten(1) @ tensors["down"].flatten(1))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_any_kind_is_merged(kind: str, base: SD15, model: Model, tmp_path: Path) -> None:
    """Also in a folder, whose layout stays."""
    learned = drawn(KINDS[kind], model)
    file = WeightedFile(saved(learned, model, tmp_path / "a.safetensors"), Strengths(0.7))
    found = merge_adapters(base, [file], tmp_path / "merged")
    assert found.layers == len(learned.modules)
    merged = replace(base, checkpoint=Checkpoint(tmp_path / "merged")).load("cpu")
    for place, module in learned.modules.items():
        own = weight_of(model, place)
        wanted = own + 0.7 * module.delta(own).reshape(own.shape)
        assert torch.equal(weight_of(merged, place), wanted)
        assert not torch.equal(wanted, own)
        bias = getattr(model.part(place[0]).get_submodule(place[1]), "bias", None)
        moved = module.delta_bias(bias)
        if bias is not None and moved is not None:
            assert torch.equal(weight_of(merged, place, "bias"), bias + 0.7 * moved)


def test_the_weights_are_those_of_diffusers_fuse_lora(base: SD15, model: Model, tmp_path: Path) -> None:
    learned = drawn(LoRA(rank=4, alpha=2.0), model)
    path = saved(learned, model, tmp_path / "a.safetensors")
    merge_adapters(base, [WeightedFile(path, Strengths(0.6))], tmp_path / "merged")
    pipeline = pipeline_of(copy.deepcopy(model))
    pipeline.load_lora_weights(path)
    pipeline.fuse_lora(lora_scale=0.6)
    pipeline.unload_lora_weights()
    theirs = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    merged = replace(base, checkpoint=Checkpoint(tmp_path / "merged")).load("cpu")
    for part, module in theirs.items():
        own = dict(merged.part(part).named_parameters())
        for name, tensor in module.named_parameters():
            assert torch.allclose(own[name], tensor, atol=1e-6), (part, name)
    assert any(not torch.equal(tensor, dict(model.part("unet").named_parameters())[name])
               for name, tensor in merged.part("unet").named_parameters())  # fmt: skip


OF_LYCORIS: dict[str, Adapter] = {
    "locon": LoCon(rank=4, alpha=2.0, conv_rank=2, conv_alpha=1.0), "loha": LoHa(rank=2, alpha=2.0, preset="full"),
    "lokr": LoKr(rank=2, alpha=2.0, factor=4), "dora": LoRA(rank=2, dora=True, dora_axis="output"), "full": Full(),
    "oft": OFT(block_size=4), "glora": GLoRA(rank=2),
}  # fmt: skip
"""LoHa and LoKr with alpha = rank: LyCORIS 4.1.3 multiplies by alpha / rank twice when it merges them; its (IA)³ cannot be
merged from a file. Of a DoRA it takes a part of the magnitudes' change alone, where we and ComfyUI take one of ΔW."""


@pytest.mark.parametrize(
    ("kind", "strength"), [(kind, each) for kind in OF_LYCORIS for each in (1.0, 0.6) if (kind, each) != ("dora", 0.6)]
)
def test_the_weights_are_those_of_lycoris_merge(
    kind: str, strength: float, base: SD15, model: Model, tmp_path: Path
) -> None:
    lycoris = pytest.importorskip("lycoris.utils")
    path = saved(drawn(OF_LYCORIS[kind], model), model, tmp_path / "a.safetensors")
    merge_adapters(base, [WeightedFile(path, Strengths(strength))], tmp_path / "merged")
    theirs = copy.deepcopy(model)
    text = torch.nn.ModuleDict({"text_model": theirs.part("text_encoder")})  # as its paths are in files
    lycoris.merge([text], theirs.part("unet"), load_file(path), strength)
    ours = replace(base, checkpoint=Checkpoint(tmp_path / "merged")).load("cpu")
    changed = set()
    for part in model.trainable:
        before, found = (dict(each.part(part).named_parameters()) for each in (model, ours))
        for name, tensor in theirs.part(part).named_parameters():
            assert torch.allclose(found[name], tensor, rtol=1e-5, atol=1e-6), (part, name)
            if not torch.equal(tensor, before[name]):
                changed.add(part)
    assert changed == {*model.trainable}


def test_blocks_have_their_own_strengths(base: SD15, model: Model, tmp_path: Path) -> None:
    learned = drawn(LoRA(rank=2), model)
    path = saved(learned, model, tmp_path / "a.safetensors")
    blocks = tuple(float(number % 3) for number in range(model.blocks))
    merge_adapters(base, [WeightedFile(path, Strengths(0.5, 0.0, blocks))], tmp_path / "merged")
    merged = replace(base, checkpoint=Checkpoint(tmp_path / "merged")).load("cpu")
    refs = {ref.path: ref for ref in model.modules("unet")}
    for place, module in learned.modules.items():
        own = weight_of(model, place)
        block = refs[place[1]].block if place[0] == "unet" else None
        factor = 0.5 * blocks[block] if block is not None else 0.0
        wanted = own + factor * module.delta().reshape(own.shape) if factor else own
        assert torch.equal(weight_of(merged, place), wanted)
    with pytest.raises(InputError, match="2 strengths by block, but the base has"):
        merge_adapters(base, [WeightedFile(path, Strengths(1.0, None, (1.0, 0.0)))], tmp_path / "no")


def test_a_pickled_checkpoint_becomes_safetensors(base: SD15, model: Model, tmp_path: Path) -> None:
    single = single_file(base, model, tmp_path / "base.safetensors", "fp32")
    torch.save({"state_dict": load_file(tmp_path / "base.safetensors")}, tmp_path / "base.ckpt")
    path = saved(drawn(LoRA(rank=2), model), model, tmp_path / "a.safetensors")
    for name in ("base.safetensors", "base.ckpt"):
        pickled = replace(single, checkpoint=Checkpoint(tmp_path / name))
        merge_adapters(pickled, [WeightedFile(path, Strengths())], tmp_path / f"{name}.out.safetensors")
    one, other = (load_file(tmp_path / f"base.{kind}.out.safetensors") for kind in ("safetensors", "ckpt"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_metadata_tells_the_mix_and_the_file_counts_as_ours(base: SD15, model: Model, tmp_path: Path) -> None:
    single = single_file(base, model, tmp_path / "base.safetensors")
    path = saved(drawn(LoRA(rank=2), model), model, tmp_path / "neon.safetensors")
    merge_adapters(
        single, [WeightedFile(path, Strengths(0.8, 0.5))], tmp_path / "m.safetensors", title="New", dtype="fp32"
    )
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        metadata = file.metadata()
        assert {file.get_slice(key).get_dtype() for key in file.keys()} <= {"F32", "I64"}  # noqa: SIM118
    parts = json.loads(metadata["lorapipe_merge"])["parts"]
    assert parts == [
        {"file": "base.safetensors", "weight": "base"},
        {"file": "neon.safetensors", "weight": "0.8,text=0.5"},
    ]
    assert metadata["modelspec.title"] == "New" and metadata["modelspec.hash_sha256"] != "0xff"
    assert is_as_exported(tmp_path / "m.safetensors")


def test_everything_that_is_wrong_is_said_at_once(base: SD15, model: Model, tmp_path: Path) -> None:
    sdxl = {f"lora_te2_text_model_encoder_layers_0_mlp_fc1.{suffix}": torch.ones(2, 2)
            for suffix in ("lora_down.weight", "lora_up.weight")}  # fmt: skip
    save_file(sdxl, tmp_path / "xl.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0{")
    files = [
        WeightedFile(tmp_path / name, Strengths()) for name in ("xl.safetensors", "cut.safetensors", "no.safetensors")
    ]
    with pytest.raises(InputError) as caught:
        merge_adapters(base, files, tmp_path / "out")
    text = "\n".join(map(str, caught.value.problems))
    assert "xl.safetensors: is made for SDXL, and the base is SD1.x. Take a base of SDXL" in text
    assert "cut.safetensors: is not a whole safetensors file" in text and "no.safetensors: cannot be read" in text
    assert not (tmp_path / "out").exists()


def test_numbers_beyond_fp16_are_refused(base: SD15, model: Model, tmp_path: Path) -> None:
    single = single_file(base, model, tmp_path / "base.safetensors")
    path = saved(drawn(LoRA(rank=2), model, size=400.0), model, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="write dtype: bf16 or fp32"):
        merge_adapters(single, [WeightedFile(path, Strengths())], tmp_path / "out.safetensors")
    assert {file.name for file in tmp_path.iterdir()} == {"base.safetensors", "a.safetensors"}


def test_a_stop_and_a_full_disk_leave_nothing_behind(
    base: SD15, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(drawn(LoRA(rank=2), model), model, tmp_path / "a.safetensors")
    single = single_file(base, model, tmp_path / "base.safetensors")

    def stop(done: int, total: int) -> None:
        assert total > 0
        if done > total // 3:
            raise Interrupted("Stopped.")

    for each, name in ((single, "out.safetensors"), (base, "out")):
        with pytest.raises(Interrupted):
            merge_adapters(each, [WeightedFile(path, Strengths())], tmp_path / name, tell=stop)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 1000))
            with pytest.raises(InputError, match="GB are free on the disk of"):
                merge_adapters(each, [WeightedFile(path, Strengths())], tmp_path / name)
    assert {file.name for file in tmp_path.iterdir()} == {"base.safetensors", "a.safetensors"}


PIPELINE = """\
stages:
  merged: {uses: merge, base: {family: sd15, checkpoint: base}, adapters: [{file: a.safetensors, strength: 0.5}]}
  mixed: {uses: merge_checkpoints, base: {family: sd15, checkpoint: base}, others: [{checkpoint: $merged, weight: 0.5}]}
  dataset: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: $mixed}, duplicate_tolerance: 0}
  train: {uses: train, dataset: $dataset, adapter: {type: lora, rank: 2}, steps: 2, snapshots: 1, text_encoder_lr: 0}
  sum: {uses: merge_loras, base: {family: sd15, checkpoint: $mixed}, adapters: [{file: $train}, {file: a.safetensors}]}
  file: {uses: export, weights: $sum, to: out/sum.safetensors}
  baked: {uses: merge, base: {family: sd15, checkpoint: $mixed}, adapters: [{file: $sum}], to: out/baked}
"""


def test_stages_make_bases_and_adapters_for_each_other(base: SD15, model: Model, tmp_path: Path) -> None:
    import tiny

    shutil.copytree(base.checkpoint.path, tmp_path / "base")
    tiny.draw(tmp_path / "pictures")
    learned = drawn(LoRA(rank=2), model)
    saved(learned, model, tmp_path / "a.safetensors")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")

    def go() -> dict[str, str]:
        return ends([*Run(loader.load(tmp_path / "pipeline.yaml"), on="inline")])

    names = ["merged", "mixed", "dataset", "train", "sum", "file", "baked"]
    assert go() == dict.fromkeys(names, "finished") and go() == dict.fromkeys(names, "reused")
    baked = replace(base, checkpoint=Checkpoint(tmp_path / "out" / "baked")).load("cpu")
    place, module = next((place, each) for place, each in learned.modules.items() if place[0] == "text_encoder")
    own = weight_of(
        model, place
    )  # the text encoder was not trained: 0.25 of the LoRA in the mix, and once more as a whole
    assert torch.allclose(weight_of(baked, place), own + 1.25 * module.delta(), atol=1e-5)
    with safe_open(tmp_path / "out" / "sum.safetensors", framework="pt") as file:
        assert "a.safetensors" in file.metadata()["lorapipe_merge"]


# ----------------------------------------------------------------------------------------------- checkpoints themselves


def test_checkpoints_are_mixed_and_differences_added(family: Family, tmp_path: Path) -> None:
    """In the first's layout, whatever that of the others is."""
    models = [family.load("cpu")]
    folders = [family]
    for seed in (1, 2):
        folders.append(type(family).tiny(tmp_path / f"other{seed}", seed=seed))
        models.append(folders[-1].load("cpu"))
    first = single_file(family, models[0], tmp_path / "first.safetensors", "fp32")
    third = single_file(folders[2], models[2], tmp_path / "third.safetensors", "fp32")
    cases = {"sum": (0.3, 0.0), "difference": (0.8, -0.8)}
    for name, (w1, w2) in cases.items():
        others = [WeightedBase(folders[1], w1), *([WeightedBase(third, w2)] if w2 else [])]
        for base, target in ((first, f"{name}.safetensors"), (family, name)):
            merge_checkpoints(base, others, tmp_path / target)
            merged = replace(base, checkpoint=Checkpoint(tmp_path / target)).load("cpu")
            for part in (*models[0].trainable, "vae"):
                states = [model.part(part).state_dict() for model in models]
                for key, tensor in merged.part(part).state_dict().items():
                    if not tensor.is_floating_point():
                        continue
                    wanted = (1 - w1 - w2) * states[0][key] + w1 * states[1][key] + w2 * states[2][key]
                    assert torch.allclose(tensor, wanted, atol=1e-5), (name, target, part, key)
    assert load_file(tmp_path / "sum.safetensors")["model_ema.decay"] == torch.tensor(0.999)


def test_checkpoints_of_two_families_are_not_mixed(base: SD15, model: Model, tmp_path: Path) -> None:
    other = REGISTRY.get("sdxl").tiny(tmp_path / "xl")
    with pytest.raises(InputError, match="Merge checkpoints of one family"):
        merge_checkpoints(base, [WeightedBase(other, 0.5)], tmp_path / "out")


# ---------------------------------------------------------------------------------------------------- the command line


def test_the_command_merges_by_what_the_files_are(
    base: SD15, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base.checkpoint.path, "base")
    learned = drawn(LoRA(rank=2), model)
    saved(learned, model, tmp_path / "a.safetensors")
    assert main(["merge", "base", "a.safetensors:0.8,text=0", "--to", "merged", "--quiet"]) == 0
    merged = replace(base, checkpoint=Checkpoint(tmp_path / "merged")).load("cpu")
    for place, module in learned.modules.items():
        own = weight_of(model, place)
        wanted = own + 0.8 * module.delta().reshape(own.shape) if place[0] == "unet" else own
        assert torch.equal(weight_of(merged, place), wanted)
    assert main(["merge", "base", "merged:0.25", "--to", "mixed"]) == 0
    assert "0.75 + 0.25" in capsys.readouterr().out
    assert main(["merge", "base", "merged:0.25", "--to", "mixed"]) == 2  # it is there
    assert main(["merge", "a.safetensors", "base", "--to", "x"]) == 2
    assert main(["merge", "base:0.5", "a.safetensors", "--to", "x"]) == 2
    assert main(["merge", "base:0.5", "merged:0.2", "--to", "x"]) == 2
    assert main(["merge", "base", "a.safetensors", "--to", "x", "--set", "dtype=fp8"]) == 2
    told = capsys.readouterr().err
    for words in ("add --force", "Name one base, first", "it has no strength", "sum is 0.7, not 1", "--set dtype"):
        assert words in told
    assert {file.name for file in tmp_path.iterdir()} == {"base", "a.safetensors", "merged", "mixed"}


@pytest.mark.parametrize(
    ("text", "path", "numbers"),
    [
        ("C:\\loras\\penny.safetensors:0.8", "C:\\loras\\penny.safetensors", (0.8, None, ())),
        ("C:\\loras\\penny.safetensors", "C:\\loras\\penny.safetensors", (None, None, ())),
        ("penny.safetensors:-.5,text=0", "penny.safetensors", (-0.5, 0.0, ())),
        ("penny.safetensors:text=1e-1", "penny.safetensors", (None, 0.1, ())),
        ("a:1,blocks=0/1/0.5", "a", (1.0, None, (0.0, 1.0, 0.5))),
        ("a:b.safetensors", "a:b.safetensors", (None, None, ())),
        ("penny.safetensors:", "penny.safetensors:", (None, None, ())),
    ],
)
def test_strengths_are_read_from_the_right(text: str, path: str, numbers: tuple[Any, ...]) -> None:
    from lorapipe.commands._weighted_file import weighted_path

    assert weighted_path(text) == (path, *numbers)
