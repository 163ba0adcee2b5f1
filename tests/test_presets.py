"""Presets are pipelines: each is valid, suits what it is for, trains, and can be changed by the file that extends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.models import Checkpoint, Family
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.pipeline import loader, presets
from lorapipe.rules import Facts, Pictures, problems
from lorapipe.stages.train import Train
from lorapipe.training.training_memory import memory

NAMES = presets.names()
FAMILIES: dict[str, type[SD15] | type[SDXL]] = {"sd15": SD15, "sdxl": SDXL}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("presets")
    tiny.draw(place / "pictures")
    for name, family in FAMILIES.items():
        family.tiny(place / name)
    return place


def written(folder: Path, preset: str) -> Path:
    """Write a pipeline that extends a preset, for a tiny base of its family."""
    family = "sdxl" if preset.startswith("sdxl") else "sd15"
    reg = ", class_images: pictures" if "class_images" in presets.text_of(preset) else ""
    file = folder / f"{preset}.yaml"
    grid = "prompts: [penny], steps: 2, snapshots: 1, pictures: 1, strengths: [1], part_strengths: [], low_cfg: null"
    texts = f"dataset: {{resolution: 64}}, grid: {{{grid}}}"
    more = ", class: {resolution: 64}" if reg else ""
    file.write_text(
        f"extends: lorapipe:{preset}\nvars: {{images: pictures, checkpoint: {family}, trigger: penny{reg}}}\n"
        f"stages: {{{texts}{more}, lora: {{steps: 4, snapshots: 1}}}}\n",
        "utf-8",
    )
    return file


@pytest.mark.one_in(2)
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_and_exports(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert main(["run", written(folder, name).name, "--on", "inline", "--quiet", "--set", f"vars.name={name}"]) == 0
    assert (folder / "out" / f"{name}.safetensors").stat().st_size > 1000, "paths start at the user's pipeline"


def base_of(train: Train, stages: Any) -> Family:
    """Return the base of a preset as if its file were a whole checkpoint."""
    family: Any = type(stages["dataset"].base)
    base: Family = object.__new__(family)
    for name, value in {"checkpoint": Checkpoint(Path("x.safetensors")), "vae": None, "config": None}.items():
        object.__setattr__(base, name, value)
    return base


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_gives_no_alarm_with_pictures_that_suit_it(name: str, folder: Path) -> None:
    stages = loader.load(written(folder, name), ["lora.steps=1500", "lora.snapshots=10"]).stages
    train = stages["lora"]
    assert isinstance(train, Train)
    count = 120 if train.subject == "style" else 50
    pictures = Pictures("dataset", count, count, captions=("penny, red hat", "penny, blue hat") * (count // 2))
    facts = Facts(base_of(train, stages), "base.safetensors", (pictures,), None, 1500, float(count))
    assert [str(each) for each in problems(train, facts)] == []


@pytest.mark.parametrize(("name", "gigabytes"), [("sdxl-8gb", 8), ("sdxl", 12), ("sd15-6gb", 6)])
def test_a_preset_for_a_card_fits_it(name: str, gigabytes: int, folder: Path) -> None:
    stages = loader.load(written(folder, name)).stages
    train: Any = stages["lora"]
    side = {"sdxl-8gb": 832, "sdxl": 1024}.get(name, 512)
    needs = memory(train, base_of(train, stages), side * side)
    assert needs is not None
    card = needs.card()
    assert card is not None and card <= gigabytes


def test_show_lists_presets_and_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "preset"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in NAMES) and "for a card of 8 GB" in said
    assert main(["show", "preset", "style"]) == 0
    assert capsys.readouterr().out.strip() == presets.text_of("style").strip()
    assert main(["show", "preset", "styl"]) == 2
    assert "Did you mean 'style'?" in capsys.readouterr().err


def test_an_unknown_preset_is_named_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: lorapipe:charakter\n", "utf-8")
    with pytest.raises(InputError) as caught:
        loader.load(tmp_path / "a.yaml")
    (problem,) = caught.value.problems
    assert "a.yaml:1:1" in problem.where and "there is no preset 'charakter'" in problem.what
    assert problem.cure == "Did you mean 'character'?"


def test_the_guides_easy_settings_are_those_of_the_guide() -> None:
    """§3 of the training guide: D-Adaptation, rates 1.0, 1000 steps, constant, alpha 1, rank 64, min-SNR 5, 225 tokens."""
    text = presets.text_of("easy-settings")
    for said in ("dadapt_adam", "unet_lr: 1.0", "text_encoder_lr: 1.0", "rank: 64, alpha: 1", "constant", "gamma: 5"):
        assert said in text
    assert "steps: 1000" in text and "max_tokens: 225" in text and "decouple: true, weight_decay: 0.01" in text
