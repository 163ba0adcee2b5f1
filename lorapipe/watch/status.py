"""The one file that is written into an inbox: what is known of everything that lies there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lorapipe.aside import write_text
from lorapipe.queue.job import Job
from lorapipe.watch.look import Look
from lorapipe.watch.settle import STATUS

HEAD = """\
lorapipe watches this folder. Drop a folder of pictures, or a zip of one, and it becomes a LoRA.
Nothing in here is changed but this file, which may be deleted.
"""


def write(inbox: Path, jobs: Mapping[str, Job], arriving: Mapping[str, Look]) -> None:
    """Write it where something has changed. `jobs` are the newest of each entry's, by its name."""
    text = "\n".join([HEAD, *_lines(jobs, arriving)]) + "\n"
    path = inbox / STATUS
    with suppress(OSError):  # an inbox may be a share that is read only, or away
        if not inbox.is_dir():
            return
        if not path.exists() or path.read_bytes() != text.encode("utf-8", "replace"):
            write_text(text.encode("utf-8", "replace").decode("utf-8"), path, synced=False)  # the next look mends it


def _lines(jobs: Mapping[str, Job], arriving: Mapping[str, Look]) -> Iterator[str]:
    for name in sorted({*jobs, *arriving}):
        job, look = jobs.get(name), arriving.get(name)
        if job is not None:
            yield f"{name}: {_of(job)}"
        if look is not None and (look.trouble or look.pictures or job is None):
            yield f"{name}: {of_arriving(look)}"


def of_arriving(look: Look) -> str:
    """What is known of something that is no job yet."""
    return look.trouble or (f"arriving, {look.pictures} pictures so far" if look.pictures else "no pictures so far")


def _of(job: Job) -> str:
    version = f" (version {job.version})" if job.version > 1 else ""
    reason = f": {' '.join(job.reason.split())}" if job.reason else ""
    where = f", see {job.folder}" if job.state in ("done", "running", "failed", "aside") else ""
    state = "set aside" if job.state == "aside" else job.state
    return f"{state}{version}{reason}{where}"
