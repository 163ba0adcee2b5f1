"""`lorapipe schema`: the JSON Schema of pipelines, for editors; and all else that is written from the specs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE

HELP = "print the JSON Schema of pipelines, for editors"
FILE = Path("schemas/pipeline.schema.json")
TITLE = '"title": "lorapipe pipeline"'
"""By this the file is known to be ours to replace."""
NODES = Path("comfy_nodes")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--write", action="store_true", help=f"write it to {FILE}, and the help pages of {NODES}")


def main(options: argparse.Namespace) -> int:
    """Print or write it."""
    from lorapipe.errors import InputError
    from lorapipe.pipeline.pipeline_schema import schema_text

    if options.write:
        if FILE.exists() and TITLE not in FILE.read_text("utf-8", "replace"):
            raise InputError("is not the schema of lorapipe's pipelines.", where=str(FILE), cure="Move it away.")
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(schema_text(), encoding="utf-8", newline="\n")
        if NODES.is_dir():
            from comfy_nodes import help_pages

            help_pages.write(NODES)
    else:
        sys.stdout.write(schema_text())
    return DONE
