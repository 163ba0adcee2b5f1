"""The history of runs: reasons, durations, metrics and logs; comparison, lock file, clean-up, and the Python API."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from outcomes import ends

from lorapipe import api
from lorapipe.cli import main
from lorapipe.errors import InputError, LorapipeError
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Finished
from lorapipe.pipeline.garbage_collection import clean, waste
from lorapipe.pipeline.history import compare, read_run, runs
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.locks import take

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as the current folder, after two runs: with three steps, and with five steps and another word."""
    monkeypatch.chdir(project)
    make("tally.steps=3")
    make("tally.steps=5", "tally.word=b")
    return project


def make(*sets: str) -> None:
    api.run(loader.load("cat.yaml", sets), on="inline")


def said(capsys: Capture, *words: str, status: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(list(words)) == status
    return capsys.readouterr().out.splitlines()


def test_runs_are_listed_shown_and_compared(here: Path, capsys: Capture) -> None:
    lines = said(capsys, "runs")
    assert [line.split()[0] for line in lines] == ["2", "1"] and all("done" in line for line in lines)
    detail = "\n".join(said(capsys, "runs", "2"))
    assert "tally  finished" in detail and "loss 0.2" in detail and "text   reused" in detail
    assert said(capsys, "runs", "1", "2") == [
        "tally: word a → b",
        "tally: steps 3 → 5",
        "tally: loss 0.333333 → 0.2",
        "kept: tally changed",
    ]
    stages = json.loads(said(capsys, "runs", "1", "--json")[0])["stages"]
    assert stages["tally"]["metrics"] == {"loss": pytest.approx(1 / 3)}
    assert main(["runs", "7"]) == 2
    assert "there is no run 7. The last run is 2." in capsys.readouterr().err


def test_why_names_the_reason_and_what_it_was_made_from(here: Path, capsys: Capture) -> None:
    make("tally.steps=5", "tally.word=b")
    lines = said(capsys, "why", "tally")
    assert lines[0] == "tally: word a → b, steps 3 → 5 (run 2)"
    assert '  word "b"' in lines and "  text: the result of another stage" in lines
    assert said(capsys, "why", "text")[1:3] == ['  uses "words"', "  folder: 2 files"]
    assert main(["why", "taly"]) == 2 and "Did you mean 'tally'?" in capsys.readouterr().err


def test_the_log_of_a_stage(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(project)
    (project / "loud.yaml").write_text("stages: {loud: {uses: trouble, how: noise}, bad: {uses: trouble}}")
    with pytest.raises(LorapipeError, match="one over nothing"):
        api.run(loader.load("loud.yaml"))
    assert said(capsys, "log", "loud") == ["noise from C", "a warning from C", "noise from Python"]
    assert said(capsys, "log", "bad")[-1] == "ZeroDivisionError: one over nothing"


def test_history_survives_the_loss_of_the_database(here: Path, capsys: Capture) -> None:
    for file in (here / ".lorapipe").glob("ledger.db*"):
        file.unlink()
    make("tally.steps=5", "tally.word=b")
    ledger = Ledger(here)
    assert runs(ledger)[0].number == 3  # the events of earlier runs are not overwritten
    assert {stage.end for stage in read_run(ledger, 3).stages.values()} == {"reused"}


def test_a_project_without_runs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["runs"], ["why", "a"], ["log", "a"], ["gc"]):
        assert main(words) == 2
        assert "nothing was run here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------------- locking


def test_what_is_locked_is_the_same_until_something_differs(here: Path, capsys: Capture) -> None:
    sets = ("--set", "tally.steps=5", "--set", "tally.word=b")
    assert main(["verify", "cat.yaml"]) == 2
    assert said(capsys, "lock", "cat.yaml", *sets) == ["lorapipe.lock"]
    text = (here / "lorapipe.lock").read_text("utf-8")
    assert str(here) not in text and "one.txt" in text
    assert said(capsys, "verify", "cat.yaml", *sets) == ["The same as when it was locked."]
    assert said(capsys, "verify", "cat.yaml", "--set", "tally.word=b", status=1) == [
        "tally: steps 5 → 1",
        "kept: is not made yet",
    ]
    (here / "texts" / "one.txt").write_text("changed")
    assert said(capsys, "verify", "cat.yaml", *sets, status=1)[0] == "text: 1 caption changed: one.txt"


def test_only_what_is_made_can_be_locked(here: Path, capsys: Capture) -> None:
    assert main(["lock", "cat.yaml", "--set", "tally.word=c"]) == 2
    assert "tally, kept have no result to lock" in capsys.readouterr().err
    (here / "lorapipe.lock").write_text("{}")
    with pytest.raises(InputError, match="not a lock file"):
        from lorapipe.pipeline.lockfile import differing

        differing(loader.load("cat.yaml"), Ledger(here))


# ------------------------------------------------------------------------------------------------------------- cleaning


def test_what_no_recent_run_used_can_go(here: Path, capsys: Capture) -> None:
    assert said(capsys, "gc") == ["Everything here is in use."]
    lines = said(capsys, "gc", "0")
    assert lines[0].split()[:2] == ["2", "results"] and lines[-1].startswith("Nothing was changed")
    assert said(capsys, "gc", "0", "--yes")[-1].endswith("MB were freed.")
    plan = api.plan(loader.load("cat.yaml", ["tally.steps=5", "tally.word=b"]))
    assert {step.action for step in plan.stages} == {"reuse"}
    assert [step.action for step in api.plan(loader.load("cat.yaml", ["tally.steps=3"])).stages] == [
        "reuse",
        "run",
        "run",
    ]


def test_what_is_in_use_or_refers_to_another_is_kept(here: Path) -> None:
    ledger = Ledger(here)
    old = next(each for each in waste(ledger, 0) if each.kind == "result")
    with take(ledger.locks / f"{old.path.name}.attempt"):
        assert old.path not in [each.path for each in waste(ledger, 0)]
    assert len(waste(ledger, 0)) == 2
    assert not waste(ledger, 1) and len(waste(ledger, 1, now=time.time() + 3 * 86400)) == 2
    kept = set(ledger.store.iterdir()) - {each.path for each in waste(ledger, 0)}
    clean(ledger, waste(ledger, 0))
    assert set(ledger.store.iterdir()) == kept and len(kept) == 3


def test_a_result_whose_row_a_power_cut_has_taken_is_as_young_as_it_is(here: Path) -> None:
    """The last commits of the database are not synced; results are."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(here / ".lorapipe" / "ledger.db")) as db, db:
        newest = db.execute("DELETE FROM used WHERE run = 2").rowcount
    assert newest == 3 and not waste(Ledger(here), 1)
    assert len(waste(Ledger(here), 1, now=time.time() + 3 * 86400)) >= 2


def test_old_attempts_and_cache_entries_go(here: Path) -> None:
    ledger = Ledger(here)
    entry, attempt = ledger.cache / "latents" / "ab" / "abc", ledger.work / "0123"
    for file in (entry, attempt / "resume" / "state"):
        file.parent.mkdir(parents=True)
        file.write_text("x")
    assert {each.kind for each in waste(ledger, 1)} == set()
    for path in (entry, attempt / "resume" / "state", attempt / "resume", attempt):
        os.utime(path, (1e9, 1e9))
    found = waste(ledger, 1)
    assert {each.path for each in found} == {entry, attempt}
    assert clean(ledger, found) == 2 and not entry.exists() and not attempt.exists()


def test_projects_can_share_a_store(project: Path, shared_with: Path, tmp_path: Path) -> None:
    other = shared_with
    api.run(loader.load(project / "cat.yaml"), on="inline")
    events: list[Event] = []
    api.run(loader.load(other / "cat.yaml"), events.append, on="inline")
    assert set(ends(events).values()) == {"reused"}
    assert (other / "outputs" / "tally" / "tally.html").read_text() == "<p>3</p>"
    assert len(list((tmp_path / "shared" / ".lorapipe" / "store").iterdir())) == 3
    assert len(runs(Ledger(other))) == len(runs(Ledger(project))) == 1
    assert not waste(Ledger(other), 1)


# --------------------------------------------------------------------------------------------------------------- Python


def test_from_python(project: Path) -> None:
    pipeline = loader.load(project / "cat.yaml", ["tally.steps=2"])
    assert [step.action for step in api.plan(pipeline).stages] == ["run"] * 3
    events = []
    artifacts = api.run(pipeline, on_event=events.append, on="inline")
    assert sum(isinstance(event, Finished) for event in events) == 3
    assert artifacts["tally"].times == 3  # type: ignore[attr-defined]
    ledger = Ledger(project)
    first, second = (read_run(ledger, 1), read_run(ledger, 1))
    assert first.status == "done" and compare(ledger, first, second) == {}
