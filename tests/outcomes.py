"""Outcomes of the stages of a run."""

from __future__ import annotations

from collections.abc import Iterable

from lorapipe.pipeline.events import Event, Failed, Finished, Reused


def ends(events: Iterable[Event]) -> dict[str, str]:
    """Return stage → `finished`, `reused` or `failed`, in the order in which they ended."""
    kinds = (Finished, Reused, Failed)
    return {event.stage: type(event).__name__.lower() for event in events if isinstance(event, kinds)}
