"""What a page or a program shows of the queue, as JSON types. Read from the database and the runs' `events.jsonl`.

board(queue)           every job with its state and progress
board(queue, 100)      as many of them as a page shows at first; light enough to be asked for each second
details(queue, 12)     one job with its stages, curve, previews and files
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline.events import Event, Metric, Preview, readable
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.run_state import RunState, StageState

MOST_POINTS = 300
"""Points of a curve: what a page can draw."""
MOST_PREVIEWS = 12
MOST_LINES = 200


def board(queue: Queue, most: int | None = None) -> dict[str, Any]:
    """`paused`, `now`, and `jobs`: the running, the waiting in their order, the ended, the last first.

    With `most`, no more than so many of those that wait, and of those that have ended; `counts` has how many there are.
    """
    queue.recover()
    progress = queue.progress()
    jobs = [_card(job, progress.get(job.number)) for job in (queue.jobs() if most is None else queue.window(most))]
    return {"paused": queue.is_paused, "now": time.time(), "jobs": jobs, "counts": queue.counts()}


def _card(job: QueueJob, progress: dict[str, Any] | None) -> dict[str, Any]:
    """A job in short; `progress` has stage, step, total, unit, seconds_left, values, and `at`, when it was told."""
    wanted = (
        "number",
        "title",
        "state",
        "reason",
        "asked",
        "device",
        "priority",
        "version",
        "attempts",
        "run",
        "source",
    )
    times = {name: getattr(job, name) for name in ("added", "started", "finished")}
    card = {name: getattr(job, name) for name in wanted} | times
    return card | {"folder": str(job.folder), "pipeline": job.pipeline, "progress": progress}


def details(queue: Queue, number: int, told: Sequence[Event] | None = None) -> dict[str, Any]:
    """A job's card and what its last run has told; `told` is that, where it has been read already.

    `InputError` where there is no such job.

    `stages`: name, state, reason, seconds, message, files. `curves`: stage → metric → [[step, value] …]. `previews`: path
    and caption, the newest first. `files`: what to open, the last stage's first; `report` is the page of the verdict.
    `versions`: the cards of the same source's other contents.
    """
    job = queue.job(number)
    told = list(_events(job)) if told is None else told
    run = RunState.of(told)
    files = [name for stage in reversed(run.stages.values()) for name in stage.files]
    versions = [_card(each, None) for each in (queue.versions(job.source) if job.source else [])]
    return {
        **_card(job, queue.progress().get(number)),
        "stages": list(map(_stage, run.stages.values())),
        "curves": _curves(told),
        "previews": _previews(told, Ledger(job.folder)),
        "files": files,
        "report": next((name for name in files if name.endswith(".html")), None),
        "log": [f"{log.stage}: {log.text}" for log in run.logs][-MOST_LINES:],
        "versions": versions,
    }


def _events(job: QueueJob) -> Iterator[Event]:
    """What the job's last run has told so far."""
    if job.run is None:
        return
    path = Ledger(job.folder).runs / str(job.run) / "events.jsonl"
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        yield from readable(file)


def _stage(stage: StageState) -> dict[str, Any]:
    return {
        "name": stage.name,
        "state": stage.state,
        "reason": stage.reason,
        "seconds": stage.seconds,
        "message": f"{stage.message} {stage.hint}".strip(),
        "files": list(stage.files),
    }


def _previews(told: Sequence[Event], ledger: Ledger) -> list[dict[str, Any]]:
    """The newest previews that are there: where a training paints them, or where they are once it is done."""
    found = list[dict[str, Any]]()
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


def _curves(told: Sequence[Event]) -> dict[str, dict[str, list[list[float]]]]:
    """Stage → metric → points; a training that was resumed tells some steps twice, and the later one counts."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for event in told:
        if isinstance(event, Metric):
            for name, value in event.values.items():
                found.setdefault(event.stage, {}).setdefault(name, {})[event.step] = value
    return {stage: {name: _thinned(points) for name, points in each.items()} for stage, each in found.items()}


def _thinned(points: dict[int, float]) -> list[list[float]]:
    """At most so many points as can be drawn, each the mean of those that it stands for."""
    steps = sorted(points)
    size = -(-len(steps) // MOST_POINTS)
    groups = (steps[start : start + size] for start in range(0, len(steps), max(1, size)))
    return [[group[-1], sum(points[step] for step in group) / len(group)] for group in groups]


def as_json(shown: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(shown, ensure_ascii=False)


def preview_paths(shown: dict[str, Any]) -> list[Path]:
    """The files that a page may serve for a job's `details`: nothing else of the disk is anybody's business."""
    return [Path(each["path"]) for each in shown["previews"]] + [Path(name) for name in shown["files"]]
