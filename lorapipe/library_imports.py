"""Imports of large libraries, in less time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage inside: imports leave hardly any, and a quarter of their time would go into the search."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def hidden(packages: Sequence[str]) -> Iterator[None]:
    """Let packages look as if they were not installed, to libraries that import them only where they are.

    None in `sys.modules` is how Python spells that (docs.python.org, "The import system", 5.3.1). What is imported already
    stays, and afterwards each can be imported as ever; but a library that has looked inside may not look again.
    """
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
