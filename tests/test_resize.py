"""Slim LoRAs: the best approximation by singular values, sd-scripts' rules computed by hand, names and metadata kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lorapipe import formats
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, ModuleWeights
from lorapipe.formats._number_types import are_finite, floats, rounded
from lorapipe.formats.diffusers import Diffusers
from lorapipe.formats.kohya import Kohya
from lorapipe.lora_tools.factored_svd import factor_svd
from lorapipe.lora_tools.resize import ResizeRules, resize
from lorapipe.models import Model, ModuleRef
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.stages._merge_inputs import AdapterFile
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.resize import Resize

RANK = 12
DECAY = 0.6 ** torch.arange(RANK)
Kind = Callable[[ModuleRef, torch.Generator], tuple[str, dict[str, torch.Tensor]]]


def lora(ref: ModuleRef, generator: torch.Generator) -> tuple[str, dict[str, torch.Tensor]]:
    out, inputs, *kernel = ref.shape
    down = torch.randn(RANK, inputs, *kernel, generator=generator) * DECAY.reshape(-1, 1, *[1 for _ in kernel])
    return "lora", {"down": down, "up": torch.randn(out, RANK, *[1 for _ in kernel], generator=generator)}


def loha(ref: ModuleRef, generator: torch.Generator) -> tuple[str, dict[str, torch.Tensor]]:
    out, inputs, *kernel = ref.shape
    width = inputs * (kernel[0] ** 2 if kernel else 1)
    sizes = {"w1_a": (out, 2), "w1_b": (2, width), "w2_a": (out, 2), "w2_b": (2, width)}
    return "loha", {name: torch.randn(*size, generator=generator) for name, size in sizes.items()}


def lokr(ref: ModuleRef, generator: torch.Generator) -> tuple[str, dict[str, torch.Tensor]]:
    out, inputs, *kernel = ref.shape
    other = torch.randn(out // 2, inputs // 2, *kernel, generator=generator)
    return "lokr", {"w1": torch.randn(2, 2, generator=generator), "w2": other}


def tucker(ref: ModuleRef, generator: torch.Generator) -> tuple[str, dict[str, torch.Tensor]]:
    out, inputs, *kernel = ref.shape
    if not kernel or kernel[0] == 1:
        return lora(ref, generator)
    shapes = {"down": (4, inputs, 1, 1), "mid": (4, 4, *kernel), "up": (out, 4, 1, 1)}
    return "lora", {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def dense(ref: ModuleRef, generator: torch.Generator) -> tuple[str, dict[str, torch.Tensor]]:
    return "full", {"diff": torch.randn(*ref.shape, generator=generator)}


KOHYA = Kohya()
KINDS: dict[str, Kind] = {"lora": lora, "loha": loha, "lokr": lokr, "tucker": tucker, "full": dense}


def written(model: Model, path: Path, kind: Kind = lora, alpha: float = 6.0, format: Format = KOHYA) -> AdapterWeights:
    """Write an adapter of a kind with 12 modules of the tiny model, and return it."""
    generator, modules = torch.Generator().manual_seed(0), {}
    refs = [("unet", ref) for ref in model.targets("unet", convolutions=format.name == "kohya")[:10]]
    for part, ref in [*refs, *(("text_encoder", ref) for ref in model.targets("text_encoder")[:2])]:
        algorithm, tensors = kind(ref, generator)
        modules[part, ref.path] = ModuleWeights(algorithm, tensors, alpha)
    weights = AdapterWeights(modules)
    told = {
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(alpha),
        "ss_tag_frequency": "{}",
        "sshs_model_hash": "x",
    }
    formats.save(weights, model.kohya_names(), path, format, metadata=lambda tensors: told)
    return weights


def read(path: Path, model: Model) -> AdapterWeights:
    found = formats.open(path, model.kohya_names())
    assert isinstance(found, AdapterWeights)
    return found


def best(delta: torch.Tensor, rank: int) -> torch.Tensor:
    u, values, v = torch.linalg.svd(delta.flatten(1).double(), full_matrices=False)
    return (u[:, :rank] * values[:rank] @ v[:rank]).reshape(delta.shape).float()


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.reshape(wanted.shape) - wanted).norm() / wanted.norm().clamp(min=1e-12))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_the_nearest_lora(kind: str, model: Model, tmp_path: Path) -> None:
    weights = written(model, tmp_path / "wide.safetensors", KINDS[kind])
    report = resize(tmp_path / "wide.safetensors", ResizeRules(3), tmp_path / "slim.safetensors")
    found, lost, whole = read(tmp_path / "slim.safetensors", model), 0.0, 0.0
    assert found.modules.keys() == weights.modules.keys() and found.algorithms == ("lora",)
    for place, module in weights.modules.items():
        delta = module.delta()
        assert error(found.modules[place].delta(), best(delta, 3)) < 1e-4
        assert found.modules[place].rank == 3
        lost += float((best(delta, 3) - delta.reshape(best(delta, 3).shape)).square().sum())
        whole += float(delta.square().sum())
    assert report.error == pytest.approx((lost / whole) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("rule", ["sv_ratio", "sv_fro", "sv_cumulative"])
@pytest.mark.parametrize("like", ["exact", "kohya"])
def test_ranks_are_sd_scripts_computed_by_hand(rule: str, like: str, model: Model, tmp_path: Path) -> None:
    weights = written(model, tmp_path / "wide.safetensors")
    value = {"sv_ratio": 8.0, "sv_fro": 0.95, "sv_cumulative": 0.8}[rule]
    rules = ResizeRules(RANK, like=like, **{rule: value})  # type: ignore[arg-type]
    resize(tmp_path / "wide.safetensors", rules, tmp_path / "slim.safetensors")
    found = read(tmp_path / "slim.safetensors", model)
    seen = set()
    for place, module in weights.modules.items():
        values = torch.linalg.svdvals((module.delta() / module.scale).flatten(1))
        if rule == "sv_ratio":
            index = int(torch.sum(values > values[0] / value))
        elif rule == "sv_fro":
            index = int(torch.searchsorted(values.pow(2).cumsum(0) / values.pow(2).sum(), value**2)) + 1
        else:
            index = int(torch.searchsorted(values.cumsum(0) / values.sum(), value)) + 1
        index = max(1, min(index, len(values) - 1))
        wanted = min(index + 1, RANK) if like == "kohya" else index  # resize_lora.py counts one more
        assert found.modules[place].rank == wanted
        seen.add(wanted)
    assert len(seen) > 1 or rule == "sv_ratio"


def test_the_factors_alone_give_the_singular_values_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(500, 20, generator=generator), torch.randn(20, 300, generator=generator)
    found = factor_svd(up.numpy(), down.numpy(), lambda values: 7)
    values = torch.linalg.svdvals(up.double() @ down.double()).float()
    assert torch.allclose(torch.from_numpy(found.values), values[:7], rtol=2e-6)
    assert error(torch.from_numpy(found.left * found.values @ found.right), best(up @ down, 7)) < 1e-5
    assert found.total == pytest.approx(float(values.double().square().sum()), rel=1e-5)


@pytest.mark.parametrize("format", [Kohya(), Diffusers()], ids=lambda format: format.name)
def test_names_scale_and_metadata_stay(format: Format, model: Model, tmp_path: Path) -> None:
    weights = written(model, tmp_path / "wide.safetensors", format=format)
    resize(tmp_path / "wide.safetensors", ResizeRules(4), tmp_path / "slim.safetensors")
    with safe_open(tmp_path / "wide.safetensors", "pt") as one, safe_open(tmp_path / "slim.safetensors", "pt") as two:
        assert sorted(one.keys()) == sorted(two.keys())
        before, after = one.metadata(), two.metadata()
    found = read(tmp_path / "slim.safetensors", model)
    for place, module in weights.modules.items():
        assert error(found.modules[place].delta(), best(module.delta(), 4)) < 1e-5
        assert format.name != "kohya" or found.modules[place].scale == module.scale
    assert after["ss_network_dim"] == "4" and after["ss_tag_frequency"] == before["ss_tag_frequency"]
    assert float(after["ss_network_alpha"]) == 2.0 and after["sshs_model_hash"] != "x"
    assert json.loads(after["lorapipe_resize"])["rank"] == 4


def test_what_has_no_rank_stays(model: Model, tmp_path: Path) -> None:
    weights = written(model, tmp_path / "wide.safetensors")
    with safe_open(tmp_path / "wide.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    name = next(key for key in tensors if key.endswith("attn1_to_q.lora_down.weight")).partition(".")[0]
    tensors[f"{name}.dora_scale"] = torch.ones(1, tensors[f"{name}.lora_down.weight"].shape[1])
    tensors["lora_unet_mid_block_attentions_0_norm.w_norm"] = torch.ones(64)
    tensors["bundle_emb.penny.string_to_param.*"] = torch.ones(2, 32)
    save_file(tensors, tmp_path / "more.safetensors")
    report = resize(tmp_path / "more.safetensors", ResizeRules(4), tmp_path / "slim.safetensors")
    with safe_open(tmp_path / "slim.safetensors", "pt") as file:
        for key in (
            f"{name}.dora_scale",
            "lora_unet_mid_block_attentions_0_norm.w_norm",
            "bundle_emb.penny.string_to_param.*",
        ):
            assert torch.equal(file.get_tensor(key), tensors[key])
    assert len(report.modules) == len(weights.modules)


def test_the_command_and_its_mistakes(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide, to = tmp_path / "wide.safetensors", ["--to", str(tmp_path / "slim.safetensors")]
    written(model, wide)
    assert main(["resize", str(wide), "--rank", "4", *to]) == 0
    assert "12 modules of rank 4 keep" in capsys.readouterr().out
    assert main(["resize", str(wide), "--rank", "4", "--to", str(wide), "--force"]) == 2
    assert "cannot be written too" in capsys.readouterr().err
    (tmp_path / "slim.safetensors").unlink()
    assert main(["resize", str(wide), "--rank", "50", *to]) == 2
    assert "has no module of a rank above 50 (its largest is 12)" in capsys.readouterr().err
    assert main(["resize", str(wide), "--set", "sv_fro=0.9", "--set", "energy=0.9", "--set", "rank=0", *to]) == 2
    assert "rank" in capsys.readouterr().err
    assert main(["resize", str(wide), "--set", "sv_fro=0.9", "--set", "energy=0.9", *to]) == 2
    assert "all choose ranks" in capsys.readouterr().err
    (tmp_path / "text.safetensors").write_text("<html>", encoding="utf-8")
    assert main(["resize", str(tmp_path / "text.safetensors"), *to]) == 2
    assert "web page" in capsys.readouterr().err
    assert not (tmp_path / "slim.safetensors").exists()
    with pytest.raises(InputError, match="is a folder"):
        resize(tmp_path, ResizeRules(4), tmp_path / "slim.safetensors")


def test_a_lora_is_resized_without_torch(model: Model, tmp_path: Path) -> None:
    """Its import takes more time and memory than the work."""
    written(model, tmp_path / "wide.safetensors")
    words = ["resize", str(tmp_path / "wide.safetensors"), "--rank", "4", "--to", str(tmp_path / "slim.safetensors")]
    probe = "import sys; from lorapipe.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe, *words], capture_output=True, encoding="utf-8", timeout=120)
    assert run.stdout.splitlines()[-1] == "0 False", run.stderr


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_numbers_are_rounded_as_torch_rounds_them(dtype: str) -> None:
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    every = torch.arange(1 << 16).to(torch.int32) << 16  # all values of BF16, then those half way between two
    numbers = torch.cat([bits, every, every + (1 << 15)]).view(torch.float32)
    numbers = numbers[numbers.isfinite()]
    kind = {"F16": torch.float16, "BF16": torch.bfloat16}[dtype]
    found, wanted = rounded(numbers.numpy(), dtype), numbers.to(kind)
    assert np.array_equal(found.view(np.int16), wanted.view(torch.int16).numpy())
    assert are_finite(found, dtype) is bool(wanted.isfinite().all()) is False
    assert np.array_equal(floats(found, dtype), wanted.float().numpy())


def test_one_grid_compares_the_slim_lora_with_the_wide_one(
    base: SD15, model: Model, dataset: Dataset, bench: tiny.Bench, tmp_path: Path
) -> None:
    written(model, tmp_path / "wide.safetensors", alpha=0.05)
    slim = Resize(lora=AdapterFile(tmp_path / "wide.safetensors"), base=dataset.base, rank=4, with_original=True)  # type: ignore[arg-type]
    weights = slim.run(bench.context("slim"))
    assert [each.step for each in weights.snapshots] == [1, 2]
    evaluate = Evaluate(
        weights=weights, dataset=dataset, prompts=("penny, red", "penny, blue"), pictures=1, steps=2, strengths=(1.0,),
        part_strengths=(), low_cfg=None,
    )  # fmt: skip
    report = json.loads(evaluate.run(bench.context("grid")).data.read_text("utf-8"))
    assert {cell["step"] for cell in report["cells"]} >= {1, 2}
