"""`lorapipe verify`: show differences from the lock file."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from lorapipe.commands import DONE, FAILED, json_line, takes_json, takes_pipeline

HELP = "show differences from lorapipe.lock; exit status 0: none, 1: some, 2: no lock file"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Compare, and print the differences."""
    from lorapipe.pipeline import loader
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.lockfile import differing, recorded
    from lorapipe.terminal import Printer
    from lorapipe.tuning.next_run import next_run

    pipeline = loader.load(options.file, options.set)
    with closing(Ledger(pipeline.folder)) as ledger:
        following = next_run(pipeline, ledger)
        if following.is_whole:
            lines = differing(following.pipeline, ledger)
        else:
            recorded(pipeline)  # there may be no lock file
            lines = ["It has not run to its end here."]
    printer = Printer(sys.stdout)
    for line in lines:
        printer.line(json_line(line) if options.json else line)
    if not lines and not options.json:
        printer.line("The same as when it was locked.")
    return FAILED if lines else DONE
