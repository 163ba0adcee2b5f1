"""A job on another machine, known only by a shared folder and a cluster's client: its stage ends whatever fails."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Failed, Finished, Log, Metric
from lorapipe.pipeline.execution import shared_folder
from lorapipe.pipeline.execution.pool import Pool, Slot
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.execution.shared_folder import SharedFolderWorker

pytestmark = pytest.mark.timeout(120)

PERFORM = "import sys; from lorapipe.pipeline.execution.shared_folder import perform_in; perform_in(sys.argv[1])"
TELL = """
import sys, time
from pathlib import Path
with open(Path(sys.argv[1]) / "events.jsonl", "ab") as file:
    file.write({told!r} * {times})
{then}
"""
STAGES = "stages:\n  bad: {uses: trouble, how: noise}\n"
TEXT = "stages:\n  text: {uses: words, folder: texts}\n"
COUNT = f"{TEXT}  tally: {{uses: count, text: $text, steps: 40, pause: 0.1}}\n"


class Elsewhere(SharedFolderWorker):
    """A launcher of jobs in local processes that share only a folder with the driver, with a client that may fail."""

    def __init__(self, program: str = PERFORM, **befalls: Callable[[Path], Any]) -> None:
        super().__init__()
        self._program = program
        self._befalls = befalls
        self._process: subprocess.Popen[bytes] | None = None
        self.folders: list[Path] = []

    def _befall(self, what: str) -> None:
        if what in self._befalls:
            self._befalls[what](self.folders[-1])

    def launch(self, folder: Path) -> None:
        self.folders.append(folder)
        self._befall("launch")
        self._process = subprocess.Popen([sys.executable, "-c", self._program, str(folder)])
        self._befall("launched")

    def is_alive(self) -> bool:
        self._befall("is_alive")
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._befall("kill")

    @property
    def is_warm(self) -> bool:
        return False


def run_on(worker: SharedFolderWorker, project: Path, text: str = STAGES) -> list[Event]:
    (project / "p.yaml").write_text(TEXT, encoding="utf-8")
    list(Run(loader.load(project / "p.yaml"), on="inline"))
    (project / "p.yaml").write_text(text, encoding="utf-8")
    with closing(Pool([Slot(worker, "cpu")])) as pool:
        return list(Run(loader.load(project / "p.yaml"), pool=pool))


def failure(events: list[Event]) -> Failed:
    [failed] = [event for event in events if isinstance(event, Failed) and event.stage in ("bad", "tally")]
    return failed


@pytest.mark.parametrize(
    ("told", "then", "said"),
    [
        (b'{"event": "progr', "", "the job ended without an answer"),
        (b"", "", "the job ended without an answer"),
        (b'{"event": "log", "text": "\xff"}\n', "time.sleep(600)", "invalid message"),
        (
            b"slurmstepd: error: out of memory\n",
            "time.sleep(600)",
            "invalid message: 'slurmstepd: error: out of memory'",
        ),
        (b'{"event": "finished"}\n', "time.sleep(600)", "invalid message"),
        (b"x", "time.sleep(600)", "more than 16 MB"),
    ],
    ids=["half a line", "nothing", "not UTF-8", "a client's own words", "not its to tell", "no end of line"],
)
def test_a_job_that_can_tell_nothing_any_more_is_lost(
    project: Path, told: bytes, then: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "SETTLE_SECONDS", 0.5)
    program = TELL.format(told=told, times=(17 << 20) if told == b"x" else 1, then=then)
    events = run_on(Elsewhere(program), project)
    assert failure(events).cause == "lost" and said in failure(events).message
    assert [event for event in events if isinstance(event, Log) and "is started again" in event.text]
    assert not list((project / ".lorapipe" / "work").glob("*.job"))


def test_a_client_that_still_writes_when_the_job_is_over_stops_nothing(project: Path) -> None:
    """It keeps creating files in the folder, so that the folder may not be empty when it is removed."""
    over = threading.Event()

    def write(folder: Path) -> None:
        def often() -> None:
            number = 0
            while not over.wait(0.0005):
                number += 1
                with suppress(OSError):
                    (folder / f"{number}_log.out").touch()

        threading.Thread(target=often, daemon=True).start()

    events = run_on(Elsewhere(launched=write), project)
    over.set()
    assert any(isinstance(event, Finished) for event in events)


def test_a_share_that_is_away_for_a_while_costs_nothing(project: Path) -> None:
    """Neither the driver nor the job can reach the folder for two seconds; no message is lost."""

    def go_away(folder: Path) -> None:
        def away() -> None:
            while not (folder / "events.jsonl").exists():
                time.sleep(0.01)
            time.sleep(0.5)
            work = folder.parent
            work.rename(work.with_name("away"))
            time.sleep(2)
            with suppress(OSError):
                work.rmdir()
            work.with_name("away").rename(work)

        threading.Thread(target=away, daemon=True).start()

    events = run_on(Elsewhere(launched=go_away), project, COUNT)
    assert [event.step for event in events if isinstance(event, Metric)] == list(range(40))
    assert not [event for event in events if isinstance(event, (Failed, Log))]


def test_a_folder_that_somebody_removes_is_told_at_once(project: Path) -> None:
    def remove(folder: Path) -> None:
        while not (folder / "events.jsonl").exists():
            time.sleep(0.01)
        shared_folder._remove(folder)

    failed = failure(run_on(Elsewhere(launched=remove), project, COUNT))
    assert failed.cause == "lost" and failed.message.startswith("its folder was removed: ")


def test_a_job_of_another_version_is_refused_in_words(project: Path) -> None:
    def change(folder: Path) -> None:
        job = json.loads((folder / "job.json").read_text("utf-8"))
        (folder / "job.json").write_text(json.dumps({**job, "colour": "red"}), encoding="utf-8")

    for what in (change, lambda folder: (folder / "job.json").write_text("{", encoding="utf-8")):
        failed = failure(run_on(Elsewhere(launch=what), project))
        assert failed.cause == "error" and "job.json: is not a valid job" in failed.message
        assert "may have different versions" in failed.message


def fail(folder: Path) -> None:
    raise ConnectionError("the cluster is gone")


def hang(folder: Path) -> None:
    time.sleep(500)


@pytest.mark.parametrize(
    ("befalls", "said"),
    [
        ({"launch": fail}, "could not be started: ConnectionError: the cluster is gone"),
        ({"is_alive": fail}, "the job's state cannot be read any more: ConnectionError: the cluster is gone"),
        ({"launch": hang}, "neither the cluster nor the shared folder has answered"),
        ({"is_alive": hang}, "neither the cluster nor the shared folder has answered"),
        ({"is_alive": fail, "kill": hang}, "the job's state cannot be read any more"),
        ({"is_alive": fail, "kill": fail}, "the job's state cannot be read any more"),
    ],
)
def test_a_client_that_fails_or_hangs_ends_the_attempt(
    project: Path, befalls: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("ERROR_SECONDS", 1.0), ("BLOCKED_SECONDS", 2.0), ("KILL_SECONDS", 1.0)):
        monkeypatch.setattr(shared_folder, name, seconds)
    silent = "import time; time.sleep(600)"
    failed = failure(run_on(Elsewhere(silent, **befalls), project))
    assert failed.cause == "lost" and said in failed.message


def test_a_client_that_fails_for_a_moment_ends_nothing(project: Path) -> None:
    asked = []

    def sometimes(folder: Path) -> None:
        asked.append(folder)
        if len(asked) % 3:
            raise TimeoutError("sacct: slurm_persist_conn_open: timed out")

    assert [event for event in run_on(Elsewhere(is_alive=sometimes), project) if isinstance(event, Finished)]


def test_a_job_that_nobody_wants_any_more_ends(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder was removed, as when the driver has given it up and started it again elsewhere."""
    folder = project / "some.job"
    folder.mkdir()
    (folder / "driver").write_text("1")
    stopping = shared_folder._stopping(folder)
    assert not stopping()
    shared_folder._remove(folder)
    time.sleep(2 * shared_folder.POLL_SECONDS)
    assert stopping()
