"""`lorapipe why`: what a stage's result was made from, and why it was made."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path

from lorapipe.commands import DONE, takes_json

HELP = "say what a stage's last result was made from, and why it was made"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("stage", help="a stage's name")
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the last reason and the settings of a stage in the project in the current folder."""
    from lorapipe.errors import InputError, near_miss
    from lorapipe.pipeline.history import read_run, runs
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.reasons import described
    from lorapipe.terminal import Printer

    with closing(Ledger(Path.cwd())) as ledger:
        ledger.must_exist()
        known: dict[str, None] = {}
        reason, key, number = "", "", 0
        for each in runs(ledger):
            stages = read_run(ledger, each.number).stages
            known.update(dict.fromkeys(stages))
            stage = stages.get(options.stage)
            if stage is not None:
                key = key or stage.key
                if stage.end != "reused" or stage.key != key:
                    reason, number = stage.reason, each.number
                    break
        if not key and not number:
            raise InputError(f"no run has a stage {options.stage!r}.", cure=near_miss(options.stage, list(known)))
        manifest = ledger.manifest(key)
    if options.json:
        print(json.dumps({"run": number, "reason": reason, "manifest": manifest}, ensure_ascii=False))
        return DONE
    printer = Printer(sys.stdout)
    printer.line(
        f"{options.stage}: {reason or 'made before the runs that are kept'}{f' (run {number})' if number else ''}"
    )
    for line in described(manifest) if manifest is not None else ["its result is gone"]:
        printer.line(f"  {line}")
    return DONE
