"""The command line: run, plan, check, show, schema. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lorapipe

if TYPE_CHECKING:
    from lorapipe.pipeline.events import Failed

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
SCHEMA_FILE = Path("schemas/pipeline.schema.json")
EXAMPLES = """\
examples:
  lorapipe run pipelines/quickstart.yaml
  lorapipe plan cat.yaml --set penny.adapter.rank=16
  lorapipe show adapter lora
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 (a stage failed), 2 (the user's mistake) or 130 (interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot spell a character must not end a training
    options = _parser().parse_args(arguments)
    from lorapipe.errors import LorapipeError

    try:
        return int(options.command(options))
    except LorapipeError as error:
        from lorapipe.terminal import Printer

        for problem in error.problems:
            Printer(sys.stderr).line(str(problem))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lorapipe",
        description=lorapipe.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lorapipe {lorapipe.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    pipeline = argparse.ArgumentParser(add_help=False)
    pipeline.add_argument("file", type=Path, help="the pipeline, a YAML file")
    pipeline.add_argument(
        "--set", metavar="STAGE.KNOB=VALUE", action="append", default=[], help="change a setting; also vars.NAME=VALUE"
    )
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON lines, for programs")

    run = commands.add_parser("run", parents=[pipeline, output], help="make what is not there yet")
    run.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps; several: cuda:0,cuda:1")
    run.add_argument("--on", default="local", help="where stages run: local (default) … see `lorapipe show launcher`")
    run.add_argument("--quiet", action="store_true", help="print nothing but failures")
    run.set_defaults(command=_run)
    plan = commands.add_parser("plan", parents=[pipeline, output], help="say what would run, and why")
    plan.set_defaults(command=_plan)
    check = commands.add_parser("check", parents=[pipeline], help="look for mistakes, and change nothing")
    check.set_defaults(command=_check)

    show = commands.add_parser("show", help="list what can be chosen, or explain one: show adapter lora")
    show.add_argument("kind", nargs="?", help="stage, adapter, optimizer …")
    show.add_argument("name", nargs="?", help="one of them")
    show.set_defaults(command=_show)
    schema = commands.add_parser("schema", help="print the JSON Schema of pipelines, for editors")
    where = schema.add_mutually_exclusive_group()
    where.add_argument("--write", action="store_true", help=f"write it to {SCHEMA_FILE}")
    where.add_argument("--check", action="store_true", help=f"fail where {SCHEMA_FILE} is not current")
    schema.set_defaults(command=_schema)
    return parser


def _run(options: argparse.Namespace) -> int:
    from lorapipe import terminal
    from lorapipe.pipeline.devices import parse_devices
    from lorapipe.pipeline.document import parse
    from lorapipe.pipeline.events import Failed
    from lorapipe.pipeline.language import Pipeline
    from lorapipe.pipeline.run import open_pool, run

    pipeline = Pipeline.load(options.file, options.set)
    pool = open_pool(parse(options.on, "--on").value, parse_devices(options.device))
    view = terminal.view(pipeline.stages, json=options.json, quiet=options.quiet)
    failures: list[Failed] = []
    with Stop(view) as stop, closing(pool):
        events = run(pipeline, pool=pool, stopping=stop.level)
        with closing(view), closing(events):
            for event in events:
                view.show(event)
                if isinstance(event, Failed):
                    failures.append(event)
    if failures or stop.level():
        view.note(f"\n{_summary(failures, options)}")
    if stop.level():
        return INTERRUPTED
    causes = {each.cause for each in failures} - {"cancelled"}
    return DONE if not failures else MISTAKE if causes == {"input"} else FAILED


def _summary(failures: Sequence[Failed], options: argparse.Namespace) -> str:
    """What has no result, and the one command that goes on."""
    failed = [each.stage for each in failures if each.cause != "cancelled"]
    words = ["lorapipe", "run", str(options.file), *(f"--set {shlex.quote(each)}" for each in options.set)]
    words += [f"--device {options.device}"] if options.device != "auto" else []
    words += [f"--on {shlex.quote(options.on)}"] if options.on != "local" else []
    head = f"Failed: {', '.join(failed)}." if failed else "Stopped."
    return f"{head} What is done is kept. To go on:\n  {' '.join(words)}"


class Stop:
    """Ctrl-C (and the system's request to end): once to stop when the stage has saved, twice to stop now."""

    def __init__(self, view: Any) -> None:
        self._count = 0
        self._view = view
        self._before: dict[int, Any] = {}

    def level(self) -> int:
        """How urgently the run is asked to stop: 0, 1 or 2."""
        return min(self._count, 2)

    def _asked(self, number: int, frame: object) -> None:
        self._count += 1
        if self._count == 1:
            self._view.note("Stopping as soon as the stage has saved its work; Ctrl-C again stops at once.")
        if self._count > 2:
            raise KeyboardInterrupt

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _plan(options: argparse.Namespace) -> int:
    from lorapipe.pipeline.events import Planned, to_json
    from lorapipe.pipeline.language import Pipeline
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.plan import plan
    from lorapipe.terminal import Printer

    pipeline = Pipeline.load(options.file, options.set)
    with closing(Ledger(pipeline.folder)) as ledger:
        steps = plan(pipeline, ledger).steps
    printer = Printer(sys.stdout)
    width = max(len(step.name) for step in steps)
    for step in steps:
        if options.json:
            print(to_json(Planned(step.name, step.action, step.reason)))
        else:
            printer.line(f"{step.name:<{width}}  {step.action:<5}  {step.reason}")
    return DONE


def _check(options: argparse.Namespace) -> int:
    from lorapipe.pipeline.language import Pipeline
    from lorapipe.terminal import Printer

    pipeline = Pipeline.load(options.file, options.set)
    Printer(sys.stdout).line(f"{options.file} is right: {', '.join(pipeline.stages)}.")
    return DONE


def _show(options: argparse.Namespace) -> int:
    from lorapipe import reference
    from lorapipe.terminal import Printer

    if options.kind is None:
        text = reference.overview()
    elif options.name is None:
        text = reference.of_kind(options.kind)
    else:
        text = reference.of_name(options.kind, options.name)
    Printer(sys.stdout).line(text)
    return DONE


def _schema(options: argparse.Namespace) -> int:
    from lorapipe.errors import InputError
    from lorapipe.pipeline.catalogue import schema_text

    text = schema_text()
    if options.write:
        SCHEMA_FILE.parent.mkdir(exist_ok=True)
        SCHEMA_FILE.write_text(text, encoding="utf-8", newline="\n")
    elif options.check:
        if not SCHEMA_FILE.exists() or SCHEMA_FILE.read_text(encoding="utf-8") != text:
            raise InputError("is not current.", where=str(SCHEMA_FILE), cure="Run `lorapipe schema --write`.")
    else:
        sys.stdout.write(text)
    return DONE
