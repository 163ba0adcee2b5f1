"""`lorapipe workflow`: convert a pipeline to a ComfyUI workflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE, takes_pipeline

HELP = "write a pipeline as a workflow that ComfyUI opens"
ENDING, API = ".json", ".api.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    takes_pipeline(parser)
    text = f"the file to write (default: the pipeline's name with .json); NAME{API} is written in ComfyUI's API format"
    parser.add_argument("to", type=Path, nargs="?", help=text)


def main(options: argparse.Namespace) -> int:
    """Write the file."""
    import json

    from comfy_nodes.workflow import api_format, graph, page_format
    from lorapipe.errors import InputError
    from lorapipe.pipeline import loader
    from lorapipe.pipeline.delivery_log import DeliveryLog
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.spec import Destination
    from lorapipe.terminal import Printer, shown_path

    pipeline = loader.load(options.file, options.set)
    placed = graph(pipeline)
    wanted = Destination(options.to or options.file.with_suffix(".json"))
    if wanted.path.exists() and not wanted.path.is_file():
        raise InputError("is not a file.", where=str(wanted.path), cure="Name a file to write, such as cat.json.")
    if (wrong := wanted.complaint(ENDING)) is not None:
        raise InputError(wrong[0], cure=wrong[1])
    to = wanted.file("", ENDING)
    form = api_format if to.name.endswith(API) else page_format
    text = json.dumps(form(placed), ensure_ascii=False, indent=1) + "\n"
    try:
        DeliveryLog(Ledger(pipeline.folder)).put_text(text, to, f"lorapipe workflow of {pipeline.name}")
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}.", where=str(to), cure="Name another."
        ) from None
    Printer(sys.stdout).line(f"{shown_path(str(to))}: {len(placed)} nodes")
    return DONE
