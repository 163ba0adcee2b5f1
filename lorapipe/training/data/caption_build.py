"""Build captions for a folder of images: tag them, join with the captions that there are, and apply edits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorapipe.atomic import write_text
from lorapipe.captioning.caption_files import own_names
from lorapipe.captioning.edits import Edit, EditReport, apply_edits
from lorapipe.captioning.taggers import LoadedTagger, Tagger, Tagging
from lorapipe.captioning.tags import joined, tag_key, tag_keys, tags_of
from lorapipe.errors import InputError, counted
from lorapipe.picture_files import Contents, LeftOut
from lorapipe.picture_files.caption_names import USUAL
from lorapipe.picture_files.captions import CaptionTexts
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.training.data import messages
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.captions_document import VERSION, CaptionedPicture, CaptionSource
from lorapipe.training.data.image_folder import ImageFolder
from lorapipe.training.data.progress import with_progress
from lorapipe.training.data.tagged_pictures import PictureTagger
from lorapipe.training.device import resolve

FOLDER, DATA = "captions", "captions.json"
Existing = Literal["keep", "extend", "replace"]
SCORES = 300
"""Most tags of a picture whose confidence is kept."""


@dataclass(frozen=True)
class BuiltCaptions:
    """Captions by picture, after the edits; `sources` by picture, and what the tagger said of those that it saw."""

    captions: Mapping[str, str]
    sources: Mapping[str, CaptionSource]
    taggings: Mapping[str, Tagging]
    reports: Sequence[EditReport]
    extensions: Sequence[str] = USUAL
    """Endings of the caption files beside the pictures."""

    def lines(self) -> Iterator[str]:
        """Yield what was done, for people."""
        words = {
            "file": "from files",
            "tagger": "by the tagger",
            "both": "from files and by the tagger",
            "none": "empty",
        }
        counts = {text: sum(each == name for each in self.sources.values()) for name, text in words.items()}
        shown = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
        yield f"{counted(len(self.captions), 'caption')}: {shown}"
        yield from (line for report in self.reports for line in report.lines())

    def save(self, out: Path) -> None:
        """Write one file for each caption below `out`/captions, and captions.json."""
        names = own_names([*self.captions])
        for picture, text in self.captions.items():
            write_text(f"{text}\n", out / FOLDER / names[picture], synced=False)  # the engine syncs what it publishes
        (out / FOLDER).mkdir(exist_ok=True)
        pictures = [self._entry(picture, text, names[picture]) for picture, text in self.captions.items()]
        edits = [report.plain() for report in self.reports]
        body = {"version": VERSION, "extensions": [*self.extensions], "edits": edits, "pictures": pictures}
        write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", out / DATA)

    def _entry(self, picture: str, text: str, file: str) -> CaptionedPicture:
        tagging = self.taggings.get(picture, Tagging(""))
        tagged = dict([*tagging.scores.items()][:SCORES])
        return {"path": picture, "file": file, "caption": text, "source": self.sources[picture], "tagged": tagged}


def build_captions(
    images: ImageFolder, tagger: Tagger | None, existing: Existing, edits: Sequence[Edit], context: Context
) -> BuiltCaptions:
    """Caption the pictures of a folder. `InputError` if there is none, or an edit cannot be applied.

    Pictures that cannot be read have no caption, and are reported.
    """
    found = images.contents()
    if not found.pictures:
        what = messages.no_pictures_message((), 0, found.left_out)
        raise InputError(what, where=str(images.root), cure=messages.fix_hint(0))
    before = _written(images, found, context)
    taggings: dict[str, Tagging] = {}
    merged: dict[str, tuple[str, CaptionSource]] = {}
    wanted: list[str] = []
    if tagger is not None:
        wanted = [picture for picture, text in before.items() if existing != "keep" or not text]
        taggings = _tag(images.root, wanted, tagger, context)
    lost = {*wanted} - {*taggings}
    for picture, text in before.items():
        if picture not in lost or (text and existing == "extend"):
            merged[picture] = _joined(text, taggings.get(picture), existing)
    after, reports = apply_edits({picture: text for picture, (text, _) in merged.items()}, edits)
    sources = {picture: source for picture, (_, source) in merged.items()}
    return BuiltCaptions(after, sources, taggings, reports, images.caption_extensions)


def _written(images: ImageFolder, found: Contents, context: Context) -> dict[str, str]:
    """Return the captions that pictures have in files, empty where there is none, and say which files are odd."""
    texts = CaptionTexts(images.root, found.captions, images.caption_lines)
    written = {picture: texts.of(picture) for picture in found.pictures}
    complaints = dict.fromkeys(f"{each.file}: {each.complaint}" for each in written.values() if each.complaint)
    if complaints:
        files = counted(len(complaints), "caption file")
        context.emit(Log(text=f"{files}: {messages.first_few([*complaints])}", level="warning"))
    return {picture: each.text for picture, each in written.items()}


def _tag(root: Path, pictures: Sequence[str], tagger: Tagger, context: Context) -> dict[str, Tagging]:
    """Return what the tagger says of the pictures that can be read, and name the others."""

    def load() -> LoadedTagger:
        loaded = tagger.load(resolve(context.device))
        for note in loaded.notes:
            context.emit(Log(text=note, level="warning"))
        return loaded

    work = PictureTagger(root, tagger, Cache(context.cache), load)
    found = dict(with_progress(work.captions(pictures), len(pictures), "pictures tagged", context))
    if work.cached:
        context.emit(Log(text=f"{counted(work.cached, 'caption')} of {len(pictures)} taken from the cache."))
    if unread := [f"{each.path}: {each.reason}" for each in found.values() if isinstance(each, LeftOut)]:
        text = f"{messages.pictures(len(unread))} left without a caption: {messages.first_few(unread)}"
        context.emit(Log(text=text, level="warning"))
    return {path: each for path, each in found.items() if isinstance(each, Tagging)}


def _joined(text: str, tagging: Tagging | None, existing: Existing) -> tuple[str, CaptionSource]:
    """Return the caption of a picture from its file and its tagger, and which of the two it is."""
    if tagging is None:
        return text, "file" if text else "none"
    if not text or existing == "replace":
        return tagging.caption, "tagger" if tagging.caption else "none"
    lines = text.split("\n")
    there = tag_keys(tags_of(lines[0]))
    new = [tag for tag in tags_of(tagging.caption) if tag_key(tag) not in there]
    return "\n".join([joined([lines[0], *new]), *lines[1:]]), "both" if new else "file"
