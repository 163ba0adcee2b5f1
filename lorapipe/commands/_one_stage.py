"""Run one stage without a pipeline and without a store: its result goes to the file that the user named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import json_line

if TYPE_CHECKING:
    from lorapipe.errors import Problem
    from lorapipe.pipeline.artifacts import Artifact
    from lorapipe.stages import Stage

TOLD = ("dtype", "title", "rank")
"""Knobs that `--set` gives, not files."""


def settings(texts: Sequence[str]) -> dict[str, object]:
    """Parse `--set knob=value` of a command that has a single stage; values are YAML."""
    from lorapipe.errors import InputError, shortened
    from lorapipe.pipeline.yaml_document import parse

    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        where = f"--set {shortened(text, 100)}"
        if not equals or not name.strip().isidentifier():
            raise InputError("is not a setting.", where=where, cure="Write knob=value.")
        found[name.strip()] = parse(value, where).value if value.strip() else None
    return found


MODEL_FOLDERS = ("model_index.json", "adapter_config.json")
"""A folder with one of these files is a diffusers model or a PEFT adapter; no other folder is ever replaced."""


def may_replace(path: Path, force: bool, *, folder: bool = False) -> None:
    """Raise `InputError` if something is at the path that may not go: what lorapipe has not made needs `force`.

    `folder` says that the result is one. A folder that has anything in it, and is no model's, is kept also with `force`.
    """
    from lorapipe.errors import InputError
    from lorapipe.pipeline.delivery_log import is_as_exported

    if folder and path.suffix.lower() == ".safetensors":
        raise InputError("ends like a file, and the result is a folder.", where=str(path), cure=f"Write {path.stem}.")
    if path.is_dir():
        _may_replace_folder(path, force, folder)
    elif path.exists() and folder:
        raise InputError("is a file, and the result is a folder.", where=str(path), cure="Name another folder.")
    elif path.exists() and not force and not is_as_exported(path):
        what = "is there already, and lorapipe has not made it, or it was changed since."
        raise InputError(what, where=str(path), cure="Name another file, or add --force.")


def _may_replace_folder(path: Path, force: bool, folder: bool) -> None:
    from lorapipe.errors import InputError

    if not folder:
        raise InputError("is a folder.", where=str(path), cure="Name a file in it.")
    if not any(path.iterdir()):
        return
    is_model = any((path / name).is_file() for name in MODEL_FOLDERS)
    if not (force and is_model):
        more = ", or add --force" if is_model else ""
        raise InputError("is a folder with something in it.", where=str(path), cure=f"Name another folder{more}.")


def parsed(name: str, document: Mapping[str, object]) -> Stage:
    """Return the stage registered as `name`. `InputError` with all problems of its settings."""
    from lorapipe.errors import InputError
    from lorapipe.spec import from_dict
    from lorapipe.stages import Stage

    contract: type[Stage] = Stage  # type: ignore[type-abstract]  # the registry finds the file
    try:
        stage = from_dict(contract, {"uses": name, **document}, Path.cwd())
        if problems := [*stage.problems_among({})]:
            raise InputError(problems)
    except InputError as error:
        raise InputError(map(_placed, error.problems)) from None
    return stage


def _placed(problem: Problem) -> Problem:
    """Return a problem with the setting that it is about as its place."""
    name = problem.path[0] if problem.path and not problem.where else ""
    return dataclasses.replace(problem, where=f"--set {name}") if isinstance(name, str) and name in TOLD else problem


@contextmanager
def module_progress(name: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many modules of all are done, for a command that runs no stage."""
    from lorapipe.pipeline.events import Progress
    from lorapipe.run_display import Display

    display = Display(sys.stderr, [name], quiet=quiet)
    try:
        yield lambda done, total: display.show(Progress(stage=name, step=done, total=total, unit="modules"))
    finally:
        display.close()


def run_alone(
    stage: Stage, to: Path, file: Callable[[Artifact], Path], *, quiet: bool = False, report: str = ""
) -> None:
    """Run a stage beside the target, show its progress, and move the file of its artifact to the target.

    What the stage says is printed, or as a line of JSON the file called `report` that it has put beside its artifact's.
    Nothing is left where it fails or is interrupted.
    """
    from lorapipe.atomic import publish
    from lorapipe.errors import LorapipeError
    from lorapipe.fsync import make_folder
    from lorapipe.pipeline.context import Context
    from lorapipe.pipeline.events import Event, Log
    from lorapipe.run_display import Display
    from lorapipe.terminal import Printer

    make_folder(to.absolute().parent)
    work = to.absolute().with_name(f".{os.getpid()}-{os.urandom(4).hex()}.part")
    display, said = Display(sys.stderr, [stage.name], quiet=quiet), list[str]()

    def show(event: Event) -> None:
        if isinstance(event, Log) and event.level == "info":
            said.append(event.text)
            return
        display.show(dataclasses.replace(event, stage=stage.name))

    try:
        (work / "out").mkdir(parents=True)
        context = Context(work / "out", work / "resume", work / "cache", show, lambda: False)
        made = file(stage.run(context))
        told = made.with_name(report).read_text(encoding="utf-8") if report else ""
        publish(made, to)
    except LorapipeError as error:
        raise type(error)(_at_target(problem, work / "out", to) for problem in error.problems) from None
    finally:
        display.close()
        shutil.rmtree(work, ignore_errors=True)
    lines = [json_line({"file": str(to), **json.loads(told)})] if told else [f"{to}: {text}" for text in said]
    for line in lines if told or not quiet else ():
        Printer(sys.stdout).line(line)


def _at_target(problem: Problem, out: Path, to: Path) -> Problem:
    """Return a problem with the file and folder that the user named, in place of those where the stage writes."""
    where = str(to) if problem.where.startswith(str(out)) else problem.where
    return dataclasses.replace(problem, where=where, what=problem.what.replace(str(out), str(to.absolute().parent)))
