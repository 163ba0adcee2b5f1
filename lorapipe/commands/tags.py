"""`lorapipe tags`: what the captions of a folder teach."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.commands import DONE, INTERRUPTED, json_line, takes_json

if TYPE_CHECKING:
    from lorapipe.caption_analysis.analysis import CaptionAnalysis
    from lorapipe.caption_analysis.settings import TagSettings
    from lorapipe.picture_files import Contents

HELP = "say what the captions of a folder teach: frequencies, what always occurs, misspellings, odd ones"
TICK = 0.3
"""Seconds between looks at whether the editor is to stop."""
NICE = 10
"""How far the editor's server stands back, as of `nice`: the browser draws first, thumbnails are made beside it."""
SETTINGS = {
    "trigger": "the trigger word; by default the first tag that nearly all captions have",
    "max_tokens": "tokens of a caption that are read, as in the training: 75 (default), 150 or 225",
    "separator": "what separates tags; by default a comma",
    "pictures": "yes, no or auto (default): compare pictures that look alike, too; auto: if there are at most 500",
    "tagged": "a folder of a tagger's captions, such as the output of a caption stage, to compare with",
    "resolution": "training size in pixels, for the buckets in the editor: 512 (default)",
}
"""Settings of `TagSettings` as flags, with their help."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments; those of the settings are checked later."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="the pictures; by default this folder")
    for name, text in SETTINGS.items():
        parser.add_argument(_flag(name), dest=name, metavar=name.upper(), help=text)
    parser.add_argument(
        "--ui", action="store_true", help="edit the captions on a page in your browser, on this machine only"
    )
    takes_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the report, or serve the editor until stopped."""
    from lorapipe.terminal import Printer

    settings = _settings(options)
    if options.ui:
        return _edit(options.folder, settings)
    analysis = _analysis(options.folder, settings)
    if options.json:
        text = json_line({"folder": str(options.folder.absolute()), **analysis.as_data()})
    else:
        from lorapipe.caption_analysis.analysis_text import text_of

        text = text_of(analysis, str(options.folder))
    Printer(sys.stdout).line(text)
    return DONE


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _settings(options: argparse.Namespace) -> TagSettings:
    """Return the settings; problems name the flags."""
    from lorapipe.caption_analysis.settings import TagSettings
    from lorapipe.errors import InputError
    from lorapipe.spec import from_dict

    given = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    numbers = {name: int(given[name]) for name in ("max_tokens", "resolution") if given.get(name, "").isdecimal()}
    try:
        return from_dict(TagSettings, given | numbers, Path.cwd())
    except InputError as error:
        raise InputError(replace(each, where=_flag(str(each.path[0])), path=()) for each in error.problems) from None


def _contents(root: Path) -> Contents:
    """Return what is in the folder. `InputError` if there are no pictures."""
    from lorapipe.errors import InputError
    from lorapipe.training.data.image_folder import ImageFolder
    from lorapipe.training.data.messages import fix_hint, no_pictures_message

    if not root.exists():
        raise InputError("there is no such folder.", where=str(root), cure="Name a folder of pictures.")
    contents = ImageFolder(root).contents()
    if not contents.pictures:
        raise InputError(no_pictures_message((), 0, contents.left_out), where=str(root), cure=fix_hint(0))
    return contents


def _edit(root: Path, settings: TagSettings) -> int:
    """Serve the editor until stopped."""
    from lorapipe.commands._stop_signals import StopSignals
    from lorapipe.job_queue.home import home
    from lorapipe.page.server import Page
    from lorapipe.supervised_thread import SupervisedThread
    from lorapipe.tag_editor.edited_folder import EditedFolder
    from lorapipe.tag_editor.picture_scan import PictureScan
    from lorapipe.tag_editor.routes import EditorRoutes
    from lorapipe.tag_editor.thumbnails import delete_old_thumbnails
    from lorapipe.terminal import Printer

    _lower_priority()
    folder = EditedFolder(root, _contents(root))
    scan = PictureScan(folder, settings.resolution)
    printer = Printer(sys.stdout)
    SupervisedThread("old thumbnails", delete_old_thumbnails).start()
    with Page(EditorRoutes(folder, scan, settings), home()) as page, StopSignals() as stop:
        printer.line(f"The page: {page.address}")
        printer.line(f"{len(folder.pictures)} pictures in {root}. Nothing is written before you save; Ctrl-C stops.")
        while not stop.level():
            time.sleep(TICK)
        scan.close()
    return INTERRUPTED


def _lower_priority() -> None:
    """Let the browser go before what is looked at in the background, where the system can be asked to."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(NICE)


def _analysis(root: Path, settings: TagSettings) -> CaptionAnalysis:
    """Read and analyse the captions. `InputError` if there are no pictures."""
    from lorapipe.caption_analysis.analysis import analyse
    from lorapipe.caption_analysis.tagger_comparison import tagger_captions
    from lorapipe.training.data.captions import CaptionFiles

    contents = _contents(root)
    files = CaptionFiles(root, contents.captions)
    captions = {name: files.of(name, "") for name in contents.pictures}
    return analyse(
        {name: caption.text for name, caption in captions.items()},
        trigger=settings.trigger,
        max_tokens=settings.max_tokens,
        separator=settings.separator,
        signatures=_signatures(root, contents) if settings.looks(len(captions)) else None,
        tagged=tagger_captions(settings.tagged, contents.pictures) if settings.tagged else None,
        complaints=[*dict.fromkeys(caption.complaint for caption in captions.values() if caption.complaint)],
    )


def _signatures(root: Path, contents: Contents) -> Mapping[str, bytes]:
    from lorapipe.starting_settings.picture_facts import look

    return {name: found.signature for name, found in look(root, contents).items() if found.signature}
