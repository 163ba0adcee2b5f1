"""Commands: what can be typed after `lorapipe`.

A command is a file here with `HELP` (a line), `arguments(parser)` (what it takes) and `main(options)` (which does it and
returns the exit status); its name is the file's. It is a reader of the engine: it says on the terminal what the ledger, the
plan and the events say.

To add one, create a file here. At the top import only what is light, and the engine inside `main`: the help of all commands
is drawn at every start. A new flag is for what cannot be said with `--set`: there are twelve at the most, in all commands
together.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""


def takes_pipeline(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """A pipeline file (`options.file`, or `options.files`) and settings to change in it."""
    if several:
        parser.add_argument("files", metavar="file", type=Path, nargs="+", help="the pipeline, a YAML file; or several")
    else:
        parser.add_argument("file", type=Path, help="the pipeline, a YAML file")
    takes_sets(parser, "change a setting; also vars.NAME=VALUE")


def takes_sets(parser: argparse.ArgumentParser, text: str) -> None:
    """Settings to change, as `options.set`."""
    parser.add_argument("--set", metavar="STAGE.KNOB=VALUE", action="append", default=[], help=text)


def takes_device(parser: argparse.ArgumentParser) -> None:
    """Where to compute; `devices.parse_devices` reads it."""
    text = "auto (default), cpu, cuda, cuda:1, mps; several: cuda:0,cuda:1; one training on both: cuda:0+cuda:1"
    parser.add_argument("--device", default="auto", help=text)


def takes_quiet(parser: argparse.ArgumentParser) -> None:
    """Little output."""
    parser.add_argument("--quiet", action="store_true", help="print nothing but failures")


def takes_choice(parser: argparse.ArgumentParser) -> None:
    """Which stages; `chosen` reads it."""
    for flag, text in (
        ("only", "make this stage and what it needs, and no other; may be given several times"),
        ("from", "make this stage and all that depend on it anew"),
        ("force", "make this stage anew, though nothing has changed"),
    ):
        parser.add_argument(f"--{flag}", metavar="STAGE", action="append", default=[], dest=f"{flag}_", help=text)


def chosen(pipeline: Pipeline, options: argparse.Namespace) -> tuple[Pipeline, frozenset[str]]:
    """The stages that were chosen, and those of them to make anew. `InputError` where there is no such stage."""
    anew = pipeline.and_after(options.from_) | frozenset(pipeline.known(options.force_))
    return (pipeline.with_needs(options.only_) if options.only_ else pipeline), anew


def notices(pipeline: Pipeline) -> list[str]:
    """What is to be said of a pipeline that is right, a line each."""
    return ["\n".join(filter(None, [f"! {notice}", notice.excerpt])) for notice in pipeline.notices]


def takes_json(parser: argparse.ArgumentParser) -> None:
    """Output for programs; `json_line` writes it."""
    parser.add_argument("--json", action="store_true", help="print JSON lines, for programs")


def json_line(value: object) -> str:
    """A value as programs read it."""
    import json

    return json.dumps(value, ensure_ascii=False)
