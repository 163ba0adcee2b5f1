"""`lorapipe plan`: say what would run, and why."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from lorapipe.commands import DONE, chosen, notices, takes_choice, takes_json, takes_pipeline

HELP = "say what would run, and why"
MOST_OUTLOOKS = 200
"""Stages, and stages that they need, of which it is said how much work they are: that reads the heads of their files."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    takes_pipeline(parser)
    takes_choice(parser)
    takes_json(parser)
    parser.add_argument("--graph", choices=("mermaid", "dot"), help="print the graph for another program to draw")


def main(options: argparse.Namespace) -> int:
    """Print the plan; nothing is written."""
    from lorapipe.pipeline import destinations, loader
    from lorapipe.pipeline.event_text import duration
    from lorapipe.pipeline.events import Planned, to_json
    from lorapipe.pipeline.graph_export import FORMS
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.plan import expected_seconds, plan
    from lorapipe.terminal import Printer

    pipeline, anew = chosen(loader.load(options.file, options.set), options)
    destinations.check([pipeline])
    printer = Printer(sys.stdout)
    with closing(Ledger(pipeline.folder)) as ledger:
        planned = plan(pipeline, ledger, anew)
        if options.graph:
            printer.line(FORMS[options.graph](pipeline, planned))
            return DONE
        last = planned.last_seconds(pipeline, ledger)
    expected = expected_seconds(last)
    places = destinations.Destinations(pipeline, ledger)
    width = max(len(step.name) for step in planned.stages)
    told = 0
    for step in planned.stages:
        if options.json:
            print(to_json(Planned(step.name, step.action, step.reason)))
            continue
        seconds = last.get(step.name)
        took = f"  (took {duration(seconds)})" if seconds is not None and seconds >= 1 else ""
        printer.line(f"{step.name:<{width}}  {step.action:<5}  {step.reason}{took}")
        if step.action == "run" and (told := told + 1 + len(pipeline.needs[step.name])) <= MOST_OUTLOOKS:
            stage = step.stage or pipeline.stages[step.name]
            for line in (*stage.outlook(pipeline.stages), *stage.cautions(pipeline.stages)):
                printer.line(f"{'':<{width}}         {line}")
        for line in places.outlook(step.name):
            printer.line(f"{'':<{width}}         {line}")
    for line in () if options.json else notices(pipeline):
        printer.line(line)
    if told > MOST_OUTLOOKS and not options.json:
        printer.line("\nHow much work a stage is, is said of the first ones; --only STAGE says it of another.")
    if expected and expected >= 60 and not options.json:
        printer.line(f"\nAbout {duration(expected)}, if nothing takes longer than it did last time.")
    return DONE
