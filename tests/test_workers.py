"""Whatever happens to a worker, its stage and the run end with a message: nothing waits for ever."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from corpus import workers
from outcomes import ends

from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Failed, Log, Started, readable
from lorapipe.pipeline.execution import job
from lorapipe.pipeline.execution.launchers._subprocess import Process
from lorapipe.pipeline.execution.pool import Lines, Pool, Slot, Unreadable
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.timeout(60)

STAGES = "stages:\n  bad: {uses: trouble, how: noise}\n  on_it: {uses: count, text: $bad}\n"


def load(project: Path, text: str = STAGES) -> Pipeline:
    (project / "p.yaml").write_text(text, encoding="utf-8")
    return loader.load(project / "p.yaml")


def run_with(command: Sequence[str], pipeline: Pipeline, **how: object) -> list[Event]:
    with closing(Pool([Slot(Process(command), "cpu")])) as pool:
        return list(Run(pipeline, pool=pool, **how))


def failure(events: list[Event], stage: str = "bad") -> Failed:
    [failed] = [event for event in events if isinstance(event, Failed) and event.stage == stage]
    return failed


@pytest.mark.parametrize("what", workers.LOST)
def test_a_worker_that_can_tell_nothing_any_more_is_lost_and_started_once_more(project: Path, what: str) -> None:
    does, said = workers.LOST[what]
    events = run_with(workers.command(does), load(project))
    failed = failure(events)
    assert failed.cause == "lost" and said in failed.message
    assert len([event for event in events if isinstance(event, Log) and "is started again" in event.text]) == 1
    assert failure(events, "on_it").message == "not run, because it needs bad"


@pytest.mark.parametrize("what", workers.FAILED)
def test_an_outcome_that_was_told_is_taken_whatever_it_holds(project: Path, what: str) -> None:
    does, message = workers.FAILED[what]
    events = run_with(workers.command(does), load(project))
    failed = failure(events)
    assert failed.cause == "error" and message in failed.message and failed.message
    kept = list(readable((project / ".lorapipe/runs/1/events.jsonl").read_text("utf-8").splitlines()))
    assert failed in kept


@pytest.mark.parametrize("what", workers.SILENT)
def test_a_silent_worker_is_left_at_work_and_ended_when_the_user_wants_it(project: Path, what: str) -> None:
    """Its job is larger than a pipe's buffer, so that writing it to a process that does not read would block."""
    does, deaf, urgently = workers.SILENT[what]
    text = STAGES.replace("how: noise}", "how: noise, text: $long}")
    long = f"  long: {{uses: words, folder: texts, note: {'x' * 300_000}}}\n"
    pipeline, began = load(project, text + long), time.monotonic()
    events = run_with(workers.command(does, deaf), pipeline, stopping=lambda: urgently * (time.monotonic() - began > 3))
    cause = "cancelled" if urgently == 2 else "lost"
    assert [(each.stage, each.cause) for each in events if isinstance(each, Failed)] == [("long", cause)]


def test_other_stages_go_on(project: Path) -> None:
    """The bad worker has the device; the other one works."""
    text = "stages:\n  bad: {uses: trouble_on_device, how: noise}\n  good: {uses: trouble, how: noise}\n"
    bad = Slot(Process(workers.command(workers.LOST["not JSON"][0])), "cpu")
    with closing(Pool([bad, Slot(Process())])) as pool:
        assert ends(Run(load(project, text), pool=pool)) == {"bad": "failed", "good": "finished"}


def test_a_worker_that_goes_wrong_once_costs_one_more_try(project: Path, tmp_path: Path) -> None:
    once = f"""
if not os.path.exists({str(tmp_path / "sign")!r}):
    open({str(tmp_path / "sign")!r}, "w").close()
    tell(b'{{"event": "progr', b""); die()
tell({{"event": "failed", "cause": "error", "message": "the second try"}}); live_on()
"""
    events = run_with(workers.command(once), load(project))
    assert failure(events).message == "the second try"
    assert sum(isinstance(event, Started) for event in events) == 2


@pytest.mark.parametrize("command", [("/nowhere/python",), (os.devnull,)])
def test_a_worker_that_cannot_be_started_is_a_failure_of_its_stage(project: Path, command: tuple[str, ...]) -> None:
    failed = failure(run_with(command, load(project)))
    assert failed.cause == "lost" and failed.message.startswith("the worker could not be started: ")


@pytest.mark.skipif(sys.platform == "win32", reason="limits as Unix has them")
def test_where_no_more_files_can_be_opened_for_a_worker_its_stage_fails(project: Path) -> None:
    """In a process of its own, which reaches its limit when the worker is started."""
    load(project, "stages:\n  a: {uses: trouble, how: noise}\n  b: {uses: trouble, how: die}\n")
    script = f"""
import json, os, resource, sys
from lorapipe.pipeline.events import Started, Failed
from lorapipe.pipeline import loader
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.execution.launchers import _subprocess
spawn = _subprocess._spawn
def spawn_at_the_limit(command):
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))
    try:
        return spawn(command)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
_subprocess._spawn = spawn_at_the_limit
print([each.message for each in Run(loader.load({str(project / "p.yaml")!r})) if isinstance(each, Failed)])
"""
    import subprocess

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.count("could not be started: Too many open files") == 2, done.stderr


# --------------------------------------------------------------------------------------------------------- the pieces


def test_lines_are_whole_wherever_they_are_cut() -> None:
    text = "".join(f'{{"n": {n}, "é": "{"x" * n}"}}\n' for n in range(50)).encode()
    for size in (1, 2, 7, 64, 1 << 16):
        lines = Lines()
        got = [line for start in range(0, len(text), size) for line in lines.of(text[start : start + size])]
        assert [json.loads(line)["n"] for line in got] == list(range(50)), size
    assert Lines().of(b'{"event": "prog') == []
    with pytest.raises(Unreadable):
        Lines().of(b"x" * ((16 << 20) + 1) + b"\n")


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ModuleNotFoundError) as missing:
        __import__("no_such_package.inner")
    told = job.failure("train", missing.value)
    assert told.message == "no_such_package is not installed in the Python that runs this stage."
    assert told.hint.endswith("-m pip install no_such_package") and sys.executable in told.hint
