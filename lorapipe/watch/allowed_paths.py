"""The paths that a pipeline with untrusted settings may name.

It may read the dropped folder and write into the folder of results; beyond that, only what the pipeline of the inbox's owner
names. All other paths are refused with the same message, before anything checks whether they exist, so that users of an
inbox cannot find out what is on the disk.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.regular_files import is_inside
from lorapipe.spec import Destination, Source, Spec, knobs

READ = "names a file or folder outside of the dropped folder. Put it into the folder, and write only its name."
WRITTEN = "may only write into the folder of results. Remove it."


@dataclass(frozen=True)
class AllowedPaths:
    """The paths that may be read (below `images`, and `sources`) and written to (below `results`, and `targets`)."""

    images: Path
    results: Path
    sources: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    def refusal(self, kind: type, text: str, folder: Path) -> str:
        root, known, words = (
            (self.results, self.targets, WRITTEN) if kind is Path else (self.images, self.sources, READ)
        )
        if "\0" in text:
            return words
        meant = folder / os.path.expanduser(text)  # noqa: PTH111 (Path raises for unknown users)
        path, top = _plain(meant), _plain(root)
        if path in known and os.path.realpath(meant) == os.path.realpath(path):
            return ""
        if text.startswith("~") or not Path(path).is_relative_to(top) or not is_inside(meant, root):
            return words
        hidden = any(part.startswith(".") for part in Path(path).relative_to(top).parts)
        return words if hidden and kind is Path else ""  # lorapipe's store is hidden


def _plain(path: Path) -> str:
    """Normalise a path as text, without access to the disk."""
    return os.path.normpath(path.absolute())


def places_of(owners: Iterable[Pipeline], images: Path, results: Path) -> AllowedPaths:
    """Return the allowed paths of a job: those that the owner's pipelines name."""
    named = [value for pipeline in owners for _, value in _paths(pipeline)]
    sources = {_plain(value.path) for value in named if isinstance(value, Source)}
    targets = {_plain(value) for value in named if isinstance(value, Path)}
    return AllowedPaths(images, results, frozenset(sources), frozenset(targets))


def targets_of(pipeline: Pipeline) -> dict[str, Path]:
    """Return all paths that stages write to, by stage and setting."""
    return {place: value for place, value in _paths(pipeline) if isinstance(value, Path)}


def _paths(pipeline: Pipeline) -> Iterator[tuple[str, Path | Source]]:
    for name, stage in pipeline.stages.items():
        yield from _within(name, stage)


def _within(place: str, value: object) -> Iterator[tuple[str, Path | Source]]:
    if isinstance(value, Destination):
        yield place, value.path
    elif isinstance(value, (Path, Source)):
        yield place, value
    elif isinstance(value, Spec) and dataclasses.is_dataclass(value):
        for knob in knobs(type(value)):
            yield from _within(f"{place}.{knob.name}", getattr(value, knob.name))
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _within(f"{place}[{index}]", item)
