"""Settings that are valid alone but wrong together, or for the base, are refused before a run, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.models.sdxl import SDXL
from lorapipe.pipeline import loader

TEXT = """\
stages:
  dataset: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: pocket}}
  other: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: pocket, prediction: v_prediction}}
  penny: {uses: train, dataset: $dataset}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("check")
    tiny.draw(place / "pictures")
    (place / "photos.zip").write_bytes(b"PK")
    SDXL.tiny(place / "sdxl")
    (place / "a.yaml").write_text(TEXT, encoding="utf-8")
    return place


def complaints(folder: Path, *sets: str) -> list[str]:
    try:
        loader.load(folder / "a.yaml", sets)
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ([], []),
        (
            ["dataset.base={family: sdxl, checkpoint: sdxl}", "penny.clip_skip=2"],
            ["penny.clip_skip: sdxl always uses the last layer but one"],
        ),
        (["dataset.base={family: sdxl, checkpoint: sdxl}", "penny.text_encoder_2_lr=0"], []),
        (
            ["penny.optimizer={type: adamw, learning_rate: 1e-4}"],
            ["It belongs one level further out, beside optimizer: unet_lr or text_encoder_lr"],
        ),
        (["penny.adapter={type: lora, steps: 5}"], ["It belongs one level further out, beside adapter: steps."]),
        (["dataset.images=photos.zip"], ["dataset.images: photos.zip is a file, not a folder of pictures. Unpack it"]),
        (
            ["dataset.images=pictures/0.png"],
            ["dataset.images: 0.png is a file, not a folder of pictures. Name the folder"],
        ),
        (
            ["dataset.masks=pictures/0.png"],
            ["dataset.masks: 0.png is a file, not a folder of pictures. Name the folder"],
        ),
        (["dataset.captions={resolution: 64}"], ["It belongs one level further out, beside captions: resolution."]),
        (["penny.text_encoder_2_lr=1e-5"], ["penny.text_encoder_2_lr: sd15 has no second text encoder"]),
        (["penny.more_datasets=[$other]"], ["penny.more_datasets: was prepared for another base"]),
        (["penny.regularisation=$other"], ["penny.regularisation: was prepared for another base"]),
        (
            ["penny.dataset=$other", "penny.weighting=v_like"],
            ["penny.weighting: v_like is for bases that predict epsilon"],
        ),
        (["penny.dataset=$other", "penny.weighting=as_epsilon"], []),
        (["dataset.enable_bucket=false", "dataset.min_bucket_reso=64"], ["there are no buckets"]),
        (["dataset.enable_bucket=false", "dataset.bucket_no_upscale=true"], ["there are no buckets"]),
        (["dataset.bucket_no_upscale=true", "dataset.max_bucket_reso=128"], ["buckets have no bounds"]),
        (
            ["dataset.augment={flip: true, variants: 4}"],
            ["variants: has no effect without colour, random_crop or face_crop"],
        ),
        (["dataset.augment={colour: true, variants: 4}"], []),
        (["penny.noise.multires_discount=0.2"], ["multires_discount: has no effect without multires noise"]),
        (["penny.loss={type: huber, scale: 2}"], ["the snr schedule has no scale"]),
        (["penny.loss={type: huber, scale: 2, schedule: constant}"], []),
    ],
)
def test_what_would_do_nothing_or_cannot_work_is_refused(folder: Path, sets: list[str], words: list[str]) -> None:
    found = complaints(folder, *sets)
    assert len(found) == len(words), found
    assert all(word in text for word, text in zip(words, found, strict=True)), found


def test_the_log_of_a_mistake_says_it_and_shows_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "notes.md").write_text("none yet", encoding="utf-8")
    (tmp_path / "a.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "a.yaml", "--only", "dataset"]) == 2
    capfd.readouterr()
    assert main(["log", "dataset"]) == 0
    said = capfd.readouterr().out
    assert "no pictures" in said and "Traceback" not in said


EXPORT = "  file: {uses: export, weights: $penny, to: out/a.safetensors}\n"


@pytest.fixture
def exporting(folder: Path) -> Path:
    file = folder / "export.yaml"
    file.write_text(TEXT + EXPORT, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("adapter", "format", "words"),
    [
        ("lora", "kohya", ""),
        ("lora, dora: true", "kohya", ""),
        ("loha", "kohya", ""),
        ("lora", "diffusers", ""),
        ("lora, dora: true, dora_axis: output", "kohya", "ComfyUI divides the weights of a DoRA of outputs"),
        ("loha", "diffusers", ""),
    ],
)
def test_a_plan_says_what_no_program_will_read_rightly(exporting: Path, adapter: str, format: str, words: str) -> None:
    stages = loader.load(exporting, [f"penny.adapter={{type: {adapter}}}", f"file.format={format}"]).stages
    found = [*stages["file"].cautions(stages)]
    assert len(found) == bool(words) and words in "".join(found)
    assert not words or "dora_axis: input" in found[0] or "format: kohya" in found[0]


def test_a_format_without_a_place_for_the_adapter_is_refused_before_the_training(exporting: Path) -> None:
    def refused(adapter: str, *sets: str) -> str:
        try:
            loader.load(exporting, [f"penny.adapter={{type: {adapter}}}", "file.format=diffusers", *sets])
        except InputError as error:
            return "".join(map(str, error.problems))
        return ""

    assert "file.format: diffusers has no place for" in refused("full")
    assert not refused("full", "file.convert=lora") and not refused("lora")
    assert "(dora_scale)" in refused("lora, dora: true")
    assert "no place for oft." in refused("oft")
