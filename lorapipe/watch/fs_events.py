"""File system notifications, which only make the next poll come sooner."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorapipe.atomic import PART_SUFFIX
from lorapipe.watch.settling import STATUS

IRRELEVANT = ("opened", "closed_no_write")
"""Event types that are not changes: a training reads much."""


def told_of_changes(inbox: Path, ring: Callable[[str], None]) -> Callable[[], None]:
    """Call `ring` with the name of the inbox's entry at every change below it, from another thread.

    Returns a function that ends this. If the system has no notifications (a network share, too many folders), `ring` is
    never called.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    def _is_part(name: str) -> bool:
        return name.startswith(".") and name.endswith(PART_SUFFIX)

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            for path in map(str, (event.src_path, event.dest_path)):
                relative = path.removeprefix(f"{inbox}{os.sep}")
                name = relative.partition(os.sep)[0]
                if event.event_type not in IRRELEVANT and relative != path and name != STATUS and not _is_part(name):
                    ring(name)

    logging.getLogger("watchdog").addHandler(logging.NullHandler())  # it logs on shutdown
    observer: Any = Observer()
    observer.daemon = True
    try:
        observer.schedule(Handler(), str(inbox), recursive=True)
        observer.start()
    except OSError:
        return lambda: None

    def end() -> None:
        observer.stop()
        observer.join(5)

    return end
