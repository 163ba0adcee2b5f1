"""A run makes missing results, reports its events, survives failures of stages, and resumes where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import ends

from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Metric, Planned, Progress, from_json, to_json
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.ledger import Ledger, Result


def go(folder: Path, *sets: str, name: str = "cat.yaml", stopping: Callable[[], int] = lambda: 0, **options: object):
    """Run to the end and return all events."""
    return list(Run(loader.load(folder / name, sets), stopping=stopping, **options))


def write(folder: Path, stages: str, name: str = "trouble.yaml") -> str:
    (folder / name).write_text(f"stages:\n{stages}", encoding="utf-8")
    return name


@pytest.mark.parametrize("on", ["local", "inline"])
def test_a_pipeline_is_run_and_then_reused(project: Path, on: str) -> None:
    first = go(project, on=on)
    assert ends(first) == {"text": "finished", "tally": "finished", "kept": "finished"}
    assert (project / "result.html").read_text() == "<p>3</p>"
    (project / "result.html").unlink()
    second = go(project, on=on)
    assert ends(second) == {"text": "reused", "tally": "reused", "kept": "reused"}
    assert (project / "result.html").read_text() == "<p>3</p>"  # delivered after a reuse too


def test_a_worker_and_this_process_make_the_same_bytes(project: Path) -> None:
    def stored() -> dict[str, bytes]:
        store = project / ".lorapipe" / "store"
        return {str(file.relative_to(store)): file.read_bytes() for file in store.glob("*/out/*")}

    go(project)
    by_worker = stored()
    Path(project / ".lorapipe").rename(project / "aside")
    Path(project / "result.html").unlink()  # without a record it is somebody else's
    go(project, on="inline")
    assert stored() == by_worker and by_worker


def test_equal_bytes_upstream_stop_the_run_there(project: Path) -> None:
    go(project, on="inline")
    (project / "texts" / "three.md").write_text("not a text, but in the folder")
    events = go(project, on="inline")
    assert ends(events) == {"text": "finished", "tally": "reused", "kept": "reused"}
    reasons = [event.reason for event in events if isinstance(event, Planned) and event.stage == "text"]
    assert reasons == ["1 file added: three.md"]


def test_events_carry_the_stage_and_are_kept_but_for_the_progress(project: Path) -> None:
    events = go(project, "tally.steps=3")
    assert [event.step for event in events if isinstance(event, Metric)] == [0, 1, 2]
    assert all(event.stage == "tally" for event in events if isinstance(event, (Metric, Progress)))
    lines = (project / ".lorapipe" / "runs" / "1" / "events.jsonl").read_text("utf-8").splitlines()
    assert [from_json(line) for line in lines] == [event for event in events if not isinstance(event, Progress)]


def test_every_event_survives_the_wire() -> None:
    for event in (
        Finished("a", "k", 1.5, ("x", "y")),
        Progress("a", 1, 2, values={"d": 1e-6}),
        Failed("é", "oom", "m"),
    ):
        assert from_json(to_json(event)) == event
    later = json.loads(to_json(Log("a", "text"))) | {"colour": "red"}
    assert from_json(json.dumps(later)) == Log("a", "text")


def test_the_files_to_open_are_named(project: Path) -> None:
    files = {event.stage: event.files for event in go(project, on="inline") if isinstance(event, Finished)}
    assert files["kept"] == (str(project / "result.html"),)
    [page] = files["tally"]
    assert Path(page).read_text() == "<p>3</p>"


# --------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("how", "cause", "message"),
    [
        ("bug", "error", "ZeroDivisionError: one over nothing"),
        ("input", "input", "a.png: the picture is broken. Take it away."),
        ("memory", "oom", "CUDA out of memory. Tried to allocate 2 GiB"),
        ("die", "lost", "the worker process ended unexpectedly (status 3)"),
        ("nothing", "error", "The stage returned out/missing.txt, but did not make it."),
    ],
)
def test_a_failing_stage_ends_alone(project: Path, how: str, cause: str, message: str) -> None:
    name = write(
        project,
        f"""\
  bad: {{uses: trouble, how: {how}}}
  needs: {{uses: count, text: $bad}}
  text: {{uses: words, folder: texts}}
