"""The status file, the only file that is written into an inbox: the state of each entry."""

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
"""Most characters of a reason; the full text is in the folder of results."""
HEAD = """\
lorapipe watches this folder. Drop a folder of pictures, or a zip of one, and it becomes a LoRA.
Only this file is changed here; it may be deleted.
"""


def write_status(inbox: Path, jobs: Mapping[str, QueueJob], arriving: Mapping[str, FolderState]) -> str:
    """Write the file if something has changed. `jobs` has the newest job of each entry, by name.

    If something other than a file is in its place, that is not touched, and a message about it is returned.
    """
    text = "\n".join([HEAD, *_lines(jobs, arriving)]) + "\n"
    data, path = text.encode("utf-8", "replace"), inbox / STATUS
    with suppress(OSError):  # an inbox may be on a read-only or unreachable share
        if not inbox.is_dir():
            return ""
        there = _kind(path)
        if there:
            return f"{path} is {there}, so the status is not written; remove it"
        if there is None or not _holds(path, data):
            write_bytes(data, path, synced=False)  # the next poll repairs it
    return ""


def _kind(path: Path) -> str | None:
    """Return what is at a path, as text; empty for a file, None for nothing."""
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
    """Return the state of an entry that is not a job yet, as text."""
    return state.trouble or (f"arriving, {state.pictures} pictures so far" if state.pictures else "no pictures so far")


def _of(job: QueueJob) -> str:
    version = f" (version {job.version})" if job.version > 1 else ""
    words = " ".join(job.reason.split())
    reason = f": {words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + '…'}" if words else ""
    where = f", see {job.folder}" if job.state in ("done", "running", "failed", "aside") else ""
    state = "set aside" if job.state == "aside" else job.state
    return f"{state}{version}{reason}{where}"
