"""A thread that follows something (a process, a job on a cluster, a queue, an inbox), whose end cannot go unnoticed.

    follower = SupervisedThread("worker", listen)
    follower.start()
    …
    if not follower.is_alive():
        print(follower.reason)

Whoever waits for what such a thread passes on looks from time to time whether it is alive: no wait without a look. A
thread that has died has a reason, in words; its traceback goes to a log, or to standard error.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import LorapipeError


class SupervisedThread(threading.Thread):
    """Calls `follow` on a thread; it returns why it has ended, or nothing where that is as it should be."""

    def __init__(self, name: str, follow: Callable[[], str | None], log: Path | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.reason = ""
        """Why it has ended; empty while it is alive, and after a right end."""
        self.error: BaseException | None = None
        """What has ended it, where something was raised."""
        self.log = log
        """Where its traceback goes: to the end of this file, or to standard error."""
        self._follow = follow

    def run(self) -> None:
        """Raises nothing: nobody would hear of it."""
        try:
            self.reason = self._follow() or ""
        except BaseException as error:
            self.error, self.reason = error, in_words(error)
            said_all = isinstance(error, LorapipeError) or (self.log is None and isinstance(error, OSError))
            if not said_all:
                self._write_down(error)

    def _write_down(self, error: BaseException) -> None:
        import traceback

        text = "".join(traceback.format_exception(error))
        with suppress(OSError, ValueError):
            if self.log is None:
                sys.stderr.write(text)
            else:
                with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)


def within(seconds: float, call: Callable[[], None], name: str = "") -> bool:
    """Call what may never return; whether it did in time. If not, it is left to itself."""

    def once() -> None:
        call()

    thread = SupervisedThread(name or "call", once)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def in_words(error: BaseException) -> str:
    """What went wrong, as one line: as we say it, as the system says it, else with the name of the error."""
    if isinstance(error, LorapipeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
