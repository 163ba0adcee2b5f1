"""Full disks, read-only projects and limits: a message, exit status 1, no wrong results, and the next run resumes."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from corpus.small_disks import fill, lorapipe, mounted, read_only

from lorapipe.cli import main
from lorapipe.errors import LorapipeError, problem_of
from lorapipe.pipeline import database, database_files
from lorapipe.pipeline.ledger import Ledger

PIPELINE = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count, text: $text, word: a}
  kept: {uses: keep, tally: $tally, to: result.html}
"""
LOOKING = (
    ["plan", "cat.yaml"],
    ["check", "cat.yaml"],
    ["runs"],
    ["runs", "1"],
    ["why", "tally"],
    ["log", "tally"],
    ["gc", "0"],
)


@pytest.fixture(autouse=True)
def _posix() -> None:
    pytest.importorskip("resource")


def pipeline_in(folder: Path) -> Path:
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("a b a c a")
    (folder / "cat.yaml").write_text(PIPELINE)
    return folder


def is_told(done, status: int = 1) -> bool:
    """Return why a command has not ended with a proper message; empty if it has."""
    assert done.returncode == status and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return bool(done.stderr.strip())


@pytest.mark.parametrize("size", ["40k", "100k"])
def test_a_disk_too_small_ends_in_words_and_more_room_goes_on(tmp_path: Path, monkeypatch, size: str) -> None:
    with mounted(tmp_path / "disk", f"size={size}") as disk:
        pipeline_in(disk)
        done = lorapipe(disk, "run", "cat.yaml", "--quiet")
        assert "Traceback" not in done.stderr and done.returncode in (0, 1)
        if done.returncode:
            assert "o space left on device" in done.stderr and "ake room" in done.stderr
        monkeypatch.setenv("LORAPIPE_HOME", str(disk / "home"))
        assert lorapipe(disk, "queue", "add", "cat.yaml").returncode == 1
        for words in (["plan", "cat.yaml"], ["gc", "0", "--yes"]):
            is_told(lorapipe(disk, *words), 0)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert lorapipe(disk, "run", "cat.yaml", "--quiet").returncode == 0
        assert (disk / "result.html").read_text() == "<p>3</p>"
        assert lorapipe(disk, "queue", "add", "cat.yaml").returncode == 0


def test_a_disk_that_has_filled_up_can_be_looked_at_and_cleaned(toys: None, tmp_path: Path, monkeypatch) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        monkeypatch.setenv("LORAPIPE_HOME", str(disk / "home"))
        pipeline_in(disk)
        assert lorapipe(disk, "run", "cat.yaml", "--quiet").returncode == 0
        assert lorapipe(disk, "queue", "add", "cat.yaml").returncode == 0
        full = fill(disk)
        for words in (["run", "cat.yaml"], ["queue", "add", "cat.yaml"], ["queue", "pause"], ["lock", "cat.yaml"]):
            assert is_told(lorapipe(disk, *words))
        monkeypatch.chdir(disk)
        for words in (*LOOKING, ["queue"]):
            assert main(list(words)) == 0
        full.unlink()
        assert lorapipe(disk, "run", "cat.yaml", "--quiet", "--set", "tally.word=b").returncode == 0
        assert lorapipe(disk, "queue", "work").returncode == 0
        assert len(lorapipe(disk, "runs").stdout.splitlines()) == 3


def test_a_queue_that_could_not_be_written_is_written_when_there_is_room(tmp_path: Path, monkeypatch) -> None:
    from lorapipe.job_queue.queue import Queue

    monkeypatch.setattr(database, "TRY_SECONDS", 0.0)
    with mounted(tmp_path / "disk", "size=1m") as disk:
        with closing(Queue(disk)) as queue:
            queue.add(Path("/jobs/a.yaml"))
        full = fill(disk)
        with closing(Queue(disk)) as queue:
            assert len(queue.jobs()) == 1
            with pytest.raises(LorapipeError, match="o space left"):
                queue.add(Path("/jobs/b.yaml"))
            full.unlink()
            assert queue.add(Path("/jobs/b.yaml")).number == 2


