"""The display of a run: a line per stage, a live progress bar, and the files to open at the end; or JSON lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from lorapipe.pipeline.event_text import duration, figures, words
from lorapipe.pipeline.events import Asked, Event, Failed, Finished, Log, Preview, Progress, Reused, Started, to_json
from lorapipe.pipeline.run_state import RunState
from lorapipe.terminal import Printer, shown_path

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_SECONDS = 15.0
"""Seconds between two progress lines if the output is not a terminal."""


class Json:
    """The display for programs: JSON lines."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def show(self, event: Event) -> None:
        """Write one event."""
        self.stream.write(to_json(event) + "\n")
        self.stream.flush()

    def note(self, text: str) -> None:
        """Ignore it: only events are for programs."""

    def close(self) -> None:
        """Do nothing."""


class Display:
    """The display for people: plain lines, with a live progress bar on a terminal."""

    def __init__(self, stream: TextIO, names: Iterable[str], *, quiet: bool = False) -> None:
        self._printer = Printer(stream)
        self._quiet = quiet
        self._width = max(map(len, names), default=0)
        self._bar = Bar(stream) if stream.isatty() and not quiet and os.environ.get("TERM") != "dumb" else None
        self._state = RunState()
        self._progress_at = time.monotonic()

    def show(self, event: Event) -> None:
        """Show one event."""
        if self._quiet and not isinstance(event, Failed):
            return
        self._state.apply(event)
        if isinstance(event, (Reused, Finished, Failed)):
            self._end_bar()
        match event:
            case Started():
                self._line("▸", event.stage, self._state.stages[event.stage].reason)
                self._progress_at = time.monotonic()
            case Progress():
                self._progress(event)
            case Preview():
                self._line(" ", event.stage, f"preview: {shown_path(event.path)}")
            case Log(level="warning") | Asked():
                self._line("!", event.stage, words(event))
            case Reused():
                self._line("·", event.stage, words(event))
            case Finished():
                self._line("✓", event.stage, duration(event.seconds))
            case Failed():
                self._failed(event)

    def note(self, text: str) -> None:
        """Print a line about the run as a whole."""
        self._print(text)

    def close(self) -> None:
        """Remove the bar and list the files to open."""
        self._end_bar()
        if self._state.files and not self._quiet:
            self._print("")
            for name in dict.fromkeys(self._state.files):
                self._print(f"  {shown_path(name)}")

    def _failed(self, event: Failed) -> None:
        mark = "·" if event.cause == "cancelled" else "✗"
        first, *rest = event.message.splitlines() or [event.cause]
        lines = [f"{mark} {event.stage:<{self._width}}  {first}"]
        lines += [f"  {'':<{self._width}}  {line}" for line in [*rest, *event.hint.splitlines()]]
        for line in lines:
            self._print(line, always=True)

    def _progress(self, event: Progress) -> None:
        if self._bar is not None:
            self._bar.update(f"  {event.stage:<{self._width}}", event)
        elif time.monotonic() - self._progress_at >= PLAIN_SECONDS:
            self._progress_at = time.monotonic()
            self._line(" ", event.stage, words(event))

    def _line(self, mark: str, stage: str, text: str) -> None:
        self._print(f"{mark} {stage:<{self._width}}  {text}".rstrip())

    def _print(self, text: str, always: bool = False) -> None:
        if self._quiet and not always:
            return
        if self._bar is not None and self._bar.print(self._printer.spell(text)):
            return
        self._printer.line(text)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.end()


class Bar:
    """The progress bar below the printed lines. rich is imported on first use."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None

    def update(self, head: str, event: Progress) -> None:
        """Show a stage's progress."""
        from rich.console import Console
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self._live is None:
            console = Console(file=self._stream, highlight=False, soft_wrap=True)
            self._live = Live(console=console, refresh_per_second=8, transient=True)
            self._live.start()
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column(width=24)
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        bar = ProgressBar(total=max(event.total, 1), completed=event.step, width=24)
        row.add_row(Text(head), bar, f"{event.step}/{event.total}", Text(figures(event), style="dim"))
        self._live.update(row)

    def print(self, text: str) -> bool:
        """Print a line above the bar; return False if there is no bar."""
        if self._live is None:
            return False
        self._live.console.print(text, markup=False)
        return True

    def end(self) -> None:
        """Remove the bar."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def view(names: Iterable[str], *, json: bool, quiet: bool) -> Json | Display:
    """Return the requested display, on standard output."""
    return Json(sys.stdout) if json else Display(sys.stdout, names, quiet=quiet)
