"""Views of the queue for a page or a program, as JSON types, read from the database and the runs' `events.jsonl`.

board(queue)           all jobs with state and progress
board(queue, 100)      the jobs that a page shows at first; cheap enough to poll every second
details(queue, 12)     one job with its stages, curves, previews and files
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline.events import Event, Metric, Preview, readable
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.run_state import RunState, StageState
from lorapipe.series import Point, bin_means

MOST_POINTS = 300
"""Most points of a curve."""
MOST_PREVIEWS = 12
MOST_LINES = 200


class Card(TypedDict):
    """A summary of a job.

    `progress` has the time `at` and stage, step, total, unit, seconds_left, values; while the stage waits for a person's
    answer, stage, text, question, answer instead (`Progress` and `Asked` of `pipeline/events.py`).
    """

    number: int
    title: str
    state: str
    reason: str
    asked: int
    device: str
    priority: int
    version: int
    attempts: int
    run: int | None
    source: str
    added: float
    started: float | None
    finished: float | None
    folder: str
    pipeline: str
    progress: dict[str, object] | None


class Board(TypedDict):
    """The queue: running jobs, waiting ones in order, ended ones, the last first; `now` is in Unix seconds."""

    paused: bool
    now: float
    jobs: list[Card]
    counts: dict[str, int]


class StageView(TypedDict):
    """A stage of a job's last run; `state` as in `run_state.StageState`."""

    name: str
    state: str
    reason: str
    seconds: float | None
    message: str
    files: list[str]


class PreviewView(TypedDict):
    """A preview whose file exists."""

    stage: str
    path: str
    caption: str


class JobDetails(Card):
    """A job's card and its last run.

    `curves`: stage → metric → [[step, value] …]. `previews`: the newest first. `files`: files to open, the last stage's
    first; `report` is the evaluation's page. `versions`: the cards of the same source's other versions.
    """

    stages: list[StageView]
    curves: dict[str, dict[str, list[Point]]]
    previews: list[PreviewView]
    files: list[str]
    report: str | None
    log: list[str]
    versions: list[Card]


def board(queue: Queue, most: int | None = None) -> Board:
    """Return the current state of the queue.

    With `most`, at most this number of waiting and of ended jobs; `counts` has the full numbers.
    """
    queue.recover()
    progress = queue.progress()
    jobs = [_card(job, progress.get(job.number)) for job in (queue.jobs() if most is None else queue.window(most))]
    return {"paused": queue.is_paused, "now": time.time(), "jobs": jobs, "counts": queue.counts()}


def _card(job: QueueJob, progress: dict[str, object] | None) -> Card:
    return {
        "number": job.number,
        "title": job.title,
        "state": job.state,
        "reason": job.reason,
        "asked": job.asked,
        "device": job.device,
        "priority": job.priority,
        "version": job.version,
        "attempts": job.attempts,
        "run": job.run,
        "source": job.source,
        "added": job.added,
        "started": job.started,
        "finished": job.finished,
        "folder": str(job.folder),
        "pipeline": job.pipeline,
        "progress": progress,
    }


def details(queue: Queue, number: int, told: Sequence[Event] | None = None) -> JobDetails:
    """Return a job in full; `told` are the events of its last run, if they have been read already.

    Raises `InputError` if there is no such job.
    """
    job = queue.job(number)
    told = list(_events(job)) if told is None else told
    run = RunState.of(told)
    files = [name for stage in reversed(run.stages.values()) for name in stage.files]
    return {
        **_card(job, queue.progress().get(number)),
        "stages": list(map(_stage, run.stages.values())),
        "curves": _curves(told),
        "previews": _previews(told, Ledger(job.folder)),
        "files": files,
        "report": next((name for name in files if name.endswith(".html")), None),
        "log": [f"{log.stage}: {log.text}" for log in run.logs][-MOST_LINES:],
        "versions": [_card(each, None) for each in (queue.versions(job.source) if job.source else [])],
    }


def _events(job: QueueJob) -> Iterator[Event]:
    """Yield the events of the job's last run so far."""
    if job.run is None:
        return
    path = Ledger(job.folder).runs / str(job.run) / "events.jsonl"
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        yield from readable(file)


def _stage(stage: StageState) -> StageView:
    return {
        "name": stage.name,
        "state": stage.state,
        "reason": stage.reason,
        "seconds": stage.seconds,
        "message": f"{stage.message} {stage.hint}".strip(),
        "files": list(stage.files),
    }


def _previews(told: Sequence[Event], ledger: Ledger) -> list[PreviewView]:
    """Return the newest existing previews: in the training's work folder, or in the store after it is done."""
    found = list[PreviewView]()
    for event in reversed(told):
        if isinstance(event, Preview) and len(found) < MOST_PREVIEWS:
            painted = Path(event.path)
            published = (
                ledger.store / painted.relative_to(ledger.work) if painted.is_relative_to(ledger.work) else painted
            )
            moved = Path(str(published).replace(f"{os.sep}resume{os.sep}", f"{os.sep}out{os.sep}"))
            path = next((each for each in (painted, moved) if each.exists()), None)
            if path is not None:
                found.append({"stage": event.stage, "path": str(path), "caption": event.caption})
    return found


def _curves(told: Sequence[Event]) -> dict[str, dict[str, list[Point]]]:
    """Return stage → metric → points; a resumed training repeats some steps, whose later values count."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for event in told:
        if isinstance(event, Metric):
            for name, value in event.values.items():
                found.setdefault(event.stage, {}).setdefault(name, {})[event.step] = value
    return {
        stage: {name: bin_means(sorted(points.items()), MOST_POINTS) for name, points in each.items()}
        for stage, each in found.items()
    }


def as_json(shown: Mapping[str, object]) -> str:
    """Return a line of JSON."""
    return json.dumps(shown, ensure_ascii=False)


def preview_paths(shown: JobDetails) -> list[Path]:
    """Return the only files that a page may serve for a job's `details`."""
    return [Path(each["path"]) for each in shown["previews"]] + [Path(name) for name in shown["files"]]
