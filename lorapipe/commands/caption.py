"""`lorapipe caption apply`: write the captions of a caption stage into the folder of pictures."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, FAILED, agreed, takes_sets, takes_yes

if TYPE_CHECKING:
    from lorapipe.captioning.caption_files import CaptionChange
    from lorapipe.pipeline.artifacts import Captions
    from lorapipe.pipeline.pipeline import Pipeline
    from lorapipe.terminal import Printer

HELP = "write the captions that a caption stage made into the folder of pictures, and keep the old ones"
SHOWN = 5
"""Most changes that are shown before the question."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("action", choices=("apply",), help="apply: write them; the old ones are kept as cat.txt.bak")
    parser.add_argument("file", type=Path, help="the pipeline, a YAML file")
    parser.add_argument("stage", nargs="?", help="the caption stage, where the pipeline has several")
    takes_sets(parser, "change a setting; also vars.NAME=VALUE")
    takes_yes(parser)


def main(options: argparse.Namespace) -> int:
    """Show what changes, ask, and write."""
    from lorapipe.captioning.caption_files import write_caption
    from lorapipe.errors import counted, problem_of
    from lorapipe.pipeline import loader
    from lorapipe.terminal import Printer

    printer = Printer(sys.stdout)
    captions = _captions(loader.load(options.file, options.set), options.file, options.stage)
    changes = _changes(captions)
    if not changes:
        printer.line(f"There is nothing to write: {captions.images} has these captions.")
        return DONE
    _show(printer, captions.images, changes)
    if not agreed(options, printer, "Write them?"):
        return DONE
    late = list[str]()
    for done, change in enumerate(changes):
        try:
            if not write_caption(captions.images, change):
                late.append(change.file)
        except OSError as error:
            problem = problem_of(error, str(captions.images / change.file))
            Printer(sys.stderr).line(f"{problem} {counted(done - len(late), 'caption')} of {len(changes)} are written.")
            return FAILED
    printer.line(f"{counted(len(changes) - len(late), 'caption')} written.")
    if late:
        printer.line(f"Not written, as another program changed them meanwhile: {', '.join(late[:SHOWN])}")
    return FAILED if late else DONE


def _captions(pipeline: Pipeline, file: Path, name: str | None) -> Captions:
    """Return the result of the caption stage. `InputError` if there is none, or it does not fit the folder any more."""
    from lorapipe.errors import InputError, near_miss
    from lorapipe.pipeline.artifacts import Captions
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.plan import plan

    known = [each for each, stage in pipeline.stages.items() if stage.makes is Captions]
    if not known:
        raise InputError("has no caption stage.", where=str(file), cure="Write one: uses: caption.")
    if name is None and len(known) > 1:
        raise InputError("has several caption stages.", where=str(file), cure=f"Name one: {', '.join(known)}.")
    chosen = name or known[0]
    if chosen not in known:
        raise InputError(f"there is no caption stage {chosen!r}.", cure=near_miss(chosen, known))
    with closing(Ledger(pipeline.folder)) as ledger:
        [step] = [each for each in plan(pipeline.with_needs([chosen]), ledger).stages if each.name == chosen]
    if step.result is None or not isinstance(step.result.artifact, Captions):
        what = f"the stage {chosen} has not run with these settings and pictures."
        raise InputError(what, cure=f"lorapipe run {file} --only {chosen}")
    return step.result.artifact


def _changes(captions: Captions) -> list[CaptionChange]:
    """Return the caption files to write, by comparison with those that there are."""
    import json

    from lorapipe.captioning.caption_files import changes, files_to_write
    from lorapipe.errors import InputError, problem_of
    from lorapipe.picture_files.caption_names import CaptionNames

    document = json.loads(captions.data.read_text("utf-8"))
    texts = {each["path"]: each["caption"] for each in document["pictures"]}
    root = captions.images
    files = [each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_file()]
    names = CaptionNames(files, [*texts], document["extensions"])
    beside = {picture: names.of(picture) for picture in texts}
    try:
        return changes(root, files_to_write(texts, beside, [*texts]))
    except OSError as error:
        raise InputError(problem_of(error)) from None


def _show(printer: Printer, root: Path, changes: list[CaptionChange]) -> None:
    from lorapipe.captioning.edits import Change
    from lorapipe.picture_files.captions import decode

    new = sum(each.before is None for each in changes)
    printer.line(f"Captions in {root}: {new} new, {len(changes) - new} changed, which are kept as .bak:")
    for each in changes[:SHOWN]:
        before = "" if each.before is None else decode(each.before)[0].strip()
        printer.line(f"  {Change(each.file, before, each.text)}")
    if len(changes) > SHOWN:
        printer.line(f"  and {len(changes) - SHOWN} more")
