"""`lorapipe convert`: an adapter's file in another format, number type or form."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE, takes_force, takes_sets, takes_target

HELP = "write an adapter's file in another format, number type or form: FILE --format diffusers --to FILE"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("file", type=Path, help="an adapter's file or folder, of any format that is read here")
    parser.add_argument("--format", default="kohya", help="kohya (default), diffusers, peft (a folder), a1111")
    takes_target(parser, "the file to write, or the folder for format peft", required=True)
    takes_sets(parser, "dtype=fp16, convert=lora (or diff), convert_rank=16, as of the stage export", "KNOB=VALUE")
    takes_force(parser)


def main(options: argparse.Namespace) -> int:
    """Convert, and say what the file holds."""
    from lorapipe.commands._one_stage import may_replace, module_progress, settings
    from lorapipe.lora_tools.adapter_conversion import convert_adapter
    from lorapipe.lora_tools.file_options import ConvertedFileOptions, ready
    from lorapipe.lora_tools.publication import require_other
    from lorapipe.terminal import Printer

    require_other(options.to, [options.file])
    knobs = ready(ConvertedFileOptions, {"format": options.format, **settings(options.set)}, options.to)
    may_replace(options.to, options.force, folder=not knobs.format.ending)
    with module_progress("convert") as tell:
        found = convert_adapter(options.file, options.to, knobs, tell)
    Printer(sys.stdout).line(f"{options.to}: {found}")
    return DONE
