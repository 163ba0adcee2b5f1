"""The command line. Its commands are the files of `lorapipe.commands`, which import heavy modules only when needed."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lorapipe
from lorapipe import commands

if TYPE_CHECKING:
    from lorapipe.errors import LorapipeError

FIRST = ("run", "plan", "check", "show")
"""The commands that the help lists first; the others follow by name."""
EXAMPLES = """\
examples:
  lorapipe run pipelines/quickstart.yaml
  lorapipe plan cat.yaml --set penny.adapter.rank=16
  lorapipe show adapter lora
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0, 1 (a stage failed), 2 (the user's mistake) or 130 (interrupted)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a character that the console lacks must not end a training
    gc.set_threshold(100_000, 20, 20)  # nearly all objects of a plan stay alive, so frequent collections find nothing
    words = _asking_for_help(sys.argv[1:] if arguments is None else list(arguments))
    if words[:1] == ["show"]:  # kohya's users write flags with their dashes
        words = [word if word in ("-h", "--help") else word.lstrip("-") or word for word in words]
    return _run(_parser(words[:1]).parse_args(words))


def _run(options: argparse.Namespace) -> int:
    """Run the chosen command; print a message for every expected error."""
    from lorapipe.errors import LorapipeError, problem_of

    try:
        return int(options.main(options))
    except LorapipeError as error:
        return _report(error)
    except KeyboardInterrupt:
        return commands.INTERRUPTED
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return commands.FAILED
    except OSError as error:  # such as a full disk, missing permissions, too many open files
        return _report(LorapipeError(problem_of(error)))
    except (RecursionError, MemoryError) as error:
        from lorapipe.terminal import Printer

        memory = isinstance(error, MemoryError)
        Printer(sys.stderr).line("There is not enough memory for this." if memory else "This is nested too deeply.")
        return commands.FAILED


def _report(error: LorapipeError) -> int:
    """Print the problems and return the exit status."""
    from lorapipe.terminal import Printer

    printer = Printer(sys.stderr)
    for problem in error.problems:
        printer.line("\n".join(filter(None, [str(problem), problem.excerpt])))
    return error.exit_code


def _asking_for_help(words: list[str]) -> list[str]:
    """Translate `lorapipe`, `lorapipe help` and `lorapipe help run` to the parser's `--help`."""
    if words[:1] == ["help"]:
        words = words[1:2]
    elif words:
        return words
    return [*words, "--help"]


def _parser(first: Sequence[str]) -> argparse.ArgumentParser:
    """Return the argument parser: with only the command `first`, if that is one, else with all commands."""
    parser = argparse.ArgumentParser(
        prog="lorapipe",
        description=lorapipe.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lorapipe {lorapipe.__version__}")
    choices = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = sorted(_names(), key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    if first and first[0] not in names and not first[0].startswith("-"):
        from lorapipe.errors import near_miss

        parser.error(f"there is no command {first[0]!r}. {near_miss(first[0], names)}")
    for name in [name for name in names if name in first] or names:
        command = importlib.import_module(f"lorapipe.commands.{name}")
        under = choices.add_parser(name, help=command.HELP)
        command.arguments(under)
        under.set_defaults(main=command.main, command=name)
    return parser


def _names() -> list[str]:
    return [file.stem for folder in commands.__path__ for file in Path(folder).glob("[a-z]*.py")]
