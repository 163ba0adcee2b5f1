"""`lorapipe plan`: show which stages would run, and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, chosen, findings, notices, takes_choice, takes_json, takes_pipeline

if TYPE_CHECKING:
    from lorapipe.pipeline.destinations import Destinations
    from lorapipe.pipeline.pipeline import Pipeline
    from lorapipe.pipeline.plan import Plan, PlannedStage

HELP = "show which stages would run, and why"
MOST_OUTLOOKS = 200
"""Most stages, with those that they need, whose work is estimated, since that reads the headers of their files."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser)
    takes_choice(parser)
    takes_json(parser)
    parser.add_argument(
        "--graph", choices=("mermaid", "dot"), help="print the graph in the format of a drawing program"
    )


def main(options: argparse.Namespace) -> int:
    """Print the plan; nothing is written."""
    from lorapipe.pipeline import destinations, loader
    from lorapipe.pipeline.events import Planned, to_json
    from lorapipe.pipeline.graph_export import FORMS
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.plan import plan
    from lorapipe.terminal import Printer
    from lorapipe.tuning.next_run import next_run

    pipeline, anew = chosen(loader.load(options.file, options.set), options)
    destinations.check([pipeline])
    printer = Printer(sys.stdout)
    with closing(Ledger(pipeline.folder)) as ledger:
        following = next_run(pipeline, ledger)
        pipeline = following.pipeline
        planned = plan(pipeline, ledger, anew)
        if options.graph:
            printer.line(FORMS[options.graph](pipeline, planned))
            return DONE
        last = planned.last_seconds(pipeline, ledger)
    if options.json:
        for step in planned.stages:
            print(to_json(Planned(step.name, step.action, step.reason)))
        return DONE
    for line in (*following.told, "") if following.told else ():
        printer.line(line)
    for line in _lines(pipeline, planned, last, destinations.Destinations(pipeline, ledger)):
        printer.line(line)
    return DONE


def _lines(
    pipeline: Pipeline, planned: Plan, last: Mapping[str, float | None], destinations: Destinations
) -> Iterator[str]:
    """Yield the plan as text: each stage with its estimate and cautions, then the total."""
    from lorapipe.pipeline.event_text import duration
    from lorapipe.pipeline.plan import expected_seconds

    yield from _steps(pipeline, planned, last, destinations)
    yield from notices(pipeline)
    running = [step.name for step in planned.stages if step.action == "run"]
    yield from findings(pipeline, running[:MOST_OUTLOOKS])
    expected = expected_seconds(last) or 0.0
    if expected >= 60:
        yield f"\nAbout {duration(expected)}, if each stage takes as long as last time."


def _steps(
    pipeline: Pipeline, planned: Plan, last: Mapping[str, float | None], destinations: Destinations
) -> Iterator[str]:
    """Yield each stage with its estimate and cautions."""
    from lorapipe.pipeline.event_text import duration

    width = max(len(step.name) for step in planned.stages)
    asked = 0
    for step in planned.stages:
        seconds = last.get(step.name) or 0.0
        took = f"  (took {duration(seconds)})" if seconds >= 1 else ""
        yield f"{step.name:<{width}}  {step.action:<5}  {step.reason}{took}"
        asked += 1 + len(pipeline.needs[step.name]) if step.action == "run" else 0
        work = [*_work(pipeline, step)] if step.action == "run" and asked <= MOST_OUTLOOKS else []
        yield from (f"{'':<{width}}         {line}" for line in (*work, *destinations.outlook(step.name)))
    if asked > MOST_OUTLOOKS:
        yield "\nThe work is estimated only for the first stages; --only STAGE estimates another."


def _work(pipeline: Pipeline, step: PlannedStage) -> Iterator[str]:
    """Yield an estimate of a stage's work, and cautions before it begins."""
    stage = step.stage or pipeline.stages[step.name]
    yield from stage.outlook(pipeline.stages)
    yield from stage.cautions(pipeline.stages)
