"""One watched folder: settled entries are added to the queue, once, even if several processes watch it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lorapipe.errors import InputError, LorapipeError, near_miss
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline.digests import UNREADABLE
from lorapipe.watch.background_digests import Answer, BackgroundDigests
from lorapipe.watch.folder_names import title_of
from lorapipe.watch.folder_state import FolderState, inspect_path, is_zip, shown
from lorapipe.watch.fs_events import told_of_changes
from lorapipe.watch.job_hooks import Terms
from lorapipe.watch.pipeline_writer import FILE, InboxPipeline, check
from lorapipe.watch.settling import Dropped, Settling
from lorapipe.watch.status_file import arriving_text, write_status

READ_SECONDS = 2.0
"""Seconds that a poll waits for digests; longer ones continue in the background of the next polls."""
BEING_READ = "is being read"


class Inbox:
    """A watched folder and the queue that it feeds. Raises `InputError` if it cannot be watched so."""

    def __init__(
        self,
        folder: Path,
        queue: Queue,
        terms: Terms,
        device: str = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not folder.is_dir():
            beside = (
                [each.name for each in folder.absolute().parent.glob("*/")] if folder.absolute().parent.is_dir() else []
            )
            cure = " ".join(
                filter(None, ["Make it first.", near_miss(folder.name, beside) if len(beside) < 200 else ""])
            )
            raise InputError("there is no such folder.", where=str(folder), cure=cure)
        self.folder = folder.resolve()
        self.outputs = (terms.watching.outputs or self.folder.parent / "outputs").resolve()
        if self.outputs.is_relative_to(self.folder) or self.folder.is_relative_to(self.outputs):
            what = f"one of {self.outputs} and the inbox {self.folder} contains the other."
            raise InputError(what, cure="Name another folder for results: --set watch.outputs=FOLDER.")
        check(InboxPipeline(terms.pipeline, terms.sets, terms.watching), self.folder)
        self._queue = queue
        self._terms = terms
        self._device = device
        self._told: object = None
        self._trouble = ""
        self._sizes = terms.watching.sizes()
        self._digests = BackgroundDigests(queue.root / "digests.db")
        self._settling = Settling(self.folder, terms.watching.quiet, terms.watching.patience, clock, self._sizes)

    def run(self, found: Callable[[QueueJob], None], say: Callable[[str], None], stop: threading.Event) -> None:
        """Watch until `stop` is set; call `found` with every new job, and `say` with errors that prevent watching."""
        bell, trouble, changed = threading.Event(), "", set[str]()

        def ring(name: str) -> None:
            changed.add(name)
            bell.set()

        end = told_of_changes(self.folder, ring)
        try:
            while not stop.is_set():
                bell.clear()
                told = {changed.pop() for _ in range(len(changed))}
                before, trouble = trouble, self._poll_and_report(found, told)
                if trouble and trouble != before:
                    say(f"{trouble}; watching goes on.")
                stop.wait(self._settling.breath())
                deadline = time.monotonic() + self._settling.pause()
                while not stop.is_set() and (left := deadline - time.monotonic()) > 0 and not bell.wait(min(left, 1.0)):
                    self.write_status()
        finally:
            end()
            self._digests.close()

    def _poll_and_report(self, found: Callable[[QueueJob], None], told: Container[str]) -> str:
        """Poll once; return what prevented it, such as an unreachable share or a full disk."""
        for job in self.poll(told):
            found(job)
        return self._trouble or self._settling.trouble

    def poll(self, told: Container[str] = ()) -> list[QueueJob]:
        """Poll once (see `Settling.poll`); return the new jobs."""
        jobs, self._trouble = list[QueueJob](), ""
        hopeless = list[tuple[Dropped, Answer]]()
        for dropped in self._settling.poll(told):
            if dropped.state.trouble and not dropped.state.passing:
                hopeless.append((dropped, _unreadable(dropped)))
            else:
                self._digests.ask(dropped)
        answers = self._digests.answers(READ_SECONDS)
        for dropped, answer in sorted([*hopeless, *answers], key=lambda pair: pair[0].path.name):
            try:
                job = self._take_up(dropped, answer)
            except (LorapipeError, OSError, sqlite3.Error) as error:
                self._trouble = str(error)
                self._settling.again(dropped)  # such as a full disk: try again later
                continue
            jobs += [job] if job else []
        self.write_status()
        return jobs

    def write_status(self) -> None:
        """Write the status file of the inbox."""
        arriving = self._arriving()
        with suppress(sqlite3.Error):
            mark = self._queue.mark
            if (mark, arriving) != self._told:
                jobs = {Path(job.source).name: job for job in self._jobs()}
                self._trouble = self._trouble or write_status(self.folder, jobs, arriving)
                self._told = mark, arriving

    def arriving(self) -> dict[str, str]:
        """Return the state of each entry that is not a job yet, as text, by name. Thread-safe."""
        return {name: arriving_text(state) for name, state in self._arriving().items()}

    def _arriving(self) -> dict[str, FolderState]:
        reading = self._digests.under_way.items()
        return {
            **{name: replace(dropped.state, trouble=BEING_READ) for name, dropped in reading},
            **self._settling.arriving(),
        }

    def _jobs(self) -> list[QueueJob]:
        """Return the newest job of each entry of the inbox."""
        newest: dict[str, QueueJob] = {}
        for job in self._queue.jobs():
            if job.source and Path(job.source).parent == self.folder:
                known = newest.get(job.source)
                if known is None or known.version < job.version:
                    newest[job.source] = job
        return [job for job in newest.values() if Path(job.source).exists()]

    def _take_up(self, dropped: Dropped, answer: Answer) -> QueueJob | None:
        """Add a job for an entry, unless its content already had one, or it changed while it was read."""
        path = dropped.path
        if isinstance(answer, sqlite3.Error):
            raise answer
        if not isinstance(answer, str):
            if not dropped.state.trouble:
                self._settling.again(dropped, shown(str(answer)))
                return None
            answer = _unreadable(dropped)
        if inspect_path(path, self._sizes).mark != dropped.state.mark:
            self._settling.again(dropped)
            return None
        title = title_of(path.stem if is_zip(path) else path.name)
        return self._queue.drop(
            str(path), answer, title, self.outputs, self._terms.to_dict(), self._device, _is_somebody_elses
        )


def _unreadable(dropped: Dropped) -> str:
    """Return a digest for an unreadable entry, whose job will fail and say why."""
    return f"{UNREADABLE} {dropped.state.mark}"


def _is_somebody_elses(folder: Path) -> bool:
    """Return whether a folder of results exists that no watcher has made."""
    if folder.is_symlink():
        return True
    return folder.exists() and not (folder / FILE).exists() and any(folder.iterdir())
