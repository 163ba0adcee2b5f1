"""`lorapipe watch`: train a LoRA on every folder that is put into an inbox."""

from __future__ import annotations

import argparse
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, INTERRUPTED, takes_device, takes_json, takes_quiet, takes_sets

if TYPE_CHECKING:
    from lorapipe.job_queue.job import QueueJob

HELP = "train a LoRA on every folder (or zip) of pictures that is put into an inbox"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("inbox", type=Path, help="the folder to watch; it is only read, except for a status file")
    parser.add_argument(
        "--pipeline",
        metavar="FILE",
        type=Path,
        help="a pipeline with ${images} and ${name}, for all folders, instead of one that suits each",
    )
    takes_sets(parser, "a setting of the inbox, watch.NAME=VALUE, or of the pipeline; vars.checkpoint=FILE is the base")
    parser.add_argument(
        "--ui", action="store_true", help="show the queue on a page in your browser, on this machine only"
    )
    takes_device(parser)
    takes_json(parser)
    takes_quiet(parser)


def main(options: argparse.Namespace) -> int:
    """Watch the inbox and run the queue until stopped."""
    import threading

    from lorapipe.commands._stop_signals import StopSignals
    from lorapipe.commands.queue import QueueDisplay, open_page
    from lorapipe.errors import LorapipeError
    from lorapipe.job_queue.queue import Queue
    from lorapipe.job_queue.runner import QueueRunner
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.supervised_thread import SupervisedThread
    from lorapipe.watch.inbox import Inbox
    from lorapipe.watch.job_hooks import InboxHooks, Terms
    from lorapipe.watch.settings import watching

    devices = parse_devices(options.device)
    settings, sets = watching(options.set, Path.cwd())
    pipeline = options.pipeline.absolute() if options.pipeline else None
    terms = Terms(settings, pipeline, tuple(_from_here(text, Path.cwd()) for text in sets))
    display = QueueDisplay(as_json=options.json, quiet=options.quiet)
    with closing(Queue()) as queue, StopSignals() as stop:
        inbox = Inbox(options.inbox, queue, terms)
        watcher = SupervisedThread("inbox", lambda: inbox.run(found, display.note, over))

        def stopping() -> int:
            return max(stop.level(), int(bool(watcher.reason)))

        runner = QueueRunner(queue, devices, hooks=InboxHooks(), stopping=stopping, forever=True)
        stop.view = display
        display.note(f"Watching {inbox.folder}; results go to {inbox.outputs}. Ctrl-C stops.")
        over = threading.Event()

        def found(job: QueueJob) -> None:
            display.note(f"{job.number:>4}  waiting    {job.title}")
            runner.wake()

        page = open_page(queue, display, inbox.folder, inbox.arriving) if options.ui else nullcontext()
        watcher.start()
        try:
            with page, closing(runner.events()) as events:
                for told in events:
                    display.show(told)
        finally:
            over.set()
            watcher.join(10)
            inbox.write_status()
        if watcher.reason:
            raise LorapipeError(f"cannot be watched any more: {watcher.reason}", where=str(inbox.folder))
    return INTERRUPTED if stop.level() else DONE


def _from_here(text: str, folder: Path) -> str:
    """Make the path of an existing file in a setting absolute, since jobs run in other folders."""
    from lorapipe.spec.paths import path_of

    name, _, value = text.partition("=")
    value = value.strip()
    if not ("/" in value or "." in value):
        return text
    try:
        file = path_of(value, folder)
        return f"{name}={file.absolute().as_posix()}" if file.exists() else text
    except (OSError, ValueError):
        return text  # reported where it is used
