"""Explain why a stage has to run: the differences from its last result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from lorapipe import picture_files
from lorapipe.errors import counted
from lorapipe.pipeline.digests import PREFIX
from lorapipe.pipeline.keys import Identity

MOST = 3
"""Differences that are listed before `and 5 more`."""
Listing = Mapping[str, str]


class Described(TypedDict):
    """The settings of a result, and the files of every folder among them, by the folder's digest."""

    settings: dict[str, Any]
    sources: dict[str, dict[str, str]]


TAGS = ("type", "family", "uses")
"""Keys that name the implementation."""


def why(last: Described, now: Identity) -> str:
    """Return what differs between the last result and now: `adapter.rank 8 → 16, 1 caption changed: a.txt`."""
    found = differences(last, {"settings": now.settings, "sources": now.sources})
    rest = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + rest if found else "its result is gone"


def differences(old: Described, new: Described) -> list[str]:
    """List all differences of settings and sources."""
    sources = {**old["sources"], **new["sources"]}
    return list(_differences(old["settings"], new["settings"], (), sources))


def described(manifest: Described) -> list[str]:
    """List the settings of a manifest, a line each: `adapter.rank 8`, `images 20 files`."""
    return list(_described(manifest["settings"], (), manifest["sources"]))


def _described(value: object, at: tuple[str, ...], sources: Mapping[str, Listing]) -> Iterator[str]:
    place = ".".join(at)
    if at and at[0] == "(made by)":
        yield from (f"{name} {version}" for name, version in _libraries(value).items())
    elif _is_artifact(value):
        yield f"{place}: the result of another stage"
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _described(item, (*at, key), sources)
    elif isinstance(value, str) and _is_digest(value):
        yield f"{place}: {counted(len(sources[value]), 'file')}" if value in sources else f"{place}: {value[:23]}…"
    else:
        yield f"{place} {json.dumps(value, ensure_ascii=False)}"


def _differences(old: object, new: object, at: tuple[str, ...], sources: Mapping[str, Listing]) -> Iterator[str]:
    if old == new:
        return
    place = ".".join(at)
    if at and at[0] == "(made by)":
        yield from _made_by(old, new)
    elif _is_artifact(old) or _is_artifact(new):
        yield f"{place} changed"
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _differences_in(old, new, at, sources)
    elif _is_digest(old) and _is_digest(new):
        changed = old in sources and new in sources
        yield files_changed(sources[str(old)], sources[str(new)]) if changed else f"{place} changed"
    else:
        yield f"{place} {_show(old)} → {_show(new)}"


def _differences_in(
    old: Mapping[str, object], new: Mapping[str, object], at: tuple[str, ...], sources: Mapping[str, Listing]
) -> Iterator[str]:
    if any(old.get(tag) != new.get(tag) for tag in TAGS):  # another implementation has other knobs
        yield f"{'.'.join(at)} {_show(old)} → {_show(new)}"
        return
    of_both = [key for key in old if key in new]
    found = [each for key in of_both for each in _differences(old[key], new[key], (*at, key), sources)]
    yield from found
    if not found:  # else the remaining keys differ only by lorapipe's version
        for key in {**old, **new}.keys() - of_both:
            yield from _differences(old.get(key), new.get(key), (*at, key), sources)


def _made_by(old: object, new: Any) -> Iterator[str]:
    if not isinstance(old, dict) or old.get("version") != new["version"]:
        yield "lorapipe now does this stage differently"
        return
    for name, version in new["libraries"].items():
        before = _libraries(old).get(name)
        if before != version:
            yield f"{name} {before or 'none'} → {version}"


def files_changed(old: Listing, new: Listing) -> str:
    """Describe the differences between two listings: `3 pictures added, 1 caption changed: a.png, b.txt`."""
    groups = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if old[name] != new[name]),
    }
    counts = [
        f"{counted(count, noun)} {what}"
        for what, names in groups.items()
        for noun, count in Counter(map(_noun, names)).items()
    ]
    names = [name for group in groups.values() for name in group]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{', '.join(counts)}: {', '.join(names[:MOST])}{more}"


def _noun(name: str) -> str:
    is_caption = picture_files.suffix_of(name) in picture_files.CAPTIONS
    return "picture" if picture_files.is_picture(name) else "caption" if is_caption else "file"


def _libraries(made_by: object) -> Mapping[str, object]:
    """Return the versions in a manifest, which may have been edited by hand."""
    found = made_by.get("libraries") if isinstance(made_by, dict) else None
    return found if isinstance(found, dict) else {}


def _is_artifact(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_artifact, value))
    return isinstance(value, dict) and "kind" in value


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and value.startswith(PREFIX)


def _show(value: object) -> str:
    if isinstance(value, dict):  # a spec's tag comes first
        value = next(iter(value.values()), "{}")
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
