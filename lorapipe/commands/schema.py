"""`lorapipe schema`: the JSON Schema of pipelines, for editors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE

HELP = "print the JSON Schema of pipelines, for editors"
FILE = Path("schemas/pipeline.schema.json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--write", action="store_true", help=f"write it to {FILE}")


def main(options: argparse.Namespace) -> int:
    """Print or write it."""
    from lorapipe.pipeline.catalogue import schema_text

    if options.write:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(schema_text(), encoding="utf-8", newline="\n")
    else:
        sys.stdout.write(schema_text())
    return DONE
