"""`lorapipe lock`: record what is needed to reproduce a run elsewhere."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from lorapipe.commands import DONE, takes_pipeline

HELP = "write lorapipe.lock, which records what is needed to reproduce a finished run elsewhere"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser)


def main(options: argparse.Namespace) -> int:
    """Write the lock file beside the pipeline."""
    from lorapipe.errors import InputError
    from lorapipe.pipeline import loader
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.lockfile import locked, write
    from lorapipe.terminal import Printer, shown_path
    from lorapipe.tuning.next_run import next_run

    pipeline = loader.load(options.file, options.set)
    with closing(Ledger(pipeline.folder)) as ledger:
        following = next_run(pipeline, ledger)
        if not following.is_whole:
            raise InputError("has not run to its end.", where=pipeline.name, cure="Run it first.")
        path = write(pipeline, locked(following.pipeline, ledger))
    Printer(sys.stdout).line(shown_path(str(path)))
    return DONE