def test_a_read_only_project_can_be_looked_at(tmp_path: Path, monkeypatch, capsys, caplog) -> None:
    caplog.set_level(logging.WARNING, "lorapipe")
    with mounted(tmp_path / "disk", "size=4m") as disk:
        pipeline_in(disk)
        assert lorapipe(disk, "run", "cat.yaml", "--quiet").returncode == 0
        root = disk / ".lorapipe"
        with closing(Ledger(disk)) as ledger:  # a run that was killed has not written all of it into the file
            ledger.records.begin("cat.yaml", 2)
            left = {name: (root / name).read_bytes() for name in ("ledger.db", "ledger.db-wal")}
        for name, data in left.items():
            (root / name).write_bytes(data)
        read_only(disk)
        monkeypatch.chdir(disk)
        monkeypatch.syspath_prepend(str(Path(__file__).parent / "toys"))
        for words in LOOKING:
            assert main(words) == 0
        assert len([line for line in capsys.readouterr().out.splitlines() if line.endswith("cat.yaml")]) >= 2
        assert not caplog.records
        done = lorapipe(disk, "run", "cat.yaml", "--set", "tally.word=b")
        assert is_told(done, 2) and "cannot write here" in done.stderr


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        (["run", "cat.yaml"], {"RLIMIT_FSIZE": 0}),
        (["run", "cat.yaml"], {"RLIMIT_FSIZE": 20_000}),
        (["run", "cat.yaml"], {"RLIMIT_NOFILE": 9}),
        (["plan", "cat.yaml"], {"RLIMIT_NOFILE": 6}),
        (["queue", "add", "cat.yaml"], {"RLIMIT_FSIZE": 20_000}),
        (["queue", "add", "cat.yaml"], {"RLIMIT_NOFILE": 6}),
    ],
    ids=str,
)
def test_limits_of_the_shell_are_told(tmp_path: Path, monkeypatch, words: list[str], limits: dict[str, int]) -> None:
    monkeypatch.setenv("LORAPIPE_HOME", str(tmp_path / "home"))
    pipeline_in(tmp_path)
    done = lorapipe(tmp_path, *words, **limits)
    assert "Traceback" not in done.stdout + done.stderr and done.returncode in (0, 1, 2)
    if done.returncode:
        assert (
            "too many open files" in done.stderr.lower() + done.stdout.lower()
            or "file too large" in done.stderr.lower()
        )
    assert lorapipe(tmp_path, "run", "cat.yaml", "--quiet").returncode == 0
    assert (tmp_path / "result.html").read_text() == "<p>3</p>"


@pytest.mark.parametrize("words", [["run", "cat.yaml"], ["plan", "cat.yaml"], ["queue", "pause"]])
def test_a_locked_database_is_told_with_what_helps(project: Path, monkeypatch, capsys, words: list[str]) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("LORAPIPE_HOME", str(project))
    monkeypatch.setattr(database_files, "PATIENCE_SECONDS", 0.1)
    assert main(["run", "cat.yaml", "--quiet"]) == main(["queue"]) == 0
    file = project / "queue.db" if words[0] == "queue" else project / ".lorapipe" / "ledger.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert main(words) == 1
        assert "kept it locked" in capsys.readouterr().err
    assert main(words) == 0


def test_what_the_system_refuses_is_said_with_place_and_cure(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    for number in (errno.ENOSPC, errno.EMFILE, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES):
        problem = problem_of(OSError(number, os.strerror(number), "/some/file"))
        assert problem.where == "/some/file" and problem.cure and problem.what[0].islower()

    def refuse(options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    monkeypatch.setattr("lorapipe.commands.show.main", refuse)
    assert main(["show"]) == 1
    assert capsys.readouterr().err.startswith("/some/file: no space left on device. Make room")
