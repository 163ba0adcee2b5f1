"""Successive halving of a matrix: which cells go on, what it costs, and that nothing is trained twice."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

import lorapipe
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.execution.runner import Run
from lorapipe.tuning.successive_halving import Rung, SuccessiveHalving, begun, going_on, rungs, share_of_steps

JUDGES = """\
  grid: {uses: grade, matrix: $penny, weights: $penny}
  best: {uses: compare, reports: $grid}
"""
SWEEP = f"""\
stages:
  text: {{uses: words, folder: texts}}
  penny:
    uses: learn
    text: $text
    diary: diary.txt
    steps: 120
    matrix: {{unet_lr: {{from: 1e-5, to: 1e-3, log: true}}, sample: 12, keep: 3}}
{JUDGES}"""


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    (project / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return project


def test_twelve_cells_of_which_three_are_kept() -> None:
    found = rungs(12, 3)
    assert found == [Rung(12, Fraction(1, 6)), Rung(6, Fraction(1, 3)), Rung(3, Fraction(1))]
    assert share_of_steps(found) == pytest.approx(5 / 12)


def test_one_halving_trains_a_third_of_all() -> None:
    assert rungs(12, 6) == [Rung(12, Fraction(1, 3)), Rung(6, Fraction(1))]


@pytest.mark.parametrize("count", range(2, 100))
@pytest.mark.parametrize("keep", [1, 2, 3, 5])
def test_keeping_a_quarter_costs_less_than_half(count: int, keep: int) -> None:
    if keep >= count:
        return
    found = rungs(count, keep)
    assert found[0].cells == count and found[-1] == Rung(keep, Fraction(1))
    assert [each.part for each in found] == sorted({each.part for each in found})
    assert keep > count / 4 or share_of_steps(found) <= 0.45


def test_the_best_go_on_in_their_own_order() -> None:
    assert going_on({"a": 0.1, "b": 0.5, "c": 0.4, "d": 0.5}, 2) == ["b", "d"]


def test_the_best_cells_train_to_the_end_and_no_step_twice(here: Path) -> None:
    pipeline = loader.load("sweep.yaml")
    halving = SuccessiveHalving(pipeline, on="inline", devices=["cpu"])
    artifacts = halving.finish()
    lines = [line.split() for line in (here / "diary.txt").read_text(encoding="utf-8").splitlines()]
    steps = Counter[str]()
    for rate, count in lines:
        steps[rate] += int(count)
    assert Counter(steps.values()) == {20: 6, 40: 3, 120: 3}
    assert sum(steps.values()) == 600 <= 0.45 * 12 * 120
    ranking = json.loads(artifacts["best"].data.read_text(encoding="utf-8"))["ranking"]  # type: ignore[attr-defined]
    assert [each["left_at"] for each in ranking] == [None] * 3 + [40] * 3 + [20] * 6
    assert all([*each["settings"]] == ["unet_lr"] for each in ranking)
    whole = Run(loader.load("sweep.yaml"), on="inline", devices=["cpu"])  # the full sweep
    for event in whole:
        assert event is not None
    best = max(whole.artifacts, key=lambda name: _merit(whole.artifacts[name]) if name.startswith("grid") else -1)
    assert best in artifacts and artifacts["best"].best.snapshots[-1].step == 120  # type: ignore[attr-defined]
    done = {name for name in artifacts if name.startswith("penny") and artifacts[name] == whole.artifacts.get(name)}
    assert len(done) == 3  # the kept cells are those of the full sweep, byte for byte and key for key
    assert len((here / "diary.txt").read_text(encoding="utf-8").splitlines()) == len(lines) + 9


def _merit(report: object) -> float:
    return float(json.loads(report.data.read_text(encoding="utf-8"))["cells"][0]["merit"])  # type: ignore[attr-defined]


def test_run_halves_and_goes_on_where_it_was(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "sweep.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "12 train 1/6 of their steps, 6 train 1/3 of their steps, 3 train all of their steps: 42 %" in shown
    assert "after 1/6" not in shown and "best" not in shown  # the first rung is what runs next
    assert main(["run", "sweep.yaml", "--on", "inline"]) == 0
    before = (here / "diary.txt").read_text(encoding="utf-8")
    assert main(["run", "sweep.yaml", "--on", "inline"]) == 0
    assert (here / "diary.txt").read_text(encoding="utf-8") == before
    capsys.readouterr()
    assert main(["plan", "sweep.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "after 1/6 of the steps go on" in shown and "after 1/3 of the steps go on" in shown
    assert " run " not in shown and "best" in shown


def test_what_was_kept_is_locked_and_verified(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lock", "sweep.yaml"]) == 2
    assert "has not run to its end" in capsys.readouterr().err
    assert main(["run", "sweep.yaml", "--on", "inline"]) == 0
    assert main(["lock", "sweep.yaml"]) == 0
    assert main(["verify", "sweep.yaml"]) == 0
    locked = json.loads((here / "lorapipe.lock").read_text(encoding="utf-8"))["pipelines"]["sweep.yaml"]["stages"]
    assert (
        "best" in locked and len([name for name in locked if "-until-" not in name and name.startswith("penny")]) == 12
    )
    (here / ".lorapipe").rename(here / "elsewhere")
    capsys.readouterr()
    assert main(["verify", "sweep.yaml"]) == 1
    assert capsys.readouterr().out == "It has not run to its end here.\n"


def test_a_chosen_cell_is_trained_to_its_end(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halved = loader.load("sweep.yaml").halved
    assert halved is not None
    cell = halved.cells[0]
    (judge,) = halved.judges[cell]
    assert main(["plan", "sweep.yaml", "--only", judge]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["text", cell, judge]
    assert main(["run", "sweep.yaml", "--only", judge, "--on", "inline"]) == 0
    assert (here / "diary.txt").read_text(encoding="utf-8").split()[1:] == ["120"]


def test_the_plan_shows_the_rung_that_runs_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a run that was stopped when six cells went on: those, from where they were."""
    pipeline = loader.load("sweep.yaml")
    first = begun(pipeline)
    artifacts = Run(first.following, on="inline", devices=["cpu"]).finish()
    chosen = first.after(artifacts).cells
    assert len(chosen) == 6
    assert main(["plan", "sweep.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    running = {line.split()[0] for line in lines if " run " in line}
    assert {*chosen} <= running and len([name for name in running if name.startswith("penny")]) == 6
    assert sum("-until-20" in line and "reuse" in line for line in lines) == 6
    assert {step.name for step in lorapipe.plan(pipeline).stages if step.action == "run"} == running


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep: 3", "keep: none", "is no number of cells"),
        ("keep: 3", "keep: 12", "12 of 12 cells leaves none out"),
        ("    steps: 120\n", "    steps: 120\n    until: 60\n", "which decide when they end"),
        (JUDGES, "", "nothing judges"),
        ("stages:", "tune: {stage: penny}\nstages:", "tune"),
    ],
)  # fmt: skip
def test_mistakes_are_named(here: Path, old: str, new: str, message: str) -> None:
    Path("bad.yaml").write_text(SWEEP.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        loader.load("bad.yaml")
    assert message in "\n".join(map(str, caught.value.problems))
