"""Weights judged on several bases: what is said of each, the snapshot for all, and what lies in the exported file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
from safetensors import safe_open
from test_verdict import cell, results, scores

from lorapipe.evaluation.base_comparison import compare
from lorapipe.evaluation.translations import translation
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Report, Weights
from lorapipe.spec import Destination, Duration
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval

GOOD = [(0.5, 0.9), (0.85, 0.85), (0.9, 0.8)]


def test_each_base_has_the_strength_that_it_needs_and_a_failure_is_named() -> None:
    weaker = {cell(80 * (place + 1), 0.7): scores(0.9, 0.9) for place in range(3)}
    burnt = results([(0.6, 0.5), (0.5, 0.4), (0.4, 0.3)], more=weaker)
    unlike = results([(0.1, 0.9), (0.2, 0.9), (0.3, 0.9)])
    found = compare({"A": results(GOOD), "C": burnt, "D": unlike}, cell(240))
    assert [(each.name, each.strength, each.failure) for each in found.bases] == [
        ("A", 1.0, ""),
        ("C", 0.7, ""),
        ("D", 1.0, "the likeness is weak"),
    ]
    assert not found.works
    assert found.usage() in (
        "Works best on C at 0.7; on A at 1; not on D: the likeness is weak.",
        "Works best on A; on C at 0.7; not on D: the likeness is weak.",
    )


def test_the_snapshot_is_the_best_for_all() -> None:
    falling = results([(0.95, 0.9), (0.9, 0.5), (0.9, 0.1)])
    steps = {"A": results([(0.85, 0.9), (0.85, 0.9), (0.86, 0.9)]), "B": falling}
    assert compare(steps, cell(240)).step == 80
    assert compare({"A": steps["A"], "B": steps["A"]}, cell(240)).step == 240  # as good as the others: it stays


def test_what_works_nowhere_is_said_so() -> None:
    found = compare({"A": results([(0.1, 0.9)] * 3), "B": results([(0.1, 0.9)] * 3)}, cell(240))
    assert found.usage() == "Works on none of A, B."


def test_every_sentence_is_there_in_korean() -> None:
    weaker = {cell(80 * (place + 1), 0.7): scores(0.9, 0.9) for place in range(3)}
    bases = {"A": results(GOOD), "B": results([(0.6, 0.5)] * 3, more=weaker), "C": results([(0.1, 0.9)] * 3)}
    for reason in compare(bases, cell(240)).reasons():
        assert translation("ko")(reason)


# ------------------------------------------------------------------------------------------------------- the stage


@pytest.fixture(scope="module")
def weights(folder: Path, dataset: Dataset) -> Weights:
    train = Train(
        dataset=dataset, adapter=LoRA(rank=4), steps=Duration(8), snapshots=Interval(2), unet_lr=5e-3, batch=2
    )
    return train.run(tiny.Bench(folder).context("train"))


@pytest.fixture(scope="module")
def report(folder: Path, dataset: Dataset, weights: Weights) -> Report:
    other = SD15.tiny(folder / "other", seed=7)
    own = dataset.base.checkpoint  # type: ignore[attr-defined]
    stage = Evaluate(
        weights=weights,
        bases=(own, other.checkpoint, Checkpoint(folder / "other")),
        prompts=("penny, red", "penny, blue"),
        strengths=(0.5, 1.0),
        steps=2,
        pictures=1,
    )
    return stage.run(tiny.Bench(folder).context("bases"))


def test_each_base_is_judged_once_and_the_report_has_all(report: Report) -> None:
    data = json.loads(report.data.read_text("utf-8"))
    assert [each["name"] for each in data["bases"]] == ["base", "other"]
    assert {each["strength"] for each in data["bases"]} <= {0.5, 1.0}
    assert data["about"]["bases"] == report.best.usage
    page = report.page.read_text("utf-8")
    assert "other" in page
    pictures = report.page.parent / "pictures"
    own = sorted(each.relative_to(pictures) for each in pictures.glob("0*/*.png"))
    others = sorted(each.relative_to(pictures / "bases/other") for each in (pictures / "bases/other").rglob("*.png"))
    assert set(others) <= set(own) and len(others) == 3 * (1 + 2 * 2)  # prompts, the trigger alone among them


def test_the_exported_file_says_where_it_works(report: Report, folder: Path, tmp_path: Path) -> None:
    export = Export(weights=report.best, to=Destination(tmp_path / "penny.safetensors"))
    made = export.run(tiny.Bench(folder).context("export"))
    with safe_open(made.path, "pt") as file:
        assert report.best.usage in file.metadata()["modelspec.usage_hint"]


def test_two_checkpoints_of_one_name_are_refused(weights: Weights, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "mix").mkdir(parents=True)
    bases = tuple(Checkpoint(tmp_path / name / "mix") for name in ("a", "b"))
    assert [each.path for each in Evaluate(weights=weights, bases=bases).problems()] == [("bases",)]
    assert not [*Evaluate(weights=weights, bases=(bases[0], bases[0])).problems()]
