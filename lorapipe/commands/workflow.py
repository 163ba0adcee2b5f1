"""`lorapipe workflow`: a pipeline as a graph for ComfyUI."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lorapipe.commands import DONE, takes_pipeline

HELP = "write a pipeline as a workflow that ComfyUI opens"
API = ".api.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    takes_pipeline(parser)
    text = f"the file to write (default: the pipeline's name with .json); NAME{API} is the form that ComfyUI's server takes"
    parser.add_argument("to", type=Path, nargs="?", help=text)


def main(options: argparse.Namespace) -> int:
    """Write the file."""
    from comfy_nodes.workflow import api_format, graph, page_format
    from lorapipe.aside import write_text
    from lorapipe.errors import InputError
    from lorapipe.pipeline.language import Pipeline
    from lorapipe.terminal import Printer, shown_path

    placed = graph(Pipeline.load(options.file, options.set))
    to: Path = options.to or options.file.with_suffix(".json")
    if to.exists() and not to.is_file():
        raise InputError("is not a file.", where=str(to), cure="Name a file to write, such as cat.json.")
    form = api_format if to.name.endswith(API) else page_format
    write_text(json.dumps(form(placed), ensure_ascii=False, indent=1) + "\n", to)
    Printer(sys.stdout).line(f"{shown_path(str(to))}: {len(placed)} nodes")
    return DONE
