"""`lorapipe tune`: rounds of a pipeline, with trainings that take no time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Reused, Started
from lorapipe.tuning.search import best_of
from lorapipe.tuning.tuner import Tuning

TEXT = """\
stages:
  text: {uses: words, folder: texts}
  penny:
    uses: learn
    text: $text
    diary: diary.txt
    unet_lr: 8e-4
  grid: {uses: grade, weights: $penny}
  kept: {uses: keep, tally: $tally, to: result.html}
  tally: {uses: count, text: $text, word: a}
"""


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    (project / "penny.yaml").write_text(TEXT, encoding="utf-8")
    return project


def tuned(*sets: str, name: str = "penny.yaml") -> Tuning:
    tuning = Tuning(loader.load(name, sets), on="inline", devices=["cpu"])
    tuning.finish()
    return tuning


def trainings(here: Path) -> list[str]:
    return (here / "diary.txt").read_text(encoding="utf-8").splitlines()


def problems(text: str) -> str:
    Path("bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        loader.load("bad.yaml")
    return "\n".join(map(str, caught.value.problems))


def test_it_runs_until_the_verdict_is_good(here: Path) -> None:
    tuning = tuned()
    assert [f"{each.values['unet_lr']:g}" for each in tuning.tuned.rounds] == ["0.0008", "0.0004", "0.0001"]
    assert tuning.tuned.rounds[-1].is_good and tuning.tuned.end is not None and tuning.tuned.end.reason == "good"
    assert {*tuning.artifacts} == {"text", "penny", "grid", "tally", "kept"}
    assert (here / "result.html").exists()  # exported once, at the end


def test_what_did_not_change_is_reused(here: Path) -> None:
    tuning = Tuning(loader.load("penny.yaml"), on="inline", devices=["cpu"])
    events = [*tuning]
    assert [each.stage for each in events if isinstance(each, Started)].count("text") == 1
    assert [each.stage for each in events if isinstance(each, Reused)].count("text") == 3  # two rounds, and the end
    assert trainings(here) == ["0.0008 100", "0.0004 100", "0.0001 100"]


def test_again_it_finds_its_rounds_in_the_store(here: Path) -> None:
    first, again = tuned(), tuned()
    assert len(trainings(here)) == 3
    assert [each.values for each in again.tuned.rounds] == [each.values for each in first.tuned.rounds]


def test_killed_in_a_round_it_goes_on(here: Path) -> None:
    command = [sys.executable, "-m", "lorapipe", "tune", "penny.yaml", "--set", "penny.seconds=0.7", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (here / "diary.txt").exists() or len(trainings(here)) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tuning = tuned("penny.seconds=0")
    assert tuning.tuned.rounds[-1].is_good and len(tuning.tuned.rounds) == 3
    assert len(trainings(here)) == 4  # the one that was killed began again, the one before it did not


def test_the_pipeline_to_keep_is_the_best_rounds(here: Path) -> None:
    tuned("penny.room.rank=16", "tune.rounds=3")
    text = (here / "penny-tuned.yaml").read_text(encoding="utf-8")
    assert "extends: penny.yaml" in text and "tune: null" in text
    kept = loader.load("penny-tuned.yaml")
    assert kept.tune is None
    penny = kept.stages["penny"]
    assert (penny.unet_lr, penny.room.rank) == (1e-4, 16)  # type: ignore[attr-defined]
    assert main(["run", "penny-tuned.yaml", "--on", "inline"]) == 0
    assert len(trainings(here)) == 3  # its results are there already


def test_a_file_that_only_the_command_line_completes_is_kept_whole(here: Path) -> None:
    (here / "penny.yaml").write_text(TEXT.replace("folder: texts", "folder: elsewhere"), encoding="utf-8")
    assert tuned(f"text.folder={here / 'texts'}").tuned.rounds[-1].is_good
    assert loader.load("penny-tuned.yaml").stages["penny"].unet_lr == 1e-4  # type: ignore[attr-defined]


def test_only_free_settings_move(here: Path) -> None:
    tuning = tuned("tune.free=[steps]", "grid.best_steps=100")
    assert [each.values for each in tuning.tuned.rounds] == [{"steps": 100.0}]
    assert tuning.tuned.end is not None and tuning.tuned.end.reason == "nothing"
    assert "steps" in (here / "penny-tuned.html").read_text(encoding="utf-8")


def test_steps_are_tuned_too(here: Path) -> None:
    tuning = tuned("penny.unet_lr=1e-4", "grid.best_steps=400")
    assert [each.values["steps"] for each in tuning.tuned.rounds] == [100, 200, 400]


def test_rounds_end_it_with_the_best(here: Path) -> None:
    tuning = tuned("tune.rounds=2", "penny.unet_lr=64e-4")
    assert len(tuning.tuned.rounds) == 2 and tuning.tuned.end is not None and tuning.tuned.end.reason == "rounds"
    assert best_of(tuning.tuned.rounds) in (0, 1)


def test_hours_end_it(here: Path) -> None:
    tuning = tuned("tune.hours=1e-9")
    assert len(tuning.tuned.rounds) == 1 and tuning.tuned.end is not None and tuning.tuned.end.reason == "hours"


def test_a_pipeline_that_says_tune_is_tuned_by_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "penny.yaml").write_text("tune: {rounds: 4, free: [unet_lr]}\n" + TEXT, encoding="utf-8")
    assert main(["run", "penny.yaml", "--on", "inline"]) == 0
    out = capsys.readouterr().out
    assert "round 2: unet_lr 0.0008 → 0.0004" in out and "Round 3 of 3 is the best" in out
    assert len(trainings(here)) == 3


def test_the_plan_says_what_a_round_costs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "penny.yaml", "--only", "grid", "--on", "inline"]) == 0
    (here / "penny.yaml").write_text("tune: {rounds: 2}\n" + TEXT, encoding="utf-8")
    assert main(["plan", "penny.yaml", "--set", "penny.unet_lr=7e-4"]) == 0
    assert "at most 2 rounds, of which this is the first" in capsys.readouterr().out
    assert main(["plan", "penny.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("round 2: unet_lr 0.0008 → 0.0004") for line in lines)
    assert any(line.split()[:2] == ["text", "reuse"] for line in lines)
    assert any(line.split()[:2] == ["penny", "run"] and "0.0004" in line for line in lines)
    assert main(["tune", "penny.yaml", "--on", "inline"]) == 0
    capsys.readouterr()
    assert main(["plan", "penny.yaml"]) == 0
    text = capsys.readouterr().out
    assert "Round 2 of 2 is the best" in text and " run " not in text
    assert main(["lock", "penny.yaml"]) == 0
    locked = json.loads((here / "lorapipe.lock").read_text(encoding="utf-8"))["pipelines"]["penny.yaml"]["stages"]
    assert locked["penny"]["settings"]["unet_lr"] == 0.0004  # the best round's
    assert main(["verify", "penny.yaml"]) == 0


def test_the_page_tells_the_story(here: Path) -> None:
    tuned()
    page = (here / "penny-tuned.html").read_text(encoding="utf-8")
    for text in (
        "Round 3 of 3 is the best.",
        "unet_lr 0.0008 → 0.0004",
        "unet_lr 0.0004 → 0.0001",
        "over-trained",
        "3라운드",
    ):
        assert text in page, text
    assert "Learn at another rate." in page and "a toy" in page


def test_a_users_file_is_not_replaced(here: Path) -> None:
    (here / "penny-tuned.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="already there"):
        tuned()
    assert (here / "penny-tuned.yaml").read_text(encoding="utf-8") == "mine" and not (here / "diary.txt").exists()


# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("tune: {free: [unet_lrr]}", ":1:", "penny has no setting 'unet_lrr'. Did you mean 'unet_lr'?"),
        ("tune:\n  free:\n    - unet_lr\n    - name_of_it", ":4:", "name_of_it is no number"),
        ("tune: {stage: pennny}", ":1:", "Did you mean 'penny'?"),
        ("tune: {stage: grid}", ":1:", "grid trains nothing"),
        ("tune: {rounds: 0}", ":1:", "below the minimum 1"),
        ("tune: {round: 2}", ":1:", "Did you mean 'rounds'?"),
        ("tune: {hours: -1}", ":1:", "must be above 0"),
        ("tune: [unet_lr]", ":1:", "tune"),
    ],
)
def test_mistakes_are_named_with_their_lines(here: Path, section: str, line: str, message: str) -> None:
    found = problems(f"{section}\n{TEXT}")
    assert message in found and line in found


def test_there_must_be_one_training_that_is_judged(here: Path) -> None:
    assert "no stage trains" in problems("tune: {}\nstages:\n  text: {uses: words, folder: texts}\n")
    alone = TEXT.replace("  grid: {uses: grade, weights: $penny}\n", "")
    assert "nothing judges penny" in problems(f"tune: {{}}\n{alone}")
    two = TEXT + "  other: {uses: learn}\n  grid2: {uses: grade, weights: $other}\n"
    assert "Say which is tuned: `tune: {stage: penny}`" in problems(f"tune: {{}}\n{two}")
    weak = TEXT.replace("weights: $penny}", "weights: $penny, strengths: [0.7]}")
    assert "does not sample strength 1" in problems(f"tune: {{}}\n{weak}")


def test_tune_without_a_section_finds_the_same_mistakes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.yaml").write_text("stages:\n  text: {uses: words, folder: texts}\n", encoding="utf-8")
    assert main(["tune", "none.yaml"]) == 2
    assert "no stage trains" in capsys.readouterr().err


def test_all_judges_must_call_it_good(here: Path) -> None:
    """Two checkpoints whose best rates differ: it ends between them, where both call it good."""
    (here / "penny.yaml").write_text(
        TEXT.replace("$penny}", "$penny, best_rate: 1.3e-4}")
        + "  other: {uses: grade, weights: $penny, best_rate: 1e-4}\n",
        encoding="utf-8",
    )
    tuning = tuned()
    assert {each.judge for each in tuning.tuned.rounds[0].judgements} == {"grid", "other"}
    assert tuning.tuned.best.is_good
