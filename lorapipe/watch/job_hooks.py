"""Hooks for jobs from an inbox: unpack the pictures, write the pipeline, write the log, deliver the results.

Any process that runs the queue may call them, so the job contains all they need.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.job_queue.hooks import JobHooks
from lorapipe.job_queue.job import QueueJob
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.digests import UNREADABLE, Digests
from lorapipe.pipeline.event_text import words
from lorapipe.pipeline.events import Event, Failed, Log, Metric, Preview, Progress
from lorapipe.pipeline.ledger_database import LedgerDatabase
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.spec import from_dict, to_dict
from lorapipe.watch.folder_settings import OVERRIDES
from lorapipe.watch.folder_state import MOST_FILES, inspect_path, is_zip, opened
from lorapipe.watch.isolated_check import check_apart
from lorapipe.watch.isolated_scan import scan_isolated
from lorapipe.watch.notify import notify
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.results import deliver, file_of
from lorapipe.watch.settings import WatchSettings
from lorapipe.watch.unpack import GIGABYTE, Limits, unpack

LOG = "log.txt"
FAILED = "failed.txt"


@dataclass(frozen=True)
class Terms:
    """The settings of an inbox, as stored with its jobs."""

    watching: WatchSettings
    pipeline: Path | None
    sets: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the settings as JSON types."""
        pipeline = str(self.pipeline) if self.pipeline else None
        return {"watching": to_dict(self.watching), "pipeline": pipeline, "sets": list(self.sets)}

    @classmethod
    def of(cls, job: QueueJob) -> Self:
        """Return the settings stored with a job."""
        data = json.loads(job.settings)
        pipeline = Path(data["pipeline"]) if data["pipeline"] else None
        return cls(from_dict(WatchSettings, data["watching"]), pipeline, tuple(data["sets"]))


def file_name(job: QueueJob) -> str:
    """Return the name of a job's LoRA, different for each version, since programs cache loaded files by name."""
    return job.title if job.version == 1 else f"{job.title}-v{job.version}"


class InboxHooks(JobHooks):
    """Hooks for jobs from inboxes, and for ordinary ones."""

    def __init__(self) -> None:
        self._files: dict[int, str] = {}

    def objection(self, job: QueueJob) -> str:
        """Also check the free disk space, since a training would fail on a full disk."""
        room = _room(job.settings) * GIGABYTE if job.source else 0
        place = next((each for each in (job.folder, *job.folder.parents) if each.exists()), None)
        free = shutil.disk_usage(place).free if place and room else room
        if free >= room:
            return ""
        free_gb, needed_gb = f"{free / GIGABYTE:.1f} GB", f"{room / GIGABYTE:g} GB"
        return f"waits for disk space: {free_gb} are free on the disk of {place}, {needed_gb} are needed"

    def open(self, job: QueueJob) -> Pipeline:
        if not job.source:
            return super().open(job)
        _note(job, f"attempt {job.attempts}: {job.source}")
        terms, source = Terms.of(job), Path(job.source)
        if not source.exists():
            cure = "Put it back; that is noticed automatically."
            raise InputError("was removed before its job began.", where=str(source), cure=cure)
        limits = Limits(
            terms.watching.largest_zip * GIGABYTE, terms.watching.most_files, terms.watching.room * GIGABYTE
        )
        images = source
        if is_zip(source):
            content = job.fingerprint.removeprefix("sha256:").removeprefix(f"{UNREADABLE} ")
            target = job.folder / ".lorapipe" / "unpacked" / content[:16]
            images = unpack(source, target, limits, lambda text: _note(job, f"! {text}"))
        self._check(images, terms)
        if job.fingerprint.startswith(
            UNREADABLE
        ):  # when it was taken up; it fails with what cannot be read, if so still
            Digests(LedgerDatabase(None), strict=True).path(images)
        if terms.pipeline is None:
            scan_isolated(images)
        template = InboxPipeline(terms.pipeline, terms.sets, terms.watching)
        name = source.stem if is_zip(source) else source.name
        dropped = DroppedFolder(images, name, job.folder, file_name(job))
        if (images / OVERRIDES).exists():
            check_apart(template, dropped)
        return write(template, dropped, lambda text: _note(job, text))

    def _check(self, images: Path, terms: Terms) -> None:
        state = opened(images, inspect_path(images, terms.watching.sizes()), MOST_FILES)
        if state.trouble:
            raise InputError(f"{state.trouble}.", where=str(images), cure="Correct that; it is noticed automatically.")
        if state.pictures < terms.watching.least:
            what = f"{terms.watching.least} pictures needed, {state.pictures} there."
            cure = "Add some; that is noticed automatically. Or require fewer: --set watch.least=N."
            raise InputError(what, where=str(images), cure=cure)

    def note(self, job: QueueJob, event: Event) -> None:
        if job.source and (line := _line(event)):
            _note(job, line)

    def deliver(self, job: QueueJob, artifacts: Mapping[str, Artifact]) -> None:
        if job.source:
            for trouble in deliver(artifacts, job.folder, file_name(job)):
                _note(job, trouble)
            self._files[job.number] = str(job.folder / f"{file_name(job)}.safetensors")
            if not Path(self._files[job.number]).exists():
                self._files[job.number] = str(file_of(artifacts) or "")

    def ended(self, job: QueueJob) -> None:
        if not job.source:
            return
        failed = job.folder / FAILED
        with suppress(OSError):
            if job.state in ("failed", "aside"):
                how = "To try it again: " if job.state == "failed" else "It was set aside. To try it again: "
                log = f"The log is in {LOG}."
                write_text(f"{job.reason}\n\n{log}\n{how}lorapipe queue retry {job.number}\n", failed)
            else:
                failed.unlink(missing_ok=True)
        _note(job, " ".join(filter(None, [job.state, job.reason])))
        if job.state != "cancelled":
            for line in notify(job, Terms.of(job).watching, self._files.pop(job.number, "")):
                _note(job, line)


@lru_cache(maxsize=256)
def _room(settings: str) -> float:
    """Return the free disk space that a job requires, in GB; cached, since thousands of jobs may share settings."""
    return float(from_dict(WatchSettings, json.loads(settings)["watching"]).room)


def _note(job: QueueJob, text: str) -> None:
    """Append a line, with the time, to the log in the job's folder. Write errors are ignored."""
    with suppress(OSError):
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / LOG).open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def _line(event: Event) -> str:
    """Return an event's line in the log; empty for frequent events."""
    match event:
        case Progress() | Metric() | Preview():
            return ""
        case Failed():
            text = " ".join([event.cause, words(event)])
        case Log(level="warning"):
            text = f"! {words(event)}"
        case _:
            text = words(event)
    return f"{event.stage}  {text}"
