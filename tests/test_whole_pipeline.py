"""A complete pipeline on a tiny base: which stages run again after a change."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from outcomes import ends

from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Planned
from lorapipe.pipeline.execution.runner import Run

PIPELINE = """\
stages:
  dataset: {uses: prepare, images: pictures, base: {family: sd15, checkpoint: base}, duplicate_tolerance: 0}
  train: {uses: train, dataset: $dataset, adapter: {type: lora, rank: 2}, steps: 4, snapshots: 2, text_encoder_lr: 0}
  judge: {uses: evaluate, weights: $train, prompts: [penny], pictures: 1, strengths: [1.0], steps: 2}
  file: {uses: export, weights: $judge.best, to: out/penny.safetensors, dtype: fp16}
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after one run."""
    folder = tmp_path_factory.mktemp("whole")
    SD15.tiny(folder / "base")
    tiny.draw(folder / "pictures")
    (folder / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    assert ends(go(folder)) == dict.fromkeys(("dataset", "train", "judge", "file"), "finished")
    return folder


def go(folder: Path, *sets: str) -> list[Event]:
    return list(Run(loader.load(folder / "pipeline.yaml", sets), on="inline"))


def cached(folder: Path, kind: str) -> set[Path]:
    return {path for path in (folder / ".lorapipe" / "cache" / kind).rglob("*") if path.is_file()}


def test_nothing_changed_runs_nothing(whole: Path) -> None:
    assert set(ends(go(whole)).values()) == {"reused"}


def test_another_format_exports_again_and_nothing_else(whole: Path) -> None:
    small = (whole / "out" / "penny.safetensors").stat().st_size
    found = ends(go(whole, "file.dtype=fp32"))
    assert found == {"dataset": "reused", "train": "reused", "judge": "reused", "file": "finished"}
    assert (whole / "out" / "penny.safetensors").stat().st_size > 1.3 * small


def test_one_caption_changed_encodes_one_caption_and_trains_again(whole: Path) -> None:
    texts, latents = cached(whole, "text"), cached(whole, "latents")
    assert texts and latents
    caption = whole / "pictures" / "2.txt"
    before = caption.read_text(encoding="utf-8")
    caption.write_text("penny, turquoise", encoding="utf-8")
    events = go(whole)
    assert ends(events) == dict.fromkeys(("dataset", "train", "judge", "file"), "finished")
    reason = next(event for event in events if isinstance(event, Planned) and event.stage == "dataset")
    assert "2.txt" in str(reason)  # the plan names the file
    assert len(cached(whole, "text") - texts) == 1
    assert cached(whole, "latents") == latents
    caption.write_text(before, encoding="utf-8")
    assert set(ends(go(whole)).values()) == {"reused"}  # restored: the first results are still stored


def test_a_broken_picture_added_trains_nothing_again(whole: Path) -> None:
    """The dataset reports that it is left out; the training set is the same."""
    picture = whole / "pictures" / "5.png"
    picture.write_bytes((whole / "pictures" / "0.png").read_bytes()[:40])
    found = ends(go(whole))
    picture.unlink()
    assert found == {"dataset": "finished", "train": "reused", "judge": "reused", "file": "reused"}


def test_pictures_and_a_base_that_were_moved_train_nothing_again(whole: Path) -> None:
    """A new evaluation compares with the pictures at their present place."""
    (whole / "pictures").rename(whole / "photos")
    (whole / "base").rename(whole / "checkpoint")
    moved = ["dataset.images=photos", "dataset.base.checkpoint=checkpoint"]
    assert ends(go(whole, *moved)) == {
        "dataset": "finished", "train": "reused", "judge": "reused", "file": "reused"
    }  # fmt: skip
    found = ends(go(whole, *moved, "judge.prompts=[penny, turquoise]"))
    assert found == {
        "dataset": "reused",
        "train": "reused",
        "judge": "finished",
        "file": "reused",
    }  # the best is the same
    (whole / "photos").rename(whole / "pictures")
    (whole / "checkpoint").rename(whole / "base")
