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
    from lorapipe.pipeline.language import load_all
    from lorapipe.terminal import Printer

    for file, pipeline in zip(options.files, load_all(options.files, options.set), strict=True):
        Printer(sys.stdout).line(f"{file} is right: {', '.join(pipeline.stages)}.")
    return DONE
