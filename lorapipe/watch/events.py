"""The system's word that something has changed in a folder, which only makes a look come sooner."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorapipe.aside import UNFINISHED
from lorapipe.watch.settle import STATUS

IRRELEVANT = ("opened", "closed_no_write")
"""Reading is no change, and a training reads a lot."""


def told_of_changes(inbox: Path, ring: Callable[[], None]) -> Callable[[], None]:
    """Call `ring` at every change below the inbox, from another thread; returns what ends that.

    Where the system cannot tell (a network share, too many folders), nothing is called.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            name = Path(str(event.src_path)).name
            if event.event_type not in IRRELEVANT and name != STATUS and not name.endswith(UNFINISHED):
                ring()

    logging.getLogger("watchdog").addHandler(logging.NullHandler())  # it grumbles when it is ended
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
