"""`lorapipe import`: turn another trainer's configuration into a pipeline, and say what became of each key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE, json_line, may_write, takes_force, takes_json, takes_target

HELP = (
    "turn kohya's scripts and settings, or OneTrainer's and ai-toolkit's, into a pipeline, with a report of every key"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    text = "a script (bash, cmd, PowerShell), TOML, JSON or YAML, or a trained .safetensors; files of one training together"
    parser.add_argument("files", metavar="file", type=Path, nargs="+", help=text)
    takes_target(parser)
    takes_force(parser)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Write the pipeline to the file, or print it; print the report, to stderr where the pipeline is printed."""
    from lorapipe.config_import.translation import import_files
    from lorapipe.terminal import Printer

    if options.to is not None:
        may_write(options.to, options.force)
    target = options.to.absolute().parent if options.to is not None else Path.cwd()
    found = import_files(options.files, target)
    report = json_line(found.report.as_data()) if options.json else found.report.as_text()
    if options.to is None:
        Printer(sys.stdout).line(found.pipeline.rstrip("\n"))
        Printer(sys.stderr).line(report)
        return DONE
    from lorapipe.atomic import write_text

    write_text(found.pipeline, options.to)
    Printer(sys.stdout).line(report)
    if not options.json:
        Printer(sys.stdout).line(f"\n{options.to} is written.")
    return DONE
