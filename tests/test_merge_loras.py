"""Adapters to one adapter, and from format to format: ΔW stays what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_merge import drawn, saved
from torch import Tensor

from lorapipe import formats
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.inspection import inspect
from lorapipe.lora_tools.adapter_sum import base_weight, summed
from lorapipe.lora_tools.weighted_adapters import Strengths, WeightedFile, read_adapters
from lorapipe.models import Model
from lorapipe.models.sd15 import SD15
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.lora import LoRA

OTHERS: dict[str, Adapter] = {
    "loha": LoHa(rank=2), "lokr": LoKr(rank=2, factor=4), "full": Full(), "dora": LoRA(rank=2, dora=True),
    "norms": LoCon(rank=2, norms=True),
}  # fmt: skip


def added(base: SD15, files: list[tuple[Path, Strengths]], rank: int | None = None) -> tuple[AdapterWeights, Any]:
    adapters = read_adapters([WeightedFile(*each) for each in files], base, base.module_names())
    return summed(adapters, base, rank, base_weight(base))


def delta(weights: AdapterWeights, model: Model, place: tuple[str, str], strength: float) -> Tensor:
    """Return strength · ΔW in float64, from the formula of the module's algorithm on the base's W."""
    module = weights.modules.get(place) or weights.modules.get((place[0], f"text_model.{place[1]}"))
    weight = model.part(place[0]).get_submodule(place[1]).weight.detach()
    if module is None:
        return torch.zeros_like(weight)
    return strength * module.delta(weight).reshape(weight.shape)


def test_loras_of_different_ranks_are_added_exactly(base: SD15, model: Model, tmp_path: Path) -> None:
    first, second = drawn(LoCon(rank=4, alpha=1.0, conv_rank=2), model), drawn(LoRA(rank=3), model, 1)
    files = [(saved(first, model, tmp_path / "a.safetensors"), Strengths(0.8)),
             (saved(second, model, tmp_path / "b.safetensors"), Strengths(-0.5, 0.25))]  # fmt: skip
    total, report = added(base, files)
    assert report.error == 0 and total.algorithms == ("lora",)
    assert {module.rank for module in total.modules.values()} == {2, 4, 7}
    for place, module in total.modules.items():
        text = place[0] != "unet"
        wanted = delta(first, model, place, 0.8) + delta(second, model, place, 0.25 if text else -0.5)
        assert torch.allclose(module.delta().reshape(wanted.shape), wanted, atol=1e-6)
        assert module.alpha == module.rank


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_are_added_as_they_are_used(kind: str, base: SD15, model: Model, tmp_path: Path) -> None:
    first, second = drawn(LoRA(rank=4), model), drawn(OTHERS[kind], model, 1)
    files = [(saved(first, model, tmp_path / "a.safetensors"), Strengths(0.8)),
             (saved(second, model, tmp_path / "b.safetensors"), Strengths(0.5))]  # fmt: skip
    total, report = added(base, files)
    assert report.error == 0
    for place, module in total.modules.items():
        wanted = delta(first, model, place, 0.8) + delta(second, model, place, 0.5)
        assert torch.allclose(module.delta().reshape(wanted.shape), wanted, atol=1e-5), place
    if kind == "full":
        biases = [module.delta_bias() for module in total.modules.values()]
        assert any(bias is not None and bool(bias.any()) for bias in biases)


@pytest.mark.parametrize("other", ["lora", "loha"])
def test_re_compression_is_the_best_of_its_rank(other: str, base: SD15, model: Model, tmp_path: Path) -> None:
    kinds = {"lora": LoRA(rank=5), "loha": LoHa(rank=2)}
    first, second = drawn(LoRA(rank=4), model), drawn(kinds[other], model, 1)
    files = [(saved(first, model, tmp_path / "a.safetensors"), Strengths(0.8)),
             (saved(second, model, tmp_path / "b.safetensors"), Strengths(0.5))]  # fmt: skip
    total, report = added(base, files, rank=3)
    lost = whole = 0.0
    for place, module in total.modules.items():
        wanted = (delta(first, model, place, 0.8) + delta(second, model, place, 0.5)).flatten(1).double()
        values = torch.linalg.svdvals(wanted)
        apart = (module.delta().reshape(wanted.shape).double() - wanted).norm()
        assert module.rank == 3 and torch.allclose(apart, values[3:].norm(), rtol=1e-4, atol=1e-6)
        lost, whole = lost + float(values[3:].square().sum()), whole + float(values.square().sum())
    assert report.error == pytest.approx((lost / whole) ** 0.5, rel=1e-5)


def test_what_depends_on_the_base_needs_one(model: Model, tmp_path: Path) -> None:
    from lorapipe.lora_tools.published_base import _pending

    adapters = read_adapters([], _pending("sd15"), {})
    assert adapters == []
    with pytest.raises(InputError, match="no base is given"):
        base_weight(_pending("sd15"))(("unet", "conv_in"), "weight")


# ------------------------------------------------------------------------------------------------- the command line

NAME = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"


def written(path: Path, seed: int, rank: int = 2, **metadata: str) -> Path:
    """Write a LoRA of two of SD1.5's modules."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, out, inputs in ((NAME, 320, 768), (TEXT, 3072, 768)):
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, inputs, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(out, rank, generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path, {"ss_base_model_version": "sd_v1", **metadata})
    return path


def product(tensors: dict[str, Tensor], name: str) -> Tensor:
    down, up = tensors[f"{name}.lora_down.weight"].float(), tensors[f"{name}.lora_up.weight"].float()
    return float(tensors[f"{name}.alpha"]) / down.shape[0] * up @ down


