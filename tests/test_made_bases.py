"""A base made by a stage can be used as a checkpoint, and weights without a training can be evaluated and exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
from outcomes import ends
from safetensors import safe_open

from lorapipe.errors import InputError
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifact_json import content, decode, encode
from lorapipe.pipeline.artifacts import Dataset, Snapshot, Weights
from lorapipe.pipeline.events import Event
from lorapipe.pipeline.execution.runner import Run

PIPELINE = """\
stages:
  merged: {uses: copied_base, base: {family: sd15, checkpoint: base}}
  dataset: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: $merged}, duplicate_tolerance: 0}
  train: {uses: train, dataset: $dataset, adapter: {type: lora, rank: 2}, steps: 2, snapshots: 1, text_encoder_lr: 0}
  judge: {uses: evaluate, weights: $train, prompts: [penny], pictures: 1, strengths: [1.0], steps: 2}
  file: {uses: export, weights: $judge.best, to: out/penny.safetensors}
  drawn: {uses: drawn_weights, base: {family: sd15, checkpoint: $merged}}
  judge_drawn: {uses: evaluate, weights: $drawn, dataset: $dataset, prompts: [penny], pictures: 1, strengths: [1], steps: 2}
  file_drawn: {uses: export, weights: $judge_drawn.best, to: out/drawn.safetensors}
"""


@pytest.fixture
def folder(plugins: None, tmp_path: Path) -> Path:
    SD15.tiny(tmp_path / "base")
    tiny.draw(tmp_path / "pictures")
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    return tmp_path


def go(folder: Path, *sets: str) -> list[Event]:
    return list(Run(loader.load(folder / "pipeline.yaml", sets), on="inline"))


def test_what_a_stage_made_is_prepared_trained_judged_and_exported(folder: Path) -> None:
    names = ["merged", "dataset", "train", "judge", "file", "drawn", "judge_drawn", "file_drawn"]
    first = go(folder)
    assert ends(first) == dict.fromkeys(names, "finished"), first
    assert ends(go(folder)) == dict.fromkeys(names, "reused")
    folder = folder.rename(folder.with_name("elsewhere"))  # pictures are asked where they lie; what was made is found
    assert ends(go(folder)) == {**dict.fromkeys(names, "reused"), "dataset": "finished"}
    with safe_open(folder / "out" / "drawn.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "networks.lora" and metadata["ss_network_dim"] == "2"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    report = next(path for path in (folder / ".lorapipe").rglob("report.json") if "compared with" in path.read_text())
    assert "training" not in json.loads(report.read_text())["about"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("$merged}, dup", "$dataset}, dup", "a Base is needed here"),
        ("$merged}, dup", "$merger}, dup", "there is no stage 'merger'. Did you mean"),
    ],
)
def test_another_stage_is_refused_in_place_of_a_base(folder: Path, old: str, new: str, words: str) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        loader.load(folder / "pipeline.yaml")


def test_weights_of_no_training_need_pictures_to_be_judged(folder: Path) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("dataset: $dataset, prompts", "prompts"), encoding="utf-8")
    sets = [f"{name}.when=false" for name in ("judge", "file", "train", "dataset")]
    assert ends(go(folder, *sets))["judge_drawn"] == "failed"


def test_fields_that_came_later_change_no_key_and_old_manifests_are_read(base: SD15, tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "m.json", base, tmp_path, tmp_path / "c.jpg")
    weights = Weights((Snapshot(1, 1, tmp_path / "a"),), dataset, tmp_path / "training.json", tmp_path / "log")
    of_before = {"kind", "snapshots", "dataset", "training", "strength"}
    assert content(weights, lambda path: path.name).keys() == of_before
    data = encode(weights, tmp_path)
    del data["base"]
    assert decode(data, tmp_path) == weights and weights.model == base
