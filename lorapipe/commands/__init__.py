"""The commands of the command line.

A command is a file here with `HELP` (one line), `arguments(parser)` (adds its arguments) and `main(options)` (runs it and
returns the exit status); its name is the file's. Commands only display what ledger, plan and events contain.

To add one, create a file here. Import heavy modules and the engine inside `main`, since the help of all commands is built
at every start. Add a flag only for what `--set` cannot do: all commands together may have at most twelve.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline
    from lorapipe.terminal import Printer

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""


def takes_pipeline(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add a pipeline file (`options.file`, or `options.files`) and settings to change in it."""
    if several:
        parser.add_argument("files", metavar="file", type=Path, nargs="+", help="the pipeline, a YAML file; or several")
    else:
        parser.add_argument("file", type=Path, help="the pipeline, a YAML file")
    takes_sets(parser, "change a setting; also vars.NAME=VALUE")


def takes_sets(parser: argparse.ArgumentParser, text: str, form: str = "STAGE.KNOB=VALUE") -> None:
    """Add settings to change, as `options.set`."""
    parser.add_argument("--set", metavar=form, action="append", default=[], help=text)


def takes_device(parser: argparse.ArgumentParser) -> None:
    """Add the device; `devices.parse_devices` reads it."""
    text = "auto (default), cpu, cuda, cuda:1, mps; several: cuda:0,cuda:1; one training on both: cuda:0+cuda:1"
    parser.add_argument("--device", default="auto", help=text)


def takes_launcher(parser: argparse.ArgumentParser) -> None:
    """Add where stages run, as `options.on`."""
    parser.add_argument(
        "--on", default="local", help="where stages run: local (default) … see `lorapipe show launcher`"
    )


def takes_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="print nothing but failures")


def takes_choice(parser: argparse.ArgumentParser) -> None:
    """Add the choice of stages; `chosen` reads it."""
    for flag, text in (
        ("only", "run only this stage and the stages it needs; may be repeated"),
        ("from", "run this stage and all that depend on it again"),
        ("force", "run this stage again, even if nothing has changed"),
    ):
        parser.add_argument(f"--{flag}", metavar="STAGE", action="append", default=[], dest=f"{flag}_", help=text)


def chosen(pipeline: Pipeline, options: argparse.Namespace) -> tuple[Pipeline, frozenset[str]]:
    """Return the chosen stages, and those of them to run again. `InputError` if there is no such stage."""
    anew = pipeline.and_after(options.from_) | frozenset(pipeline.known(options.force_))
    return (pipeline.with_needs(options.only_) if options.only_ else pipeline), anew


def notices(pipeline: Pipeline) -> list[str]:
    """Return the notices of a valid pipeline, one text each."""
    return ["\n".join(filter(None, [f"! {notice}", notice.excerpt])) for notice in pipeline.notices]


def cautions(pipeline: Pipeline, most: int) -> list[str]:
    """Return the cautions of the first `most` stages, each once."""
    stages = [*pipeline.stages.values()][:most]
    return [*dict.fromkeys(f"! {line}." for stage in stages for line in stage.cautions(pipeline.stages))]


def findings(pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    """Return what the rules say of these stages, with the places in the pipeline's files; of cells of a matrix once."""
    found = (each.under("stages") for name in names for each in pipeline.stages[name].findings(pipeline.stages))
    placed = dict.fromkeys(map(pipeline.located, found))
    return ["\n".join(filter(None, [f"! {each}", each.excerpt])) for each in placed]


def warnings(pipeline: Pipeline, name: str) -> Iterator[str]:
    """Yield what the rules say of a stage, without places, and its cautions."""
    stage = pipeline.stages[name]
    yield from (each.sentence for each in stage.findings(pipeline.stages))
    yield from stage.cautions(pipeline.stages)


def takes_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, output for programs; `json_line` formats it."""
    parser.add_argument("--json", action="store_true", help="print JSON lines, for programs")


def takes_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`; `agreed` reads it."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def agreed(options: argparse.Namespace, printer: Printer, question: str) -> bool:
    """Ask on the terminal, unless `--yes` was given. Without a terminal the answer is no, and the printer says so."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        printer.line("Nothing was changed: without a terminal, confirm with --yes.")
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def takes_target(
    parser: argparse.ArgumentParser,
    text: str = "write to this file instead of standard output",
    *,
    required: bool = False,
) -> None:
    """Add the file to write, as `options.to`; None, which may be forbidden, is standard output."""
    parser.add_argument("--to", metavar="FILE", type=Path, help=text, required=required)


def takes_force(parser: argparse.ArgumentParser) -> None:
    """Add `--force`; `may_write` reads it."""
    parser.add_argument("--force", action="store_true", help="also replace a file that is there")


def may_write(path: Path, force: bool) -> None:
    """Raise `InputError` if a file is there that may not be replaced, or if the path is a folder."""
    from lorapipe.errors import InputError

    if path.is_dir():
        raise InputError("is a folder.", where=str(path), cure=f"Name a file in it: {path / 'pipeline.yaml'}.")
    if path.exists() and not force:
        what = "exists already: what is there already is not replaced."
        raise InputError(what, where=str(path), cure="Name another file, or add --force.")


def json_line(value: object) -> str:
    """Return a value as JSON."""
    import json

    return json.dumps(value, ensure_ascii=False)


def takes_rank(parser: argparse.ArgumentParser) -> None:
    """Add the rank, as `options.rank`; None is the stage's default."""
    parser.add_argument("--rank", metavar="N", type=int, help="the rank, or the largest one where --set chooses ranks")
