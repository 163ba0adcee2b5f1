"""A background thread whose end cannot go unnoticed: it keeps the reason.

    thread = SupervisedThread("worker", listen)
    thread.start()
    …
    if not thread.is_alive():
        print(thread.reason)

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
    """Calls `work` on a daemon thread. `work` returns why it ended, or nothing if it ended as it should."""

    def __init__(self, name: str, work: Callable[[], str | None], log: Path | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.reason = ""
        """Why it ended; empty while it is alive, and if it ended as it should."""
        self.error: BaseException | None = None
        """The exception that ended it, if any."""
        self.log = log
        """Where its traceback goes: to the end of this file, or to standard error."""
        self._call = work

    def run(self) -> None:
        """Call `work`, and keep what it raises: in a thread, nobody would hear of it."""
        try:
            self.reason = self._call() or ""
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
    """Call something that may never return, with a time limit; returns whether it ended in time."""

    def once() -> None:
        call()

    thread = SupervisedThread(name or "call", once)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def in_words(error: BaseException) -> str:
    """An error as one line: in our words, in the system's, else with the exception's name."""
    if isinstance(error, LorapipeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