def test_the_command_adds_loras_and_tells_the_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trigger = {"modelspec.trigger_phrase": "neon"}
    first, second = written(tmp_path / "a.safetensors", 1), written(tmp_path / "b.safetensors", 2, 4, **trigger)
    to = tmp_path / "ab.safetensors"
    assert main(["merge", f"{first}:0.8", f"{second}:0.5,text=0", "--to", str(to), "--set", "dtype=fp32"]) == 0
    assert "2 modules of rank 6, exact" in capsys.readouterr().out
    one, two, both = load_file(first), load_file(second), load_file(to)
    wanted = 0.8 * product(one, NAME) + 0.5 * product(two, NAME)
    assert torch.allclose(product(both, NAME), wanted, atol=1e-5)
    assert torch.allclose(product(both, TEXT), 0.8 * product(one, TEXT), atol=1e-5)
    with safe_open(to, framework="pt") as file:
        metadata = file.metadata()
    weights = [each["weight"] for each in json.loads(metadata["lorapipe_merge"])["parts"]]
    assert weights == ["0.8", "0.5,text=0"] and metadata["modelspec.trigger_phrase"] == "neon"
    assert metadata["ss_network_dim"] == "6" and metadata["ss_network_module"] == "networks.lora"
    assert main(["merge", f"{first}:0.8", "--to", str(tmp_path / "c.pt")]) == 2
    assert main(["merge", str(first), str(tmp_path / "gone.safetensors"), "--to", str(tmp_path / "c.safetensors")]) == 2


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("format", ["diffusers", "peft"])
def test_a_lora_comes_back_from_every_format(format: str, dtype: str, tmp_path: Path) -> None:
    first = written(tmp_path / "a.safetensors", 1, 4, ss_tag_frequency='{"a": {"cat": 3}}')
    there = tmp_path / ("there" if format == "peft" else "there.safetensors")
    assert main(["convert", str(first), "--format", format, "--to", str(there), "--set", f"dtype={dtype}"]) == 0
    assert inspect(there).report.formats == (format,)
    back = tmp_path / "back.safetensors"
    assert main(["convert", str(there), "--to", str(back), "--set", "dtype=fp32"]) == 0
    one, other = load_file(first), load_file(back)
    margin = {"fp32": 1e-6, "fp16": 2**-10, "bf16": 2**-7}[dtype]  # two factors, rounded by half a unit each
    for name in (NAME, TEXT):
        assert (product(one, name) - product(other, name)).abs().max() < margin * product(one, name).abs().max()
    if format == "diffusers":
        assert inspect(back).report.tags == {"cat": 3}


@pytest.mark.parametrize("kind", ["loha", "lokr", "full", "norms"])
def test_what_a_format_has_no_place_for_is_said_with_a_cure(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {
        "loha": {f"hada_w{n}_{s}": torch.ones(320, 2) if s == "a" else torch.ones(2, 768) for n in (1, 2) for s in "ab"},
        "lokr": {"lokr_w1": torch.ones(8, 8), "lokr_w2": torch.ones(40, 96)},
        "full": {"diff": torch.ones(320, 768)},
        "norms": {"w_norm": torch.ones(320)},
    }[kind]  # fmt: skip
    name = NAME if kind != "norms" else "lora_unet_down_blocks_0_attentions_0_norm"
    path = tmp_path / "a.safetensors"
    save_file({f"{name}.{suffix}": tensor.contiguous() for suffix, tensor in tensors.items()} | {
        f"{TEXT}.lora_down.weight": torch.ones(2, 768), f"{TEXT}.lora_up.weight": torch.ones(3072, 2)}, path)  # fmt: skip
    before = formats.open(path, SD15.module_names(_sd15()))
    code = main(["convert", str(path), "--format", "peft", "--to", str(tmp_path / "folder")])
    told = capsys.readouterr().err
    assert code == 0 or "--set convert=lora" in told
    assert main(["convert", str(path), "--to", str(tmp_path / "own.safetensors")]) == 0
    after = formats.open(tmp_path / "own.safetensors", SD15.module_names(_sd15()))
    assert after.modules.keys() == before.modules.keys()
    for place, module in before.modules.items():
        assert torch.allclose(after.modules[place].delta(), module.delta())


def _sd15() -> Any:
    from lorapipe.lora_tools.published_base import _pending

    return _pending("sd15")


def test_a_conversion_to_a_lora_tells_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    diff = torch.randn(320, 4, generator=torch.Generator().manual_seed(0)) @ torch.ones(4, 768)
    save_file({f"{NAME}.diff": diff}, path)
    to = tmp_path / "b.safetensors"
    assert main(["convert", str(path), "--to", str(to), "--set", "convert=lora", "--set", "convert_rank=2"]) == 0
    assert torch.allclose(product(load_file(to), NAME), diff, atol=1e-5 * float(diff.abs().max()))
    assert main(["convert", str(path), "--to", str(path)]) == 2
    assert "is the file itself" in capsys.readouterr().err


def test_a_file_that_is_not_as_computed_never_appears(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In bf16, which has 8 bits, the sum is right; in fp16 a factor of a million has no place."""
    first = written(tmp_path / "a.safetensors", 1)
    tensors = load_file(first)
    tensors[f"{NAME}.lora_up.weight"] *= 1e6
    tensors[f"{NAME}.lora_down.weight"] *= 1e3
    save_file(tensors, tmp_path / "large.safetensors")
    command = ["merge", str(tmp_path / "large.safetensors"), str(first), "--to", str(tmp_path / "sum.safetensors")]
    assert main(command) != 0
    assert "fp32" in capsys.readouterr().err
    assert {file.name for file in tmp_path.iterdir()} == {"a.safetensors", "large.safetensors"}
    assert main([*command, "--set", "dtype=fp32"]) == 0
