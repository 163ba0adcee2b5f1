"""`lorapipe new`: write a pipeline with starting settings for a folder of pictures, with the reason on every line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, may_write, takes_force, takes_target

if TYPE_CHECKING:
    from lorapipe.spec import Knob
    from lorapipe.starting_settings.wishes import Wishes

HELP = "write a pipeline that suits a folder of pictures, with the reason on every line"
FLAGS = {"aim": "for"}
"""Wish → its flag, where that is another word."""
WISHES = ("subject", "difficulty", "quality", "base", "vram", "aim", "trigger")
"""What may be asked for; `lorapipe.starting_settings.wishes` explains them."""
EMPTY = {"base": "pocket", "vram": "no limit"}
"""What an empty answer means, where it is no value."""
MANY = 500
"""Pictures above which `plan` alone says what the rules find: they read every header and caption again."""
ASKED = ("subject", "difficulty", "quality", "base", "vram")
"""What is asked on a terminal, where it is not given."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments; those of the wishes are checked later, with their reasons."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="the pictures; by default this folder")
    helps = {
        "subject": "character, style, concept or vehicle",
        "difficulty": "A (a plain person) to I (eldritch); docs/rules.md has the list",
        "quality": "of the pictures: good or poor",
        "base": "the base model: a file or a folder",
        "vram": "memory of the graphics card in GB",
        "aim": "what matters more: quality or training-speed",
        "trigger": "the word that shall call the subject",
    }
    parser.add_argument(
        "--from-one",
        metavar="PICTURE",
        type=Path,
        help="begin with one picture of a character: paint more with a quick LoRA, choose, train again (docs/synthesis.md)",
    )
    for name in WISHES:
        parser.add_argument(f"--{FLAGS.get(name, name)}", dest=name, metavar=name.upper(), help=helps[name])
    takes_target(parser)
    takes_force(parser)


def main(options: argparse.Namespace) -> int:
    """Look at the pictures, ask what is missing, and write the pipeline."""
    from lorapipe.starting_settings.base_facts import base_of
    from lorapipe.starting_settings.choices import Choices
    from lorapipe.starting_settings.document import text_of
    from lorapipe.starting_settings.folder_facts import facts_of
    from lorapipe.starting_settings.stage_drafts import draft
    from lorapipe.terminal import Printer

    if options.to is not None:
        may_write(options.to, options.force)
    if options.from_one is not None:
        return _from_one(options)
    given = {name: value for name in WISHES if (value := getattr(options, name)) is not None}
    wishes = _wishes(given)
    facts = facts_of(options.folder)
    if sys.stdin.isatty() and sys.stderr.isatty():
        given |= _asked(given, facts.summary())
        wishes = _wishes(given)
    target: Path | None = options.to
    folder = target.absolute().parent if target else Path.cwd()
    text = text_of(draft(Choices(facts, wishes, base_of(_checkpoint(wishes))), folder), _command(options.folder, given))
    if target is None:
        Printer(sys.stdout).line(text.rstrip("\n"))
        return DONE
    from lorapipe.atomic import write_text

    write_text(text, target)
    _tell(target, len(facts.pictures))
    return DONE


