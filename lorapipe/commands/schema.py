"""`lorapipe schema`: the JSON Schemas of pipelines and of files that lorapipe writes; also writes other generated files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lorapipe.commands import DONE

HELP = "print the JSON Schema of pipelines, for editors, or of a file that lorapipe writes"
PIPELINE = "pipeline"
NAMES = (PIPELINE, "lorapipe.lock", "manifest", "event", "run", "report", "dataset", "captions", "generated")
FOLDER = Path("schemas")
OURS = '"title": "lorapipe'
"""Text in a schema file of lorapipe; other files are not replaced."""
NODES = Path("comfy_nodes")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("name", nargs="?", choices=NAMES, default=PIPELINE, help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--write", action="store_true", help=f"write all of them to {FOLDER}, and the pages of {NODES}")


def schemas() -> dict[str, str]:
    """Return the text of every schema, by its name."""
    from lorapipe.evaluation import report_data
    from lorapipe.pipeline import events, lockfile, manifest, run_files
    from lorapipe.pipeline.pipeline_schema import pipeline_schema
    from lorapipe.spec.schema import schema_text
    from lorapipe.training.data import captions_document, generated_pictures
    from lorapipe.training.data import manifest as dataset

    modules = (lockfile, manifest, events, run_files, report_data, dataset, captions_document, generated_pictures)
    documents = [module.DOCUMENT for module in modules]
    return {PIPELINE: schema_text(pipeline_schema()), **{each.name: each.text() for each in documents}}


def file_of(name: str) -> Path:
    """Return the file of a schema."""
    return FOLDER / f"{name}.schema.json"


def main(options: argparse.Namespace) -> int:
    """Print one schema, or write all."""
    from lorapipe.errors import InputError

    texts = schemas()
    if not options.write:
        sys.stdout.write(texts[options.name])
        return DONE
    for file in map(file_of, texts):
        if file.exists() and OURS not in file.read_text("utf-8", "replace"):
            raise InputError("is not a schema of lorapipe.", where=str(file), cure="Move it away.")
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts.items():
        file_of(name).write_text(text, encoding="utf-8", newline="\n")
    if NODES.is_dir():
        from comfy_nodes import help_pages

        help_pages.write(NODES)
    return DONE
