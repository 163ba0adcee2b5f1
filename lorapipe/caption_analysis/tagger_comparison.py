"""Compares captions with a tagger's: what is in the pictures and not in the captions, and the reverse, for each tag.

What pictures show and captions do not say is learnt with the words that they do say. Tags are compared as edits compare
them. A tag counts as not seen only if the tagger knows it, that is, if it said it of another picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorapipe.captioning.caption_files import own_names
from lorapipe.captioning.tags import tag_key, tags_of
from lorapipe.picture_files.captions import CaptionTexts


@dataclass(frozen=True)
class TagDifference:
    """A tag, and the pictures of which captions and tagger say different things."""

    tag: str
    pictures: tuple[str, ...]


def not_captioned(captions: Mapping[str, str], tagged: Mapping[str, str]) -> tuple[TagDifference, ...]:
    """Return the tags that the tagger sees in pictures and their captions lack, those of most pictures first."""
    return _differences(tagged, captions)


def not_seen(captions: Mapping[str, str], tagged: Mapping[str, str]) -> tuple[TagDifference, ...]:
    """Return the tags that captions say and the tagger, which knows them, does not see, those of most pictures first."""
    known = {tag_key(tag) for text in tagged.values() for tag in _tags(text)}
    return tuple(each for each in _differences(captions, tagged) if tag_key(each.tag) in known)


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[TagDifference, ...]:
    """Return the tags that one caption of a picture has and the other lacks; pictures that only one knows do not count."""
    spelling: dict[str, str] = {}
    pictures: dict[str, list[str]] = {}
    for picture in one.keys() & other.keys():
        there = {tag_key(tag) for tag in _tags(other[picture])}
        for tag in _tags(one[picture]):
            key = tag_key(tag)
            if key not in there:
                spelling.setdefault(key, tag)
                pictures.setdefault(key, []).append(picture)
    found = (TagDifference(spelling[key], tuple(sorted({*names}))) for key, names in pictures.items())
    return tuple(sorted(found, key=lambda each: (-len(each.pictures), each.tag)))


def _tags(text: str) -> list[str]:
    return tags_of(text.replace("\n", ","))


def tagger_captions(folder: Path, pictures: Iterable[str]) -> dict[str, str]:
    """Return the captions of pictures in another folder, as a `caption` stage or a tagger writes them: one file for each.

    Pictures without a file there are left out.
    """
    names = own_names([*pictures])
    beside = {picture: [name] for picture, name in names.items() if (folder / name).is_file()}
    texts = CaptionTexts(folder, beside)
    return {picture: texts.of(picture).text for picture in beside}
