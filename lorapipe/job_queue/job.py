"""A job of the queue: a row of its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from lorapipe.pipeline.locks import Lock

State = Literal["waiting", "running", "done", "failed", "cancelled", "aside"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "aside")


@dataclass(frozen=True)
class QueueJob:
    """A pipeline that waits, runs, or has ended.

    `reason` says why it failed, was set aside, or still waits. `asked` is how urgently its owner is asked to stop (see
    `runner.StopLevel`), `run` the number of its last run in the ledger of its folder. For jobs from an inbox, `source` is
    the folder or zip, `fingerprint` the digest of its content, `version` counts the contents that the source has had, and
    `settings` (JSON) are the inbox's settings.
    """

    number: int
    title: str
    pipeline: str
    sets: tuple[str, ...]
    device: str
    priority: int
    position: float
    state: State
    asked: int
    crashes: int
    attempts: int
    added: float
    started: float | None
    finished: float | None
    reason: str
    run: int | None
    source: str
    fingerprint: str
    version: int
    settings: str

    @property
    def folder(self) -> Path:
        """The folder of its pipeline file, with its ledger and, for a job from an inbox, all its results."""
        return Path(self.pipeline).parent

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the job of a database row. Raises `ValueError` if the row is invalid."""
        if row["state"] not in get_args(State):
            raise ValueError(f"its state is {row['state']!r}")
        known = {field.name: row[field.name] for field in fields(cls)}
        return cls(**{**known, "sets": tuple(json.loads(row["sets"]))})

    def to_dict(self) -> dict[str, object]:
        """Return the job as JSON types."""
        return {
            **asdict(self),
            "sets": list(self.sets),
            "settings": json.loads(self.settings),
            "folder": str(self.folder),
        }


@dataclass(frozen=True)
class Claim:
    """A job that this process owns until it is finished or released."""

    job: QueueJob
    lock: Lock