def _from_one(options: argparse.Namespace) -> int:
    """Copy the picture into a folder beside the pipeline, and write the pipeline that grows a character from it."""
    from lorapipe.atomic import write_text
    from lorapipe.errors import InputError
    from lorapipe.spec.paths import from_folder
    from lorapipe.starting_settings import bootstrap_pipeline
    from lorapipe.starting_settings.base_facts import base_of
    from lorapipe.starting_settings.drafts import literal

    target: Path | None = options.to
    if target is None:
        cure = "Add --to FILE; a copy of the picture is laid into a folder beside it."
        raise InputError("is missing.", where="--to", cure=cure)
    given = {name: value for name in WISHES if (value := getattr(options, name)) is not None}
    if unused := [name for name in given if name not in ("base", "trigger")]:
        what = "has no part in a pipeline from one picture."
        raise InputError(what, where=f"--{FLAGS.get(unused[0], unused[0])}", cure="Leave it out.")
    wishes = _wishes(given)
    base = base_of(_checkpoint(wishes))
    picture = bootstrap_pipeline.one_picture(options.from_one, wishes.trigger)
    folder = target.absolute().parent / f"{target.stem}-picture"
    bootstrap_pipeline.copy_picture(picture, folder)
    plain = base.checkpoint.plain()
    if plain != "pocket":
        plain = literal(from_folder(base.checkpoint.path, target.absolute().parent))
    file = f"out/{picture.path.stem}.safetensors"
    write_text(bootstrap_pipeline.text(folder.name, base.name, plain, picture.trigger, file), target)
    _tell(target)
    return DONE


def _wishes(given: Mapping[str, str]) -> Wishes:
    """Parse the wishes; problems name the flags."""
    from dataclasses import replace

    from lorapipe.errors import InputError
    from lorapipe.pipeline.yaml_document import parse
    from lorapipe.spec import from_dict
    from lorapipe.starting_settings.wishes import Wishes

    def value(name: str, text: str) -> object:
        if name == "difficulty":
            return text.strip().upper()
        return parse(text, "--vram").value if name == "vram" else text

    try:
        return from_dict(Wishes, {name: value(name, text) for name, text in given.items()}, Path.cwd())
    except InputError as error:
        raise InputError(
            replace(each, where=f"--{FLAGS.get(name, name)}", path=())
            for each in error.problems
            for name in [str(each.path[0]) if each.path else "wishes"]
        ) from None


def _checkpoint(wishes: Wishes):  # type: ignore[no-untyped-def]
    from lorapipe import pocket
    from lorapipe.models import Checkpoint

    return wishes.base or Checkpoint(pocket.BASE)


def _asked(given: Mapping[str, str], summary: str) -> dict[str, str]:
    """Ask what is not given, one line each; an empty answer takes the default."""
    from lorapipe.spec import knobs
    from lorapipe.starting_settings.wishes import Wishes

    print(f"{summary}. Enter takes the value in brackets.", file=sys.stderr)
    found: dict[str, str] = {}
    by_name = {knob.name: knob for knob in knobs(Wishes)}
    for name in ASKED:
        if name in given or (name == "difficulty" and _wishes({**given, **found}).subject == "style"):
            continue
        default = EMPTY.get(name, by_name[name].default())
        usual = _wishes({**given, **found}).category if name == "difficulty" else default
        if answer := _answer(by_name[name], str(usual)):
            found[name] = answer
    return found


def _answer(knob: Knob, usual: str) -> str:
    """Ask for one wish until it is valid; `usual` is what an empty answer means."""
    from lorapipe.errors import InputError

    for line in knob.param.help.split("; "):
        print(f"  {line}", file=sys.stderr)
    while True:
        print(f"{knob.name} [{usual}]: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        try:
            if answer:
                _wishes({knob.name: answer})
            return answer
        except InputError as error:
            for problem in error.problems:
                print(problem, file=sys.stderr)


def _command(folder: Path, given: Mapping[str, str]) -> str:
    import shlex

    flags = [f"--{FLAGS.get(name, name)} {shlex.quote(given[name])}" for name in WISHES if name in given]
    return " ".join(["lorapipe new", shlex.quote(folder.as_posix()), *flags])


def _tell(target: Path, pictures: int = 1) -> None:
    """Say what was written, and, of folders that are not large, what check finds in it."""
    from lorapipe.commands import findings
    from lorapipe.pipeline import loader
    from lorapipe.terminal import Printer

    printer = Printer(sys.stderr)
    pipeline = loader.load(target)
    printer.line(f"Wrote {target}. `lorapipe plan {target}` shows what it does.")
    for line in findings(pipeline, pipeline.stages) if pictures <= MANY else ():
        printer.line(line)
