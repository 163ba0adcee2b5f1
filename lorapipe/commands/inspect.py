"""`lorapipe inspect`: describe adapter files, and compare how other programs read them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, MISTAKE, json_line, takes_json

if TYPE_CHECKING:
    from lorapipe.inspection import Inspection

HELP = "describe an adapter file: kind, rank, parts, base, words, training; and how ComfyUI or A1111 read it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("files", metavar="file", type=Path, nargs="+", help="a LoRA, an embedding, any file of tensors")
    text = "programs to compare with, of comfyui,forge,a1111,diffusers: modules they load, ignore or read differently"
    parser.add_argument("--for", metavar="PROGRAM,…", default="", dest="readers", help=text)
    text = "print the YAML of the pipeline that would train the file, from its metadata"
    parser.add_argument("--pipeline", action="store_true", help=text)
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print a report of each file; return 2 if one cannot be used."""
    from lorapipe.errors import InputError
    from lorapipe.inspection import inspect
    from lorapipe.terminal import Printer

    readers = [word.strip() for word in options.readers.split(",") if word.strip()]
    printer, errors, status = Printer(sys.stdout), Printer(sys.stderr), DONE
    for path in options.files:
        try:
            found = inspect(path, readers)
            printer.line(_shown(found, options))
        except InputError as error:
            status = MISTAKE
            for problem in error.problems:
                errors.line(str(problem))
            continue
        status = status if found.is_right else MISTAKE
    return status


def _shown(found: Inspection, options: argparse.Namespace) -> str:
    """Return a file's report, or its pipeline: as text, or as a line of JSON."""
    if not options.pipeline:
        return json_line(found.as_data()) if options.json else found.as_text()
    pipeline = found.as_pipeline()
    data = {"file": found.report.file, "stages": pipeline.stages, "remarks": pipeline.remarks}
    return json_line(data) if options.json else pipeline.as_text().rstrip("\n")
