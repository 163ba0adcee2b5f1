"""`lorapipe queue`: list and change the jobs that wait for a device, run, or have ended."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, INTERRUPTED, takes_device, takes_json, takes_sets

if TYPE_CHECKING:
    from lorapipe.job_queue.job import QueueJob
    from lorapipe.job_queue.queue import Queue
    from lorapipe.job_queue.runner import JobEvent
    from lorapipe.job_queue.views import Card
    from lorapipe.page.server import Page
    from lorapipe.pipeline.events import Event
    from lorapipe.terminal import Printer

HELP = (
    "pipelines that wait for a device: list, add FILE, cancel N, retry N, move N first, pause, resume, clear, ui, work"
)
USAGE = """\
  lorapipe queue                       list them
  lorapipe queue add FILE …            add pipelines at the end; --set changes settings in them
  lorapipe queue cancel N …            remove waiting jobs, stop running ones; a second time stops them at once
  lorapipe queue retry [N …]           retry ended jobs; without numbers, all that failed or were set aside
  lorapipe queue move N first|last|2   change a job's place among those that wait
  lorapipe queue pause | resume        start no further jobs; start jobs again
  lorapipe queue clear                 remove ended jobs from the list; their results are kept
  lorapipe queue ui                    show it on a page in your browser, on this machine only
  lorapipe queue work                  run them until none waits (`lorapipe watch` does so too)
"""
PRIORITY = "queue.priority"
NUMBER = re.compile("[0-9]{1,9}")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = USAGE
    parser.add_argument("what", nargs="?", default="list", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", metavar="FILE or N", help="pipeline files, or numbers of jobs")
    takes_sets(parser, f"change a setting; also vars.NAME=VALUE, and {PRIORITY}=1 to go before others")
    takes_device(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the subcommand."""
    from lorapipe.errors import InputError, near_miss
    from lorapipe.job_queue.queue import Queue

    do = DOING.get(options.what)
    if do is None:
        raise InputError(f"there is no `lorapipe queue {options.what}`.", cure=near_miss(options.what, [*DOING]))
    with closing(Queue()) as queue:
        return int(do(queue, options) or DONE)


def _list(queue: Queue, options: argparse.Namespace) -> None:
    from lorapipe.job_queue.views import as_json, board
    from lorapipe.terminal import Printer

    shown = board(queue)
    printer = Printer(sys.stdout)
    if options.json:
        for card in shown["jobs"]:
            print(as_json(card))
        return
    for card in shown["jobs"]:
        _print(card, shown["now"], printer)
    if not shown["jobs"]:
        printer.line("The queue is empty.")
    if shown["paused"]:
        printer.line("The queue is paused: `lorapipe queue resume` goes on.")


def _print(card: Card, now: float, printer: Printer) -> None:
    from lorapipe.pipeline.event_text import duration
    from lorapipe.terminal import shown_path

    version = f" v{card['version']}" if card["version"] > 1 else ""
    told = card["progress"] or {}
    where = f"{told['stage']} {told['step']}/{told['total']}" if "step" in told else ""
    if card["started"] is not None and card["state"] != "waiting":
        took = duration((card["finished"] or now) - card["started"])
        where = f"{where}  {took}".strip()
    folder = shown_path(card["folder"])
    printer.line(f"{card['number']:>4}  {card['state']:<9}  {card['title']}{version}  {where}  {folder}".rstrip())
    waits = f"{told['stage']}: {told['text']} It waits for {told['answer']}" if "answer" in told else ""
    for line in [*filter(None, [waits]), *card["reason"].splitlines()]:
        printer.line(f"{'':<17}{line}")


def _add(queue: Queue, options: argparse.Namespace) -> None:
    from lorapipe.errors import InputError
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.pipeline.loader import load_all

    [*devices] = parse_devices(options.device)
    if len(devices) > 1:
        raise InputError(
            "names several devices; a job has one.", where="--device", cure="One training on both: cuda:0+cuda:1."
        )
    sets, priority = _priority(options.set)
    files = [Path(word) for word in options.words]
    if not files:
        raise InputError("there is no pipeline to add.", cure="lorapipe queue add FILE")
    load_all(files, sets)  # report mistakes now, not when the job begins
    _say([queue.add(file.absolute(), sets, devices[0], priority) for file in files], options)


def _priority(sets: list[str]) -> tuple[list[str], int]:
    """Split the settings into those of the pipeline and the job's priority."""
    from lorapipe.errors import InputError

    own = [text.partition("=")[2].strip() for text in sets if text.partition("=")[0].strip() == PRIORITY]
    try:
        priority = int(own[-1]) if own else 0
    except ValueError:
        raise InputError(f"{own[-1]!r} is not a whole number.", where=f"--set {PRIORITY}") from None
    return [text for text in sets if text.partition("=")[0].strip() != PRIORITY], priority


def _cancel(queue: Queue, options: argparse.Namespace) -> None:
    _say([queue.cancel(number) for number in _numbers(options.words)], options)


def _retry(queue: Queue, options: argparse.Namespace) -> None:
    failed = [job.number for job in reversed(queue.jobs()) if job.state in ("failed", "aside")]
    numbers = _numbers(options.words) if options.words else failed
    if not numbers and not options.json:
        _line("No job has failed or been set aside.")
    _say([queue.retry(number) for number in numbers], options)


