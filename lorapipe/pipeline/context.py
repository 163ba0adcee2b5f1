"""A stage's surroundings: folders, events, the device, the model cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lorapipe.errors import Interrupted
from lorapipe.pipeline.events import Event

T = TypeVar("T")


class ModelCache:
    """Keeps one expensive object between the stages of a worker: the last base model."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._value: Any = None

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

    def check(self) -> None:
        """Raise `Interrupted` if the user wants to stop; for work that has nothing to save."""
        if self.stopping():
            raise Interrupted("Stopped; run the same command again to continue.")
