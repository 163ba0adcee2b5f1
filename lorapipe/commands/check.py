"""`lorapipe check`: look for mistakes."""

from __future__ import annotations

import argparse
import sys

from lorapipe.commands import DONE, takes_pipeline

HELP = "look for mistakes, and change nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    takes_pipeline(parser, several=True)


def main(options: argparse.Namespace) -> int:
    """Read the pipelines; what is wrong is raised."""
    from lorapipe.pipeline import destinations
    from lorapipe.pipeline.language import load_all
    from lorapipe.terminal import Printer

    pipelines = load_all(options.files, options.set)
    destinations.check(pipelines)
    for file, pipeline in zip(options.files, pipelines, strict=True):
        Printer(sys.stdout).line(f"{file} is right: {', '.join(pipeline.stages)}.")
    return DONE