def _move(queue: Queue, options: argparse.Namespace) -> None:
    from lorapipe.errors import InputError

    *words, where = options.words or ("",)
    places = {"first": 1, "last": len(queue.jobs())}
    if len(words) != 1 or not (where in places or NUMBER.fullmatch(where)):
        raise InputError("name a job and its new place.", cure="lorapipe queue move 12 first")
    queue.move(_numbers(words)[0], places.get(where) or int(where))
    _list(queue, options)


def _pause(queue: Queue, options: argparse.Namespace) -> None:
    queue.pause()


def _resume(queue: Queue, options: argparse.Namespace) -> None:
    queue.resume()


def _clear(queue: Queue, options: argparse.Namespace) -> None:
    from lorapipe.errors import counted

    count = queue.clear()
    if not options.json:
        _line(f"{counted(count, 'job')} removed; their results are kept.")


def _work(queue: Queue, options: argparse.Namespace) -> int:
    from lorapipe.commands._stop_signals import StopSignals
    from lorapipe.job_queue.runner import QueueRunner
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.watch.job_hooks import InboxHooks

    with StopSignals() as stop:
        stop.view = display = QueueDisplay(as_json=options.json)
        runner = QueueRunner(queue, parse_devices(options.device), hooks=InboxHooks(), stopping=stop.level)
        nothing = True
        with closing(runner.events()) as events:
            for told in events:
                nothing = False
                display.show(told)
        if nothing and not stop.level():
            display.note(
                "Nothing waits." if not queue.is_paused else "The queue is paused: `lorapipe queue resume` goes on."
            )
    return INTERRUPTED if stop.level() else DONE


def _ui(queue: Queue, options: argparse.Namespace) -> int:
    from lorapipe.commands._stop_signals import StopSignals
    from lorapipe.errors import LorapipeError

    with StopSignals() as stop, open_page(queue, QueueDisplay(as_json=options.json)) as page:
        while not (stop.level() or page.trouble):
            time.sleep(0.3)
    if page.trouble:
        raise LorapipeError(f"the page cannot be served any more: {page.trouble}")
    return INTERRUPTED


def open_page(
    queue: Queue,
    display: QueueDisplay,
    inbox: Path | None = None,
    arriving: Callable[[], Mapping[str, str]] | None = None,
) -> Page:
    """Return the page that shows a queue; it is served while its context is entered."""
    from lorapipe.page.routes import Routes, nothing_arrives
    from lorapipe.page.server import Page

    page = Page(Routes(queue, inbox, arriving or nothing_arrives), queue.root)
    display.note(f"The page: {page.address}")
    return page


def _numbers(words: list[str]) -> list[int]:
    from lorapipe.errors import InputError

    for word in words:
        if not NUMBER.fullmatch(word):
            raise InputError(f"{word!r} is not the number of a job.", cure="`lorapipe queue` shows them.")
    if not words:
        raise InputError("name a job by its number.", cure="`lorapipe queue` shows the numbers.")
    return [int(word) for word in words]


def _say(jobs: list[QueueJob], options: argparse.Namespace) -> None:
    """Print the state of jobs."""
    from lorapipe.job_queue.views import as_json
    from lorapipe.terminal import Printer

    for job in jobs:
        if options.json:
            print(as_json(job.to_dict()))
        else:
            stopping = ", asked to stop" if job.asked and job.state == "running" else ""
            Printer(sys.stdout).line(f"{job.number:>4}  {job.state}{stopping}  {job.title}")


def _line(text: str) -> None:
    from lorapipe.terminal import Printer

    Printer(sys.stdout).line(text)


class QueueDisplay:
    """Prints the events of the queue on standard output: a line when a job or one of its stages begins or ends, or asks."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        from lorapipe.terminal import Printer

        self._as_json = as_json
        self._quiet = quiet
        self._printer = Printer(sys.stdout)

    def note(self, text: str) -> None:
        """Print a line about the queue as a whole."""
        if not (self._as_json or self._quiet):
            self._printer.line(text)

    def show(self, told: JobEvent) -> None:
        """Print an event of a job."""
        from lorapipe.job_queue.views import as_json
        from lorapipe.pipeline.events import to_json

        job, event = told.job, told.event
        if self._as_json:
            what: dict[str, object] = {"job": job.to_dict()} if event is None else {"number": job.number}
            line = as_json(what)
            self._printer.line(line if event is None else f'{line[:-1]}, "told": {to_json(event)}}}')
        elif event is not None:
            if text := self._line(event):
                self._printer.line(f"{job.number:>4}  {text}")
        elif not (self._quiet and job.state in ("running", "done")):
            self._printer.line(f"{job.number:>4}  {job.state:<9}  {job.title}  {job.folder}")
            for line in job.reason.splitlines():
                self._printer.line(f"{'':<17}{line}")

    def _line(self, event: Event) -> str:
        """Return the line of a stage's event; empty for those that are not shown."""
        from lorapipe.pipeline.event_text import duration, words
        from lorapipe.pipeline.events import Asked, Failed, Finished

        if isinstance(event, Finished) and not self._quiet:
            return f"✓ {event.stage}  {duration(event.seconds)}"
        if isinstance(event, Failed) and event.cause != "cancelled":
            return f"✗ {event.stage}"
        return f"? {event.stage}  {words(event)}" if isinstance(event, Asked) else ""


DOING = {
    "list": _list,
    "add": _add,
    "cancel": _cancel,
    "retry": _retry,
    "move": _move,
    "pause": _pause,
    "resume": _resume,
    "clear": _clear,
    "work": _work,
    "ui": _ui,
}
