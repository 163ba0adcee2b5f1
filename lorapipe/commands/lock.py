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
    from lorapipe.pipeline import loader
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.lockfile import locked, write
    from lorapipe.terminal import Printer, shown_path

    pipeline = loader.load(options.file, options.set)
    with closing(Ledger(pipeline.folder)) as ledger:
        path = write(pipeline, locked(pipeline, ledger))
    Printer(sys.stdout).line(shown_path(str(path)))
    return DONE
