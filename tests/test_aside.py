"""What is written is there whole or not at all."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from lorapipe.aside import aside, write_text


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    write_text("before", target)
    with pytest.raises(RuntimeError), aside(target) as part:
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
