"""Progress of a tool: what is done, and all there is to do."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[int, int], None]
"""Gets what is done, in modules or bytes, and all there is; it may raise `Interrupted`."""


def silent(done: int, total: int) -> None:
    """Tell nothing."""
