"""`lorapipe log`: what a stage printed."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from lorapipe.commands import DONE

HELP = "print the log of a stage's last result or attempt"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("stage", help="a stage's name")


def main(options: argparse.Namespace) -> int:
    """Print the log of the project in the current folder."""
    from lorapipe.errors import InputError, near_miss
    from lorapipe.pipeline.history import read_run, runs
    from lorapipe.pipeline.keys import short
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.terminal import Printer

    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        known: dict[str, None] = {}
        for each in runs(ledger):
            stages = read_run(ledger, each.number).stages
            known.update(dict.fromkeys(stages))
            key = stages[options.stage].key if options.stage in stages else ""
            logs = [folder / short(key) / "log.txt" for folder in (ledger.work, ledger.store)] if key else []
            for log in logs:
                if log.exists():
                    Printer(sys.stdout).line(log.read_text("utf-8", errors="replace").rstrip("\n"))
                    return DONE
    if options.stage in known:
        raise InputError(f"stage {options.stage!r} has left no log.")
    raise InputError(f"no run has a stage {options.stage!r}.", cure=near_miss(options.stage, list(known)))