""",
    )
    events = go(project, name=name)
    failed = {event.stage: event for event in events if isinstance(event, Failed)}
    assert (failed["bad"].cause, failed["bad"].message) == (cause, message)
    assert (failed["needs"].cause, failed["needs"].message) == ("cancelled", "not run, because it needs bad")
    assert ends(events)["text"] == "finished"


def test_a_failures_log_holds_the_traceback_and_is_named(project: Path) -> None:
    name = write(project, "  bad: {uses: trouble, how: bug}\n")
    [failed] = [event for event in go(project, name=name) if isinstance(event, Failed)]
    log = Path(failed.hint.partition("Its log: ")[2])
    assert "raise ZeroDivisionError" in log.read_text("utf-8")


def test_what_a_stage_prints_goes_to_its_log(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = write(project, "  loud: {uses: trouble, how: noise}\n")
    assert ends(go(project, name=name)) == {"loud": "finished"}
    [log] = (project / ".lorapipe" / "store").glob("*/log.txt")
    assert log.read_text() == "noise from C\na warning from C\nnoise from Python\n"
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------------- stopping


class StopAfter:
    """A `stopping` that requests a stop after a number of metrics."""

    def __init__(self, seen: int, level: int = 1) -> None:
        self.left, self.level = seen, level

    def __call__(self) -> int:
        return self.level if self.left <= 0 else 0


@pytest.mark.parametrize("on", ["local", "inline"])
def test_a_stopped_stage_goes_on_where_it_was(project: Path, on: str) -> None:
    stop = StopAfter(3)
    seen = []
    slow = loader.load(project / "cat.yaml", ["tally.steps=400", "tally.pause=0.01"])
    for event in Run(slow, on=on, stopping=stop):
        seen.append(event)
        stop.left -= isinstance(event, Metric)
    assert [(event.stage, event.cause) for event in seen if isinstance(event, Failed)] == [("tally", "cancelled")]
    again = go(project, "tally.steps=400", "tally.pause=0", on=on)
    assert ends(again) == {"text": "reused", "tally": "finished", "kept": "finished"}
    assert [event.reason for event in again if isinstance(event, Planned) and event.stage == "tally"] == [
        "first run; resumes where it stopped"
    ]
    assert min(event.step for event in again if isinstance(event, Metric)) >= 3


def test_a_stage_that_does_not_listen_is_ended(project: Path) -> None:
    stop, began = StopAfter(1, level=2), time.monotonic()
    name = write(project, "  deaf: {uses: trouble, how: hang}\n")
    events = []
    for event in Run(loader.load(project / name), stopping=stop):
        events.append(event)
        stop.left -= isinstance(event, Progress)
    assert [event.cause for event in events if isinstance(event, Failed)] == ["cancelled"]
    assert time.monotonic() - began < 20


def test_leaving_the_loop_ends_the_worker(project: Path) -> None:
    name = write(project, "  deaf: {uses: trouble, how: hang}\n")
    events = Run(loader.load(project / name))
    while not isinstance(next(events), Progress):
        pass
    events.close()
    [lock] = (project / ".lorapipe" / "locks").glob("*.attempt")
    with pytest.raises(ProcessLookupError):
        os.kill(int(lock.read_text()), 0)


# ------------------------------------------------------------------------------------------------- two runs, one dead


def start(project: Path, *sets: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    words = [word for text in sets for word in ("--set", text)]
    command = [sys.executable, "-m", "lorapipe", "run", str(project / "cat.yaml"), "--json", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")


def until(process: subprocess.Popen[str], kind: type[Event]) -> Event:
    assert process.stdout is not None
    return next(event for line in process.stdout if isinstance(event := from_json(line), kind))


def test_a_second_run_of_the_same_thing_waits_and_reuses(project: Path) -> None:
    slow = ("tally.steps=50", "tally.pause=0.02")
    first = start(project, *slow)
    until(first, Metric)
    events = go(project, *slow)
    assert first.wait(20) == 0
    assert ends(events) == {"text": "reused", "tally": "reused", "kept": "reused"}
    [waits] = [event for event in events if isinstance(event, Log) and event.stage == "tally"]
    assert waits.text == f"waits for process {first.pid}, which is making the same result"


@pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")
def test_a_killed_run_leaves_nothing_in_the_way(project: Path) -> None:
    slow = ("tally.steps=400", "tally.pause=0.02")
    first = start(project, *slow)
    until(first, Metric)
    first.send_signal(signal.SIGKILL)  # the worker is an orphan now: it saves its state and ends
    first.wait()
    events = go(project, "tally.steps=400", "tally.pause=0")
    assert ends(events) == {"text": "reused", "tally": "finished", "kept": "finished"}
    assert min(event.step for event in events if isinstance(event, Metric)) > 0


def test_what_is_published_is_whole_however_a_run_ends(project: Path) -> None:
    go(project, on="inline")
    ledger = Ledger(project)
    keys = [manifest["key"] for manifest in ledger.manifests()]
    assert len(keys) == 3 and all(isinstance(ledger.result(key), Result) for key in keys)
    ledger.close()
