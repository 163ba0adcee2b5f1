"""Atomic writes: a file is complete or absent."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

import pytest
from corpus.disks import disk
from corpus.small_disks import mounted

from lorapipe.atomic import replacing, write_bytes, write_text
from lorapipe.fsync import make_folder, sync_all, sync_file, sync_tree


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    write_text("before", target)
    with pytest.raises(RuntimeError), replacing(target) as part:
        part.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text("utf-8") == "before" and [*target.parent.iterdir()] == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text("utf-8")), daemon=True)
    reader.start()
    write_text("hello", pipe)
    reader.join(10)
    assert read == ["hello"] and pipe.is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_what_is_no_file_is_passed_over_by_a_sync(tmp_path: Path) -> None:
    """A pipe would block; a link leads out of the folder, or nowhere."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_text("x")
    sync_tree(tmp_path)
    sync_all([tmp_path / "nothing", tmp_path / "lost", tmp_path / "deep", tmp_path / "deep" / "er" / "file"])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such device")
def test_what_cannot_sync_is_taken_as_it_is() -> None:
    """Some network shares cannot; the null device gives the same error."""
    with pytest.raises(OSError, match="argument"), Path("/dev/null").open("rb") as file:
        os.fsync(file.fileno())
    sync_file("/dev/null")


def test_folders_are_made_as_far_as_they_are_not_there(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        make_folder(tmp_path / "file" / "deeper")


@pytest.mark.skipif(sys.platform != "linux", reason="mounts disks as Linux does")
def test_a_disk_that_fails_while_it_syncs_leaves_the_old_file(tmp_path: Path) -> None:
    """The write to memory succeeds; only the sync reports the disk's error."""
    with mounted(tmp_path / "memory", "size=24m") as memory, disk(memory / "disk", 64) as made:
        target = made.mounted / "file"
        write_text("before", target)
        with pytest.raises(OSError) as failed:
            write_bytes(os.urandom(40 << 20), target)
        assert failed.value.errno in (errno.EIO, errno.ENOSPC)
        assert target.read_text() == "before" and [*made.mounted.glob("*.part")] == []
