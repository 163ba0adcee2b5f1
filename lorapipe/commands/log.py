"""`lorapipe log`: print the log of a stage."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, suppress
from pathlib import Path

from lorapipe.commands import DONE

HELP = "print the log of a stage's last result or attempt"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("stage", help="a stage's name")


def main(options: argparse.Namespace) -> int:
    """Print the log of the project in the current folder."""
    from lorapipe.errors import InputError
    from lorapipe.pipeline.history import runs_of
    from lorapipe.pipeline.keys import short
    from lorapipe.pipeline.ledger import LOG, Ledger
    from lorapipe.terminal import Printer

    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        for _, stage in runs_of(ledger, options.stage):
            logs = [folder / short(stage.key) / LOG for folder in (ledger.work, ledger.store)] if stage.key else []
            for log in logs:
                text = _text_of(log)
                if text is not None:
                    Printer(sys.stdout).line(text.rstrip() or f"{options.stage} has printed nothing.")
                    return DONE
    raise InputError(f"stage {options.stage!r} has left no log.")


def _text_of(log: Path) -> str | None:
    """Return the text of a log; None if it is not a readable file."""
    with suppress(OSError, ValueError):
        if log.is_file():
            return log.read_text("utf-8", errors="replace")
    return None
