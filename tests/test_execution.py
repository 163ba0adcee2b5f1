"""A job can be cancelled, and its owner stopped, at any time: while it is opened, read, run or ended."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lorapipe.errors import InputError, LorapipeError
from lorapipe.job_queue.hooks import JobHooks
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.runner import QueueRunner
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Progress
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.timeout(100)

NEVER = 500.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def endless(project: Path) -> Path:
    """A sparse file as a source that takes more than a minute to read."""
    with (project / "texts" / "huge.txt").open("wb") as file:
        file.truncate(200 << 30)
    return project


class Waiting(JobHooks):
    """Hooks of which one blocks for jobs called `hangs`, as when a disk does not respond."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.begun = threading.Event()

    def _do(self, where: str, job: QueueJob) -> None:
        if where == self.where and job.title == "hangs":
            self.begun.set()
            time.sleep(NEVER)

    def open(self, job: QueueJob) -> Pipeline:
        self._do("open", job)
        return super().open(job)

    def note(self, job: QueueJob, event: Event) -> None:
        self._do("note", job)

    def deliver(self, job: QueueJob, artifacts: object) -> None:
        self._do("deliver", job)

    def ended(self, job: QueueJob) -> None:
        self._do("ended", job)


def states(queue: Queue) -> dict[str, str]:
    return {job.title: job.state for job in queue.jobs()}


