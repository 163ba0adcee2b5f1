"""`lorapipe check`: find mistakes in pipelines."""

from __future__ import annotations

import argparse
import sys

from lorapipe.commands import DONE, cautions, findings, notices, takes_pipeline

HELP = "find mistakes in a pipeline, and change nothing"
MOST_STAGES = 100
"""Most stages that the output names."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser, several=True)


def main(options: argparse.Namespace) -> int:
    """Load the pipelines. Raises `InputError` with all problems."""
    from lorapipe.errors import listed
    from lorapipe.pipeline import destinations
    from lorapipe.pipeline.loader import load_all
    from lorapipe.terminal import Printer

    printer = Printer(sys.stdout)
    pipelines = load_all(options.files, options.set)
    destinations.check(pipelines)
    for file, pipeline in zip(options.files, pipelines, strict=True):
        printer.line(f"{file} is valid: {listed(pipeline.stages, MOST_STAGES)}.")
        told = findings(pipeline, [*pipeline.stages][:MOST_STAGES])
        for line in (*notices(pipeline), *told, *cautions(pipeline, MOST_STAGES)):
            printer.line(line)
    return DONE
