"""Commands that make one file or folder: what they may replace, and LoRAs of the pocket base, which the quickstart makes."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from test_merge import drawn, saved

from lorapipe import formats
from lorapipe.cli import main
from lorapipe.models import Checkpoint, Model
from lorapipe.models.sd15 import SD15
from lorapipe.training.adapters.locon import LoCon

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def pocket() -> Model:
    return SD15(checkpoint=Checkpoint.parse("pocket", Path())).load("cpu")


@pytest.fixture
def lora(pocket: Model, tmp_path: Path) -> Path:
    return saved(drawn(LoCon(rank=2), pocket), pocket, tmp_path / "penny.safetensors")


def test_a_folder_with_anything_but_a_model_is_never_replaced(
    lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary")
    for command in (
        ["merge", "pocket", str(lora)],
        ["convert", str(lora), "--format", "peft"],
        ["convert", str(lora)],
        ["resize", str(lora), "--rank", "1"],
    ):
        assert main([*command, "--to", str(mine), "--force"]) == 2
    assert [each.name for each in mine.iterdir()] == ["diary.txt"]
    assert "something in it" in capsys.readouterr().err


def test_a_model_folder_goes_only_with_force(lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merge = ["merge", "pocket", f"{lora}:0.5", "--quiet", "--to", str(tmp_path / "merged")]
    assert main(merge) == 0
    before = (tmp_path / "merged" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert main(merge) == 2 and "--force" in capsys.readouterr().err
    merge[2] = f"{lora}:0.25"
    assert main([*merge, "--force"]) == 0
    assert (tmp_path / "merged" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() != before


def test_what_is_a_folder_is_not_named_like_a_file(
    lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "pocket", str(lora), "--to", str(tmp_path / "merged.safetensors")]) == 2
    assert "Write merged." in capsys.readouterr().err
    assert not (tmp_path / "merged.safetensors").exists()


def test_a_lora_of_the_pocket_base_is_converted_and_merged_with_another(
    lora: Path, pocket: Model, tmp_path: Path
) -> None:
    converted, both = tmp_path / "diffusers.safetensors", tmp_path / "both.safetensors"
    assert main(["convert", str(lora), "--format", "diffusers", "--to", str(converted)]) == 0
    assert main(["merge", f"{lora}:0.5", f"{converted}:0.5", "--to", str(both)]) == 0
    one, sum_of_halves = (formats.open(path, pocket.kohya_names()) for path in (lora, both))
    assert one.modules.keys() == sum_of_halves.modules.keys()
    for place, module in one.modules.items():
        delta = module.delta(None)
        assert (sum_of_halves.modules[place].delta(None) - delta).norm() < 1e-3 * delta.norm()  # both files are fp16


def test_json_says_what_is_kept_of_every_module(
    lora: Path, pocket: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "pocket", str(lora), "--to", str(tmp_path / "tuned"), "--quiet"]) == 0
    slim, found = tmp_path / "slim.safetensors", tmp_path / "found.safetensors"
    assert main(["resize", str(lora), "--rank", "1", "--to", str(slim), "--json"]) == 0
    assert main(["extract", str(tmp_path / "tuned"), "pocket", "--rank", "1", "--to", str(found), "--json"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    modules = formats.open(lora, pocket.kohya_names()).modules.values()
    assert [each["file"] for each in reports] == [str(slim), str(found)]
    assert {each["name"] for each in reports[1]["modules"]} <= {each["name"] for each in reports[0]["modules"]}
    kept = [module.delta().flatten(1).svd().S.square() for module in modules]
    wanted = [float(values[0] / values.sum()) for values in kept]
    assert sorted(each["kept"] for each in reports[0]["modules"]) == pytest.approx(sorted(wanted), rel=1e-4)


def test_a_disk_that_is_too_small_is_told_with_the_file_that_the_user_named(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 1000))
    for command in (["merge", "pocket", str(lora)], ["resize", str(lora), "--rank", "1"]):
        to = tmp_path / "new" / command[0]
        assert main([*command, "--to", str(to)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"{to}: needs ") and f"on the disk of {to.parent}." in told and ".part" not in told
        assert [*to.parent.iterdir()] == []
