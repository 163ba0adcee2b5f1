"""`lorapipe plan`: say what would run, and why."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from lorapipe.commands import DONE, takes_json, takes_pipeline

HELP = "say what would run, and why"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    takes_pipeline(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the plan; nothing is written."""
    from lorapipe.pipeline.events import Planned, to_json
    from lorapipe.pipeline.language import Pipeline
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.plan import plan
    from lorapipe.terminal import Printer

    pipeline = Pipeline.load(options.file, options.set)
    with closing(Ledger(pipeline.folder)) as ledger:
        steps = plan(pipeline, ledger).steps
    printer = Printer(sys.stdout)
    width = max(len(step.name) for step in steps)
    for step in steps:
        if options.json:
            print(to_json(Planned(step.name, step.action, step.reason)))
        else:
            printer.line(f"{step.name:<{width}}  {step.action:<5}  {step.reason}")
    return DONE
