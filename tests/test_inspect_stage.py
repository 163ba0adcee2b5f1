"""The `inspect` stage: the same report as the command's, of files and of a stage's weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorapipe
from lorapipe.errors import InputError
from lorapipe.inspection import inspect
from lorapipe.pipeline.artifacts import FileReport

NAME = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(path: Path, rank: int = 4, value: float = 0.1) -> Path:
    tensors = {
        f"{NAME}.lora_down.weight": torch.full((rank, 768), value),
        f"{NAME}.lora_up.weight": torch.full((32, rank), 0.1),
        f"{NAME}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, path)
    return path


def reported(folder: Path, text: str) -> tuple[FileReport, list[str]]:
    (folder / "p.yaml").write_text(f"stages:\n{text}", encoding="utf-8")
    told = list[str]()
    run = lorapipe.Run(lorapipe.load(folder / "p.yaml"), on="inline", devices=["cpu"])
    found = run.finish(lambda event: told.append(getattr(event, "text", "")))["what"]
    assert isinstance(found, FileReport)
    return found, told


def test_a_file_is_described_as_by_the_command(tmp_path: Path) -> None:
    file = lora(tmp_path / "style.safetensors")
    found, told = reported(tmp_path, "  what: {uses: inspect, lora: style.safetensors, readers: [a1111, diffusers]}\n")
    expected = inspect(file, ["a1111", "diffusers"])
    assert found.text.read_text(encoding="utf-8") == expected.as_text() + "\n"
    data = json.loads(found.data.read_text(encoding="utf-8"))
    assert data["ranks"] == {"4": 1} and [each["reader"] for each in data["readers"]] == ["a1111", "diffusers"]
    assert expected.as_text().splitlines()[0] in told


def test_weights_of_a_stage_are_described(tmp_path: Path) -> None:
    lora(tmp_path / "style.safetensors", rank=8)
    base = "{family: sd15, checkpoint: pocket}"
    slim = f"  slim: {{uses: resize, lora: style.safetensors, base: {base}, rank: 1}}\n"
    found, _ = reported(tmp_path, slim + "  what: {uses: inspect, lora: $slim}\n")
    assert json.loads(found.data.read_text(encoding="utf-8"))["ranks"] == {"1": 1}


def test_damage_is_told_and_stops_nothing(tmp_path: Path) -> None:
    lora(tmp_path / "style.safetensors", value=float("nan"))
    found, told = reported(tmp_path, "  what: {uses: inspect, lora: style.safetensors}\n")
    problems = json.loads(found.data.read_text(encoding="utf-8"))["problems"]
    assert problems and {*problems} <= {*told}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("lora: style.safetensors, readers: [comfy]", "Did you mean 'comfyui'?"),
        ("lora: gone.safetensors", "gone.safetensors"),
    ],
)
def test_mistakes_are_found_before_it_runs(tmp_path: Path, settings: str, told: str) -> None:
    lora(tmp_path / "style.safetensors")
    (tmp_path / "p.yaml").write_text(f"stages:\n  what: {{uses: inspect, {settings}}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        lorapipe.load(tmp_path / "p.yaml")