def later(seconds: float, call: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_is_cancelled_while_its_sources_are_read_and_the_next_one_runs(
    queue: Queue, endless: Path, times: int
) -> None:
    (endless / "few").mkdir()
    job = queue.add(endless / "cat.yaml", title="endless")
    queue.add(endless / "cat.yaml", ["vars.folder=few"], title="next")

    def cancel() -> None:
        for _ in range(times):
            queue.cancel(job.number)

    later(1, cancel)
    list(QueueRunner(queue, ["cpu"], on="inline").events())
    assert states(queue) == {"endless": "cancelled", "next": "done"}


def test_an_owner_that_is_stopped_while_sources_are_read_gives_the_job_back(queue: Queue, endless: Path) -> None:
    queue.add(endless / "cat.yaml", title="endless")
    stop = threading.Event()
    later(1, stop.set)
    list(QueueRunner(queue, ["cpu"], on="inline", stopping=stop.is_set).events())
    [job] = queue.jobs()
    assert (job.state, job.crashes) == ("waiting", 0)


@pytest.mark.parametrize("where", ["open", "note", "deliver"])
def test_what_never_ends_is_left_behind(
    queue: Queue, project: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled twice, as by an impatient user: only then a running job may not save its state."""
    monkeypatch.setattr("lorapipe.job_queue.execution.ENDING_SECONDS", 1.0)
    hooks = Waiting(where)
    job = queue.add(project / "cat.yaml", title="hangs")
    queue.add(project / "cat.yaml", title="next")

    def cancel() -> None:
        hooks.begun.wait()
        queue.cancel(job.number)
        if where != "open":
            queue.cancel(job.number)

    later(0, cancel)
    list(QueueRunner(queue, ["cpu"], on="inline", hooks=hooks).events())
    assert states(queue) == {"hangs": "cancelled", "next": "done"}


def test_an_owner_does_not_wait_for_what_is_done_at_a_jobs_end(queue: Queue, project: Path) -> None:
    hooks = Waiting("ended")
    queue.add(project / "cat.yaml", title="hangs")
    list(QueueRunner(queue, ["cpu"], on="inline", hooks=hooks, stopping=hooks.begun.is_set).events())
    assert states(queue) == {"hangs": "done"}


def test_the_next_job_does_not_wait_for_ever_for_what_is_done_at_anothers_end(
    queue: Queue, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorapipe.job_queue.runner.ENDED_SECONDS", 1.0)
    queue.add(project / "cat.yaml", title="hangs")
    queue.add(project / "cat.yaml", ["tally.word=b"], title="next")
    list(QueueRunner(queue, ["cpu"], on="inline", hooks=Waiting("ended")).events())
    assert states(queue) == {"hangs": "done", "next": "done"}


class Mistaken(JobHooks):
    """Hooks of which one raises."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error

    def __getattribute__(self, name: str):
        if name == object.__getattribute__(self, "where"):
            return object.__getattribute__(self, "fail")
        return object.__getattribute__(self, name)

    def fail(self, job: QueueJob, *rest: object):
        if job.title == "bad":
            raise self.error
        return getattr(JobHooks(), self.where)(job, *rest)


ERRORS = [OSError(5, "Input/output error"), KeyError("settings"), SystemExit(3), LorapipeError("no.")]


@pytest.mark.parametrize("where", ["open", "note", "deliver", "ended", "objection"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_mistake_in_the_care_for_a_job_ends_the_queue(
    queue: Queue, project: Path, where: str, error: BaseException
) -> None:
    queue.add(project / "cat.yaml", title="bad")
    queue.add(project / "cat.yaml", title="good")
    list(QueueRunner(queue, ["cpu"], on="inline", hooks=Mistaken(where, error)).events())
    found = states(queue)
    assert found["good"] == "done"
    assert found["bad"] in {"open": ["failed"], "deliver": ["failed"]}.get(where, ["done", "failed", "waiting"])
    [reason] = [job.reason for job in queue.jobs() if job.title == "bad"]
    if found["bad"] == "failed":
        assert any(word in reason for word in ("Input/output error", "settings", "SystemExit", "no."))


def test_what_ends_one_devices_thread_ends_the_queue_in_words(
    queue: Queue, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that runs on the other device saves its state and returns to the queue."""

    def fail(self: Queue) -> None:
        raise ZeroDivisionError("nobody has thought of this")

    queue.add(project / "cat.yaml", ["tally.steps=4000", "tally.pause=0.01"])
    with pytest.raises(LorapipeError, match=r"the queue can no longer be run: ZeroDivisionError: nobody has th"):
        for told in QueueRunner(queue, ["cpu", "cuda:1"], on="inline", forever=True).events():
            if isinstance(told.event, Progress):
                monkeypatch.setattr(Queue, "recover", fail)
    [job] = queue.jobs()
    assert (job.state, job.crashes) == ("waiting", 0)


def test_a_queue_that_cannot_be_changed_waits_says_so_and_can_be_ended(
    queue: Queue, project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Queue) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Queue, "recover", refuse)
    stop = threading.Event()
    later(1.5, stop.set)
    with pytest.raises(LorapipeError, match="database or disk is full"):
        list(QueueRunner(queue, ["cpu"], on="inline", forever=True, stopping=stop.is_set).events())
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "database or disk is full The queue waits and tries again."
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
@pytest.mark.parametrize("what", ["run", "queue"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_the_program_while_sources_are_read(
    queue: Queue, endless: Path, what: str, number: signal.Signals
) -> None:
    job = queue.add(endless / "cat.yaml", title="endless")
    words = {"run": ["run", str(endless / "cat.yaml")], "queue": ["queue", "work", "--device", "cpu"]}[what]
    command = [sys.executable, "-m", "lorapipe", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    deadline = time.monotonic() + 30
    runs = endless / ".lorapipe" / "runs"
    while not (runs.is_dir() and any(runs.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Traceback" not in said and "Stopping" in said
    assert queue.job(job.number).state == "waiting"


def test_reading_is_given_up_at_once_and_nothing_is_left(endless: Path) -> None:
    asked = time.monotonic()
    events = Run(loader.load(endless / "cat.yaml"), on="inline", stopping=lambda: int(time.monotonic() - asked > 1))
    assert list(events) == []
    assert not list((endless / ".lorapipe" / "work").iterdir())
    (endless / "texts" / "huge.txt").unlink()
    assert [type(event).__name__ for event in Run(loader.load(endless / "cat.yaml"), on="inline")].count(
        "Finished"
    ) == 3


def test_a_cancelled_job_whose_file_is_gone_is_cancelled(queue: Queue, tmp_path: Path) -> None:
    job = queue.add(tmp_path / "gone.yaml")
    assert queue.cancel(job.number).state == "cancelled"
    with pytest.raises(InputError, match="ended already"):
        queue.cancel(job.number)
