"""The captions of a dropped folder, as `prepare` will read them, and a check for the trigger word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lorapipe import kohya_folders
from lorapipe.picture_files import Contents, sort_out
from lorapipe.picture_files.captions import CaptionTexts
from lorapipe.picture_files.magic import begins_like_a_picture
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.whole_words import has_words


def captions_in(images: Path, endings: Sequence[str]) -> list[str]:
    """Return the caption of each picture: from its file, else from the folder's name, else empty."""
    found = _contents(images, endings)
    texts = CaptionTexts(images, found.captions)
    return [texts.of(picture).text or _word_of(picture) for picture in found.pictures]


def has_caption_files(images: Path, endings: Sequence[str]) -> bool:
    """Return whether a file has the caption of a picture, with anything in it."""
    found = _contents(images, endings)
    texts = CaptionTexts(images, found.captions)
    return any(texts.of(picture).text for picture in found.captions)


def _contents(images: Path, endings: Sequence[str]) -> Contents:
    files = (file.relative_to(images) for file in images.rglob("*") if file.is_file())
    names = [file.as_posix() for file in files if not any(map(kohya_folders.is_regularisation, file.parts[:-1]))]
    return sort_out(names, endings, lambda name: begins_like_a_picture(images / name))


def lacking(trigger: str, captions: Sequence[str], pipeline: Pipeline) -> str:
    """Return a warning if captions lack the trigger word; empty if none does."""
    written = [*filter(None, captions)]
    without = sum(not has_words(text, trigger) for text in written)
    if not trigger or not without:
        return ""
    what = f"{without} of {len(written)} captions lack the trigger word {trigger!r}"
    is_added = any(has_words(text, trigger) for text in _prefixes(pipeline))
    cure = "write `captions: {trigger: ${trigger}}` in the train stage"
    return f"{what}; it is added to them" if is_added else f"! {what}, and nothing adds it to them: {cure}"


def _prefixes(pipeline: Pipeline) -> Iterator[str]:
    """Yield the texts that stages add before captions."""
    for stage in pipeline.stages.values():
        captioning = getattr(stage, "captions", None)
        yield f"{getattr(captioning, 'prefix', '')} {getattr(captioning, 'trigger', '')}"


def _word_of(picture: str) -> str:
    """Return the class word of the nearest kohya-style folder."""
    named = filter(None, map(kohya_folders.parse, picture.split("/")[-2::-1]))
    return next(named, kohya_folders.FolderName(1, "")).word
