"""A folder in the layout of the WD14 taggers: `model.onnx`, and `selected_tags.csv` with a line for each of its outputs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.regular_files import open_regular, read_regular

MODEL, TAGS = "model.onnx", "selected_tags.csv"
GENERAL, CHARACTER, RATING = 0, 4, 9
"""Categories of tags, as Danbooru numbers them; others (artists, series) count as general."""
MOST = 64_000_000
"""Largest csv file, in bytes: some million tags."""


@dataclass(frozen=True)
class ListedTag:
    """A tag of the model and its category."""

    name: str
    category: int


def folder_problems(folder: Path) -> Iterator[Problem]:
    """Yield what the folder lacks to be a tagger, without reading the model."""
    names = {MODEL: "the network", TAGS: "the names of its tags"}
    if not folder.is_dir():
        cure = f"Name the folder that has {MODEL} and {TAGS}."
        yield Problem(f"{folder.name} is a file, not the folder of a tagger.", cure=cure)
        return
    for name, what in names.items():
        if not (folder / name).is_file():
            found = sorted(each.name for each in folder.iterdir() if each.suffix == Path(name).suffix)
            more = f" There is {found[0]}; rename it." if found else " Copy all files of the tagger into one folder."
            yield Problem(f"{folder.name} has no {name}, {what}.", cure=more.strip())


def listed_tags(folder: Path) -> list[ListedTag]:
    """Return the tags of `selected_tags.csv`, in the order of the model's outputs. `InputError` if it cannot be read.

    A comma in a tag's name becomes a space: it would divide the tag.
    """
    path = folder / TAGS
    try:
        text = read_regular(open_regular(path), MOST).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text.", where=str(path), cure="Copy the tagger's file again.") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        if missing := {"name", "category"} - {*(rows.fieldnames or ())}:
            what = f"has no column {' and '.join(sorted(missing))}."
            cure = "Its first line must be tag_id,name,category,count, as WD14's taggers have it."
            raise InputError(what, where=str(path), cure=cure)
        return [_tag(row, f"{path}:{rows.line_num}") for row in rows]
    except csv.Error as error:
        raise InputError(f"is not a table: {error}.", where=f"{path}:{rows.line_num}") from None


def _tag(row: dict[str, str | None], where: str) -> ListedTag:
    name = " ".join((row.get("name") or "").replace(",", " ").split())
    try:
        category = int(row.get("category") or "")
    except ValueError:
        what = f"{row.get('category')!r} is not the number of a category."
        raise InputError(what, where=where, cure="0 is general, 4 a character, 9 a rating.") from None
    return ListedTag(name, category)
