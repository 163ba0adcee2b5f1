"""A stage's surroundings: folders, events, the device, the model cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from lorapipe.atomic import write_text
from lorapipe.errors import Interrupted, Unanswered
from lorapipe.pipeline.events import Event
from lorapipe.registry import has_entry_points

T = TypeVar("T")
QUESTION, ANSWER = "question.json", "answer.txt"
"""Files of a stage that asks a person: what is asked, and the answer."""


class ModelCache:
    """Keeps one expensive object between the stages of a worker: the last base model.

    `owns_process`: nothing but lorapipe's stages runs in this process, so that they may choose how libraries are imported.
    """

    def __init__(self, *, owns_process: bool = False) -> None:
        self.owns_process = owns_process
        self._key: str | None = None
        self._value: Any = None

    @classmethod
    def of_worker(cls) -> Self:
        """Return the cache of a process that runs stages alone; what other packages add may want any library."""
        return cls(owns_process=not has_entry_points())

    def get(self, key: str, build: Callable[[], T]) -> T:
        """Return the value kept under `key`, or build it; the old one is released first, so that memory never holds two."""
        if key != self._key:
            self._key, self._value = None, None
            self._value = build()
            self._key = key
        value: T = self._value
        return value


@dataclass(frozen=True)
class Context:
    """A stage's surroundings.

    `out` is empty at the start and becomes the published result. `resume` outlives a killed attempt: its contents come from
    the same stage with the same key. `cache` is shared by all stages and pipelines of the store; its entries are named by
    content and written atomically. `stopping()` turns true when the user wants to stop.
    """

    out: Path
    resume: Path
    cache: Path
    emit: Callable[[Event], None]
    stopping: Callable[[], bool]
    device: str = "auto"
    model_cache: ModelCache = field(default_factory=ModelCache)

    def answer(self, what: str, question: Mapping[str, object]) -> str:
        """Return a person's answer to a question, or raise `Unanswered`: the stage runs again when the answer is there.

        `question` is JSON for whoever shows it; `what` is a sentence. The answer is a text file in `resume`, so it outlives
        a killed run, and scripts can write it.
        """
        write_text(json.dumps(question, indent=1, ensure_ascii=False) + "\n", self.resume / QUESTION)
        path = self.resume / ANSWER
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
        raise Unanswered(what, path)

    def refuse_answer(self) -> None:
        """Remove an answer that cannot be used, so that it is asked again."""
        (self.resume / ANSWER).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `Interrupted` if the user wants to stop; for work that has nothing to save."""
        if self.stopping():
            raise Interrupted("Stopped; run the same command again to continue.")
