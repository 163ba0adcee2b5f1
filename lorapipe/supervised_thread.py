"""A background thread that records why it ended.

    thread = SupervisedThread("worker", listen)
    thread.start()
    …
    if not thread.is_alive():
        print(thread.reason)

Code that waits for output of such a thread must check regularly that the thread is alive. A thread that has died has a
readable reason; its traceback goes to a log, or to standard error.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import LorapipeError


class SupervisedThread(threading.Thread):
    """A daemon thread that calls `work`, which returns the reason of an unexpected end, or nothing."""

    def __init__(self, name: str, work: Callable[[], str | None], log: Path | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.reason = ""
        """The reason of an unexpected end; else empty."""
        self.error: BaseException | None = None
        """The exception that ended the thread, if any."""
        self.log = log
        """The file to which the traceback is appended; None: standard error."""
        self._call = work

    def run(self) -> None:
        """Call `work`, and record its exception."""
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
    """Call a function that may block for ever, with a time limit; return whether it ended in time."""

    def once() -> None:
        call()

    thread = SupervisedThread(name or "call", once)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def in_words(error: BaseException) -> str:
    """Return an error as one line: lorapipe's message, the system's, or else one with the exception's name."""
    if isinstance(error, LorapipeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
