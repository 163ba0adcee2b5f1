"""`lorapipe why`: show why a stage's last result was made, and its settings and inputs."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from lorapipe.commands import DONE, json_line, takes_json

HELP = "show why a stage's last result was made, and its settings and inputs"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("stage", help="a stage's name")
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the last reason and the settings of a stage in the project in the current folder."""
    from lorapipe.pipeline.diff import described
    from lorapipe.pipeline.history import runs_of
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.terminal import Printer

    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        reason, key, number = "", "", 0
        for each, stage in runs_of(ledger, options.stage):
            key = key or stage.key
            if stage.end != "reused" or stage.key != key:
                reason, number = stage.reason, each
                break
        manifest = ledger.manifest(key)
    if options.json:
        print(json_line({"run": number, "reason": reason, "manifest": manifest}))
        return DONE
    printer = Printer(sys.stdout)
    printer.line(
        f"{options.stage}: {reason or 'made before the oldest run in the history'}{f' (run {number})' if number else ''}"
    )
    for line in described(manifest) if manifest is not None else ["its result is gone"]:
        printer.line(f"  {line}")
    return DONE
