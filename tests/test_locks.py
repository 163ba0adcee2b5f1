"""Locks, with and without kernel locks of the file system: one process holds a lock, and its end releases it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorapipe.pipeline import lease_locks
from lorapipe.pipeline.lease_locks import LOST_SECONDS, Owner
from lorapipe.pipeline.locks import Busy, holding, take

fcntl = pytest.importorskip("fcntl")

WITHOUT = """
import fcntl, os
def flock(file, how, number=int(os.environ["NO_FLOCK"])):
    raise OSError(number, os.strerror(number))
fcntl.flock = flock
"""
"""Code at Python's start that simulates a file system without locks."""
HOLD = """
import pathlib, sys, time
from lorapipe.pipeline.locks import take
lock = take(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
COUNT = """
import pathlib, sys, time
from lorapipe.pipeline.locks import holding
path = pathlib.Path(sys.argv[1])
for _ in range(15):
    with holding(path, lambda busy: None, pause=0.001):
        count = int(path.with_name("count").read_text())
        time.sleep(0.0005)
        path.with_name("count").write_text(str(count + 1))
"""
UNSUPPORTED = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO, errno.EINVAL]


@pytest.fixture
def no_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, for this process and its children."""
    lacking(errno.ENOSYS, tmp_path, monkeypatch)


def lacking(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WITHOUT)
    monkeypatch.setenv("NO_FLOCK", str(number))
    root = Path(lease_locks.__file__).parents[2]
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder / "site"), str(root), os.environ.get("PYTHONPATH", "")])
    )

    def flock(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def held(lock: Path) -> subprocess.Popen[bytes]:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline().strip() == b"held"
    return other


@pytest.mark.parametrize("number", UNSUPPORTED, ids=errno.errorcode.get)
def test_a_project_runs_on_a_file_system_without_locks(
    project: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lacking(number, project, monkeypatch)
    for _ in range(2):
        command = [sys.executable, "-m", "lorapipe", "run", "cat.yaml"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "waits for" not in done.stdout + done.stderr
    assert (project / "result.html").read_text() == "<p>3</p>"
    assert not list((project / ".lorapipe" / "locks").glob("*.owners"))


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN], ids=errno.errorcode.get)
def test_a_lock_that_is_held_is_no_lack_of_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    lacking(number, tmp_path, monkeypatch)
    with pytest.raises(Busy, match="held by another process"):
        take(tmp_path / "a.lock")


def test_without_kernel_locks_one_process_holds_it_and_its_end_frees_it(tmp_path: Path, no_flock: None) -> None:
    lock = tmp_path / "a.lock"
    other = held(lock)
    for signal_ in (None, signal.SIGSTOP):
        if signal_:
            other.send_signal(signal_)
        with pytest.raises(Busy, match=f"held by process {other.pid}$"):
            take(lock)
    other.kill()
    other.wait()
    with take(lock), pytest.raises(Busy, match=f"held by process {os.getpid()}$"):
        take(lock)
    take(lock).close()


@pytest.mark.usefixtures("no_flock")
def test_without_kernel_locks_many_take_turns(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    others = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path / "a.lock")]) for _ in range(4)]
    assert [other.wait(60) for other in others] == [0] * 4
    assert (tmp_path / "count").read_text() == "60"


def test_a_mix_of_processes_with_and_without_locks_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lacking(errno.ENOLCK, tmp_path, patch)  # a server without any more locks
        other = held(tmp_path / "a.lock")
    with pytest.raises(Busy):
        take(tmp_path / "a.lock")
    other.kill()
    other.wait()
    take(tmp_path / "a.lock").close()


def owned(lock: Path, owner: Owner, age: float = 0.0, number: int = 7) -> Path:
    """Create a lock as another process has left it, or holds it."""
    file = lease_locks.folder_of(lock) / str(number)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(owner._asdict()))
    os.utime(file, (time.time() - age, time.time() - age))
    return file


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize(
    ("change", "age", "is_held"),
    [
        ({"started": "1"}, 0.0, False),  # the id was reused
        ({"pid": 2**22 + 5}, 0.0, False),
        ({"pid": 1, "started": lease_locks._start_of(1)}, 0.0, True),
        ({"host": "node7", "place": "node7 elsewhere"}, 0.0, True),
        ({"host": "node7", "place": "node7 elsewhere"}, LOST_SECONDS - 60, True),
        ({"host": "node7", "place": "node7 elsewhere"}, LOST_SECONDS + 60, False),
    ],
)
def test_an_owner_that_is_gone_holds_nothing(
    tmp_path: Path, change: dict[str, object], age: float, is_held: bool
) -> None:
    lock = tmp_path / "a.lock"
    file = owned(lock, Owner.this()._replace(**change), age)  # type: ignore[arg-type]
    if is_held:
        with pytest.raises(Busy) as busy:
            take(lock)
        if "host" in change:
            assert "on node7" in busy.value.who and str(file.parent) in busy.value.who
        file.unlink()
    take(lock).close()


@pytest.mark.usefixtures("no_flock")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\x00" * 9])
def test_a_lock_file_that_was_never_finished_is_held_for_a_while_only(tmp_path: Path, text: str) -> None:
    file = owned(tmp_path / "a.lock", Owner.this())
    file.write_text(text)
    with pytest.raises(Busy, match="another process"):
        take(tmp_path / "a.lock")
    os.utime(file, (1, 1))
    take(tmp_path / "a.lock").close()


def test_a_wait_says_for_whom_and_can_be_given_up(tmp_path: Path, no_flock: None) -> None:
    other = held(tmp_path / "a.lock")
    said: list[str] = []

    def waiting(busy: Busy) -> None:
        said.append(busy.who)
        if len(said) == 2:
            other.kill()
            other.wait()

    with holding(tmp_path / "a.lock", waiting, pause=0.01):
        assert set(said) == {f"process {other.pid}"}


def test_a_folder_where_no_lock_can_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file")
    with pytest.raises(OSError, match="locks"):
        take(tmp_path / "locks" / "a.lock")


def test_a_lock_file_that_is_a_link_to_itself_makes_way(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.symlink_to(lock)
    with take(lock), pytest.raises(Busy):
        take(lock)
