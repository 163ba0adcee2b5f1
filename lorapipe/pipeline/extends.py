"""`extends: other.yaml`: a document that overrides one or more others, of which the last takes precedence.

Mappings are merged, and everything else is replaced. A mapping that names another implementation (`uses`, `type`,
`family`) is replaced too, since it has other settings. A name alone (`adapter: lora`) is a mapping that names it. `null`
removes a stage. Every value keeps its position in its file: messages point there, and relative paths start there, except in
presets (`extends: lorapipe:easy-settings`), whose paths start at the pipeline.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.limits import MOST_BYTES, MOST_FILES
from lorapipe.pipeline import presets
from lorapipe.pipeline.yaml_document import Document, parse_file, read_text
from lorapipe.spec.paths import path_of, tidy, trouble

EXTENDS = "extends"
TAGS = ("uses", "type", "family")
"""The keys that name a mapping's implementation."""
SHORT = "type"
"""The key of which a word alone is the value."""
_WORD = re.compile(r"[a-z]\w*")


def open_layers(path: Path) -> Document:
    """Read a file and all that it extends. `InputError` if one cannot be read."""
    return _open(path, (), [])


def _open(path: Path, above: tuple[Path, ...], opened: list[int]) -> Document:
    """Read a file and those that it extends; `opened` lists the sizes of the files read so far."""
    text = read_text(path, MOST_BYTES - sum(opened))
    opened.append(len(text))
    document = parse_file(text, str(path))
    if not isinstance(document.value, dict) or EXTENDS not in document.value:
        return document
    below: Document | None = None
    place = Problem("", document.where((EXTENDS,)), path=(EXTENDS,), excerpt=document.excerpt((EXTENDS,)))
    for name in _names(document.value[EXTENDS], place):
        base = _base(path, name, place)
        if any(_same(base, each) for each in (path, *above)):
            ring = " -> ".join(str(each) for each in (*above, path, base))
            raise InputError(replace(place, what=f"files extend one another in a circle: {ring}."))
        if len(opened) >= MOST_FILES:
            raise InputError(replace(place, what=f"more than {MOST_FILES} files are involved."))
        layer = _open(base, (*above, path), opened)
        below = layer if below is None else _over(layer, below)
    own = document._replace(value={key: value for key, value in document.value.items() if key != EXTENDS})
    return own if below is None else _over(own, below)


def _base(path: Path, name: str, place: Problem) -> Path:
    """Return the path of a name, or of a preset (`lorapipe:NAME`). `InputError` if there is no such file."""
    if name.startswith(presets.PREFIX):
        try:
            return presets.path_of(name.removeprefix(presets.PREFIX).strip())
        except InputError as error:
            raise InputError(replace(place, what=each.what, cure=each.cure) for each in error.problems) from None
    try:
        base = path_of(name, path.parent)
        there = base.is_file()
    except (OSError, ValueError) as error:
        raise InputError(replace(place, what=f"{trouble(error)}.")) from None
    if not there:
        raise InputError(replace(place, what=f"there is no file {tidy(base)!r}."))
    return base


def _same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except OSError:
        return False


def _names(given: object, place: Problem) -> list[str]:
    given = given if isinstance(given, list) else [given]
    names = [name for name in given if isinstance(name, str) and name]
    if not names or len(names) < len(given):
        raise InputError(replace(place, what="is not a file name, or a list of them."))
    return names


def _over(upper: Document, lower: Document) -> Document:
    if not (isinstance(upper.value, dict) and isinstance(lower.value, dict)):
        return upper
    value = _merged(upper.value, lower.value)
    for names in ("vars", "stages"):  # here, a key `type` is a user's name
        if isinstance(upper.value.get(names), dict) and isinstance(lower.value.get(names), dict):
            value[names] = _merged(upper.value[names], lower.value[names], names == "stages")
    stages = value.get("stages")
    if isinstance(stages, dict):
        value["stages"] = {name: stage for name, stage in stages.items() if stage is not None}
    return Document(upper.name, value, {**lower.positions, **upper.positions}, {**lower.lines, **upper.lines})


def _merged(
    upper: dict[object, object], lower: dict[object, object], has_short_forms: bool = False
) -> dict[object, object]:
    """Merge two mappings. `has_short_forms`: they are stages, in which `adapter: lora` is `adapter: {type: lora}`."""
    merged = dict(lower)
    for key, value in upper.items():
        old = lower.get(key)
        if has_short_forms and isinstance(value, dict) and isinstance(old, str) and _WORD.fullmatch(old):
            old = {SHORT: old}
        if isinstance(value, dict) and isinstance(old, dict) and not _other_kind(value, old):
            value = _merged(value, old, has_short_forms)
        merged[key] = value
    return merged


def _other_kind(upper: dict[object, object], lower: dict[object, object]) -> bool:
    return any(tag in upper and tag in lower and upper[tag] != lower[tag] for tag in TAGS)
