"""The status file, the only one that is written into an inbox: the state of everything that lies there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lorapipe.atomic import write_bytes
from lorapipe.job_queue.job import QueueJob
from lorapipe.regular_files import kind_of, open_regular
from lorapipe.watch.folder_state import FolderState
from lorapipe.watch.settling import STATUS

MOST_LETTERS = 600
"""Of a reason; the whole of it stands beside the results."""
HEAD = """\
lorapipe watches this folder. Drop a folder of pictures, or a zip of one, and it becomes a LoRA.
Nothing in here is changed but this file, which may be deleted.
"""


def write_status(inbox: Path, jobs: Mapping[str, QueueJob], arriving: Mapping[str, FolderState]) -> str:
    """Write the file if something has changed. `jobs` are the newest of each entry's, by its name.

    What lies in its place and is no file of ours to write is left alone; returned is what is to be done about that.
    """
    text = "\n".join([HEAD, *_lines(jobs, arriving)]) + "\n"
    data, path = text.encode("utf-8", "replace"), inbox / STATUS
    with suppress(OSError):  # an inbox may be a share that is read only, or away
        if not inbox.is_dir():
            return ""
        there = _kind(path)
        if there:
            return f"{path} is {there}, and is not written to; take it away"
        if there is None or not _holds(path, data):
            write_bytes(data, path, synced=False)  # the next look mends it
    return ""


def _kind(path: Path) -> str | None:
    """What lies at a path, in words; empty for a file, None for nothing."""
    try:
        return kind_of(path.lstat().st_mode)
    except FileNotFoundError:
        return None


def _holds(path: Path, data: bytes) -> bool:
    with open_regular(path, follow=False) as file:
        return file.read(len(data) + 1) == data


def _lines(jobs: Mapping[str, QueueJob], arriving: Mapping[str, FolderState]) -> Iterator[str]:
    for name in sorted({*jobs, *arriving}):
        job, state = jobs.get(name), arriving.get(name)
        if job is not None:
            yield f"{name}: {_of(job)}"
        if state is not None and (state.trouble or state.pictures or job is None):
            yield f"{name}: {arriving_text(state)}"


def arriving_text(state: FolderState) -> str:
    """The state of something that is no job yet, in words."""
    return state.trouble or (f"arriving, {state.pictures} pictures so far" if state.pictures else "no pictures so far")


def _of(job: QueueJob) -> str:
    version = f" (version {job.version})" if job.version > 1 else ""
    words = " ".join(job.reason.split())
    reason = f": {words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + '…'}" if words else ""
    where = f", see {job.folder}" if job.state in ("done", "running", "failed", "aside") else ""
    state = "set aside" if job.state == "aside" else job.state
    return f"{state}{version}{reason}{where}"
