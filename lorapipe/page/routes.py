"""The page's routes, without HTTP: the response to each path, and the changes of the queue.

    (nothing), page.css …           the page itself
    board, board/300                the running jobs, the first waiting and the last ended ones, see `board`
    jobs/12                         one job, see `details`; files that a browser can open have an address
    jobs/12/files/MARK              one of these files
    jobs/12/cancel, retry, first    (POST) for a job
    pause, resume                   (POST) for the queue


A file is named by a mark from a job's `details`, never by a path, so only files listed there can be read.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from lorapipe import __version__
from lorapipe.errors import InputError
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.views import board, details, preview_paths
from lorapipe.page.answers import NOT_THERE, OURS, PAGE, TEXT, Answer, tag_of, told
from lorapipe.page.event_tail import EventTail
from lorapipe.pipeline.ledger import Ledger

STATIC = Path(__file__).parent / "static"
AT_FIRST = 100
"""Number of waiting and of ended jobs that are shown at first; `lorapipe queue` lists all."""
MOST_BYTES = 64_000_000
"""Larger files are not served."""
MOST_REMEMBERED = 16
"""Number of jobs whose marks are cached."""

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
TEXTS = dict.fromkeys((".txt", ".log", ".json", ".yaml"), TEXT)
SHOWN = {**PICTURES, **TEXTS, ".html": PAGE}
"""Files that are served to a browser; not SVG, which can contain scripts."""

FILE_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A report contains its pictures and styles and no script; nothing else is allowed for files of stages."""


def nothing_arrives() -> Mapping[str, str]:
    """Return nothing, for a queue without an inbox."""
    return {}


class Routes:
    """All routes of a queue's page. `inbox` is the watched folder, `arriving` returns its entries that are not jobs yet."""

    most_sent = 0

    def __init__(
        self, queue: Queue, inbox: Path | None = None, arriving: Callable[[], Mapping[str, str]] = nothing_arrives
    ) -> None:
        self._queue = queue
        self._inbox = inbox
        self._arriving = arriving
        self._start = secrets.token_hex(4)  # marks of the queue restart with each process
        self._static = {file.name: file for file in STATIC.iterdir() if file.suffix in OURS}
        self._guard = threading.Lock()
        self._tail: EventTail | None = None
        self._marks: dict[int, dict[str, Path]] = {}
        self._doing: dict[str, Callable[[int], object]] = {
            "cancel": queue.cancel,
            "retry": queue.retry,
            "first": lambda number: queue.move(number, 1),
        }
        self._switches: dict[str, Callable[[], object]] = {"pause": queue.pause, "resume": queue.resume}

    def get(self, path: str, seen: str = "") -> Answer:
        """Answer a GET request; `seen` is the ETag that the browser has. Raises `InputError` if there is no such job."""
        match path.split("/"):
            case ["board"]:
                return self._board(AT_FIRST, seen)
            case ["board", most]:
                return self._board(_number(most), seen)
            case ["jobs", number]:
                return self._job(_number(number), seen)
            case ["jobs", number, "files", mark]:
                return self._file(_number(number), mark)
            case [name] if (file := self._static.get(name or "page.html")) is not None:
                return Answer(file.read_bytes(), OURS[file.suffix], tag=tag_of(file.stat().st_mtime_ns))
        return NOT_THERE

    def post(self, path: str, sent: bytes = b"") -> Answer:
        """Answer a POST request, which changes the queue. Raises `InputError` if it cannot."""
        match path.split("/"):
            case ["jobs", number, action] if action in self._doing:
                self._doing[action](_number(number))
            case [switch] if switch in self._switches:
                self._switches[switch]()
            case _:
                return NOT_THERE
        return told({"done": True})

    def _board(self, most: int, seen: str) -> Answer:
        self._queue.recover()  # a killed owner does not change the database
        arriving = self._arriving()
        tag = tag_of(self._start, self._queue.mark, arriving, most)
        if tag == seen:
            return Answer(b"", status=304, tag=tag)
        about = {"inbox": str(self._inbox) if self._inbox else None, "arriving": arriving, "program": __version__}
        return told({**board(self._queue, most), **about}, tag=tag)

    def _job(self, number: int, seen: str) -> Answer:
        with self._guard:
            job = self._queue.job(number)
            path = self._tail_of(job).path
            written = path.stat().st_size if path.exists() else 0
            versions = [(each.number, each.state) for each in self._queue.versions(job.source)] if job.source else []
            tag = tag_of(self._start, job, self._queue.progress().get(number), written, versions)
            return Answer(b"", status=304, tag=tag) if tag == seen else told(self._details(job), tag=tag)

    def _tail_of(self, job: QueueJob) -> EventTail:
        new = EventTail(Ledger(job.folder).runs, job.run)
        if self._tail is None or self._tail.path != new.path:
            self._tail = new
        return self._tail

    def _details(self, job: QueueJob) -> dict[str, object]:
        number = job.number
        shown = details(self._queue, number, self._tail_of(job).told())
        marks = {tag_of(path): path for path in preview_paths(shown)}
        self._marks.pop(number, None)
        self._marks[number] = marks
        while len(self._marks) > MOST_REMEMBERED:
            del self._marks[next(iter(self._marks))]
        painted: dict[str, Mapping[str, object]] = {}
        for each in shown["previews"]:  # a resumed training may have made a preview again
            painted.setdefault(each["path"], {**each, "file": _shown(Path(each["path"]), number)})
        files = [_shown(Path(name), number) for name in shown["files"]]
        report = next((each for each in files if each["kind"] == "page"), None)
        return {**shown, "previews": list(painted.values()), "files": files, "report": report}

    def _file(self, number: int, mark: str) -> Answer:
        with self._guard:
            if mark not in self._marks.get(number, {}):
                self._details(self._queue.job(number))
            path = self._marks[number].get(mark)
        if path is None or path.suffix.lower() not in SHOWN or not path.is_file():
            return NOT_THERE
        if path.stat().st_size > MOST_BYTES:
            return Answer(b"This file is too large to be shown here.", TEXT, 413)
        kind = SHOWN[path.suffix.lower()]
        return Answer(path.read_bytes(), kind, tag=tag_of(path.stat().st_mtime_ns), policy=FILE_POLICY)


def _shown(path: Path, number: int) -> dict[str, object]:
    """Return a file as the page shows it; `address` is set if a browser can open it."""
    suffix = path.suffix.lower()
    kind = "picture" if suffix in PICTURES else "page" if suffix == ".html" else "text" if suffix in TEXTS else "other"
    address = f"jobs/{number}/files/{tag_of(path)}" if suffix in SHOWN else None
    return {"path": str(path), "name": path.name, "kind": kind, "address": address}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError("there is no such job.")
    return int(text)
