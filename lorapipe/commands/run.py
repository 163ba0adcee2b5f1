"""`lorapipe run`: run the stages whose results do not exist yet."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from lorapipe.commands import (
    DONE,
    FAILED,
    INTERRUPTED,
    MISTAKE,
    chosen,
    notices,
    takes_choice,
    takes_device,
    takes_json,
    takes_launcher,
    takes_pipeline,
    takes_quiet,
    warnings,
)

if TYPE_CHECKING:
    from lorapipe.pipeline.events import Failed
    from lorapipe.pipeline.execution.pool import Pool
    from lorapipe.pipeline.pipeline import Pipeline

HELP = "run the stages whose results do not exist yet"
MOST_ASKED = 200
"""Most stages whose cautions are shown, since each may read a folder of captions."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser, several=True)
    takes_choice(parser)
    takes_json(parser)
    takes_device(parser)
    takes_launcher(parser)
    takes_quiet(parser)


def main(options: argparse.Namespace) -> int:
    """Run the pipelines one after the other, with the same workers; all are read before the first one runs."""
    from lorapipe.pipeline import destinations
    from lorapipe.pipeline.execution.devices import parse_devices
    from lorapipe.pipeline.execution.runner import open_pool
    from lorapipe.pipeline.loader import load_all
    from lorapipe.pipeline.yaml_document import parse

    pipelines = [chosen(pipeline, options) for pipeline in load_all(options.files, options.set)]
    destinations.check([pipeline for pipeline, _ in pipelines])
    headings = list(map(str, options.files)) if len(pipelines) > 1 else [""]
    pool = open_pool(parse(options.on, "--on").value, parse_devices(options.device))
    return run_all([*zip(headings, pipelines, strict=True)], pool, options)


def run_all(
    pipelines: Sequence[tuple[str, tuple[Pipeline, frozenset[str]]]], pool: Pool, options: argparse.Namespace
) -> int:
    """Run pipelines, each with a heading (which may be empty) and the stages to run anew; return the exit status."""
    failures: dict[str, list[Failed]] = {}
    with Stop() as stop, closing(pool):
        for heading, (pipeline, anew) in pipelines:
            if not stop.level():
                failures.setdefault(heading, []).extend(_run(pipeline, anew, pool, stop, options, heading))
        if stop.view is not None and (any(failures.values()) or stop.level()):
            stop.view.note(f"\n{_summary(failures, options)}")
    return INTERRUPTED if stop.level() else _status(failures)


def _status(failures: Mapping[str, Sequence[Failed]]) -> int:
    """Return the exit status after these failures, by pipeline."""
    if not any(failures.values()):
        return DONE
    causes = {each.cause for of_one in failures.values() for each in of_one} - {"cancelled"}
    return MISTAKE if causes == {"input"} else FAILED


def _run(
    pipeline: Pipeline, anew: frozenset[str], pool: Pool, stop: Stop, options: argparse.Namespace, heading: str
) -> list[Failed]:
    """Run one pipeline and display it; return its failures."""
    from lorapipe import run_display
    from lorapipe.job_queue.home import home
    from lorapipe.page.choice_page import ChoicePage
    from lorapipe.pipeline.events import Asked, Failed, Log, Planned
    from lorapipe.tuning.run_class import run_class

    failures, asked, told = [], set[str](), set[str]()
    stop.view = view = run_display.view(pipeline.stages, json=options.json, quiet=options.quiet)
    if heading:
        view.note(f"{heading}:")
    for line in notices(pipeline):
        view.note(line)
    events = run_class(pipeline)(pipeline, pool=pool, anew=anew, stopping=stop.level)
    with closing(view), closing(events), ChoicePage(home()) as choices:
        for event in events:
            if not (isinstance(event, Log) and event.text in told):
                view.show(event)
            if isinstance(event, Planned) and event.action == "run" and len(asked) < MOST_ASKED:
                asked.add(event.stage)
                for line in _new_warnings(pipeline, event.stage, told):
                    view.show(Log(event.stage, text=line, level="warning"))
            if isinstance(event, Asked):
                view.note(f"Choose here: {choices.show(event)}")
            if isinstance(event, Failed):
                failures.append(event)
    return failures


def _new_warnings(pipeline: Pipeline, stage: str, told: set[str]) -> list[str]:
    """Return the warnings of a stage that were not told yet, and note that they are. A round may have further stages."""
    found = dict.fromkeys(warnings(pipeline, stage)) if stage in pipeline.stages else {}
    new = [line for line in found if line not in told]
    told.update(new)
    return new


def _summary(failures: Mapping[str, Sequence[Failed]], options: argparse.Namespace) -> str:
    """Return the failed stages by pipeline, and the command that resumes."""
    stages = {
        heading: ", ".join(each.stage for each in of_one if each.cause != "cancelled")
        for heading, of_one in failures.items()
    }
    failed = [f"{heading}: {names}" if heading else names for heading, names in stages.items() if names]
    head = f"Failed: {'; '.join(failed)}." if failed else "Stopped."
    return f"{head} Finished results are kept. To resume:\n  {' '.join(_command(options))}"


def _command(options: argparse.Namespace) -> list[str]:
    """Return the words of this command line."""
    import shlex

    files = getattr(options, "files", None) or [options.file]
    words = ["lorapipe", options.command, *(shlex.quote(str(file)) for file in files)]
    words += [f"--set {shlex.quote(each)}" for each in options.set]
    for flag in ("only", "from", "force"):
        words += [f"--{flag} {name}" for name in getattr(options, f"{flag}_", ())]
    words += [f"--device {options.device}"] if options.device != "auto" else []
    return words + ([f"--on {shlex.quote(options.on)}"] if options.on != "local" else [])


class Notes(Protocol):
    """Anything that can show a line about the run as a whole."""

    def note(self, text: str) -> None:
        """Show a line."""


class Stop:
    """Handles Ctrl-C and SIGTERM: once to stop after the stage has saved its work, twice to stop now."""

    def __init__(self) -> None:
        self.view: Notes | None = None
        self._count = 0
        self._before: dict[int, Any] = {}

    def level(self) -> int:
        """Return how urgently the run is asked to stop: 0, 1 or 2."""
        return min(self._count, 2)

    def _asked(self, number: int, frame: object) -> None:
        self._count += 1
        if self._count == 1 and self.view is not None:
            self.view.note("Stopping as soon as the stage has saved its work; Ctrl-C again stops at once.")
        if self._count > 2:
            raise KeyboardInterrupt

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
