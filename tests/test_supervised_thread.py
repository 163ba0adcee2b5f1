"""A background thread that ends has a reason, and its work ends with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from comfy_nodes.graph_runner import GraphRun, Workers, read_running
from lorapipe.cli import main
from lorapipe.job_queue.queue import Queue
from lorapipe.page import server
from lorapipe.page.routes import Routes
from lorapipe.pipeline import loader
from lorapipe.supervised_thread import SupervisedThread, within
from lorapipe.watch.inbox import Inbox

pytestmark = pytest.mark.timeout(60)


def test_a_followers_end_has_a_reason_and_a_traceback_in_its_log(tmp_path: Path) -> None:
    def fail() -> str:
        raise KeyError("who")

    def leave() -> str:
        raise SystemExit("enough")

    for follow, reason in (
        (fail, "KeyError: 'who'"),
        (leave, "SystemExit: enough"),
        (lambda: "", ""),
        (lambda: "b", "b"),
    ):
        follower = SupervisedThread("test", follow, tmp_path / "log.txt")
        follower.start()
        follower.join(10)
        assert not follower.is_alive() and follower.reason == reason
    assert "raise KeyError" in (tmp_path / "log.txt").read_text("utf-8")


def test_what_never_returns_is_left_to_itself() -> None:
    never = threading.Event()
    assert not within(0.1, lambda: never.wait() and None)
    assert within(10, lambda: None)
    never.set()


# --------------------------------------------------------------------------- what goes wrong where nobody has thought of it


def fail(*_: object) -> None:
    raise ZeroDivisionError("nobody has thought of this")


def test_an_inbox_that_cannot_be_watched_ends_the_watcher_in_words(
    queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inbox").mkdir()
    monkeypatch.setattr(Inbox, "poll", fail)
    assert main(["watch", str(tmp_path / "inbox"), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert "inbox: cannot be watched any more: ZeroDivisionError: nobody has thought of this" in said


def test_a_page_that_cannot_be_served_ends_the_program_in_words(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._Server, "service_actions", fail)
    assert main(["queue", "ui"]) == 1
    assert "the page cannot be served any more: ZeroDivisionError" in capsys.readouterr().err
    with server.Page(Routes(queue), queue.root, 0) as page:
        deadline = time.monotonic() + 20
        while not page.trouble and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "ZeroDivisionError" in page.trouble  # and closing it has not waited for the dead server


def test_a_graphs_run_ends_with_what_has_ended_its_thread(project: Path) -> None:
    running = read_running({"launcher": {"type": "inline"}, "device": "cpu"})
    workers = Workers()
    for name, pipeline, expected in (
        ("no pipeline", None, AttributeError),
        ("as it should be", loader.load(project / "cat.yaml"), None),
    ):
        run = GraphRun(pipeline, running, workers, keep=False, make_room=lambda: None)  # type: ignore[arg-type]
        deadline = time.monotonic() + 30
        while not run.is_over and time.monotonic() < deadline:
            time.sleep(0.01)
        assert run.is_over, name
        if expected is None:
            assert len(run.artifacts()) == 3  # the workers were released
        else:
            with pytest.raises(expected):
                run.artifacts()
