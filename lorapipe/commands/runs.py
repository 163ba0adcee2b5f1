"""`lorapipe runs`: list runs, show one in detail, or compare two."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, json_line, takes_json

if TYPE_CHECKING:
    from lorapipe.pipeline.history import RunRecord
    from lorapipe.terminal import Printer

HELP = "list runs; show one in detail: runs 41; compare two: runs 41 42"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument(
        "numbers", metavar="number", type=int, nargs="*", help="none: all runs; one: its stages; two: their differences"
    )
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the history of the project in the current folder."""
    from lorapipe.errors import InputError
    from lorapipe.pipeline.history import compare, read_run, runs
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.terminal import Printer

    if len(options.numbers) > 2:
        raise InputError("two runs can be compared, not more.")
    printer = Printer(sys.stdout)
    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        if not options.numbers:
            _print_all(runs(ledger), printer, options.json)
            return DONE
        found = [read_run(ledger, number) for number in options.numbers]
        if len(found) == 2:
            differences = compare(ledger, *found)
            if options.json:
                print(json_line(differences))
            else:
                lines = [f"{name}: {line}" for name, each in differences.items() for line in each]
                printer.line("\n".join(lines) or "Nothing differs.")
            return DONE
    if options.json:
        print(json_line(found[0].to_dict()))
    else:
        _print_one(found[0], printer)
    return DONE


def _print_all(found: list[RunRecord], printer: Printer, as_json: bool) -> None:
    from lorapipe.pipeline.event_text import duration

    for run in found:
        if as_json:
            print(json_line({key: value for key, value in run.to_dict().items() if key != "stages"}))
            continue
        took = duration(run.finished - run.started) if run.finished else ""
        printer.line(f"{run.number:>4}  {_when(run.started)}  {run.status:<11}  {took:>12}  {run.pipeline}")


def _print_one(run: RunRecord, printer: Printer) -> None:
    from lorapipe.pipeline.event_text import duration, number
    from lorapipe.terminal import shown_path

    printer.line(f"{run.pipeline}, {_when(run.started)}: {run.status}")
    width = max(map(len, run.stages), default=0)
    for stage in run.stages.values():
        took = f"{duration(stage.seconds)}  " if stage.seconds is not None else ""
        printer.line(f"{stage.name:<{width}}  {stage.end or 'not ended':<9}  {took}{stage.message or stage.reason}")
        if stage.metrics:
            values = "  ".join(f"{name} {number(value)}" for name, value in stage.metrics.items())
            printer.line(f"{'':<{width}}  {values}")
        for file in stage.files:
            printer.line(f"{'':<{width}}  {shown_path(file)}")


def _when(seconds: float) -> str:
    from datetime import datetime

    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # a time outside the calendar
        return f"{'?':16}"
