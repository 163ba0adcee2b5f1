"""Which paths a pipeline with a stranger's settings may name.

It may read what lies in the dropped folder, and write into the folder of the results; beyond, what the pipeline of the
inbox's owner names. All else is refused with one sentence, decided before anything looks whether it is there: who may put
files into an inbox does not learn from it what lies beside.
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

READ = "names a file or folder outside of the dropped folder. Put it into the folder, and write its name alone."
WRITTEN = "may only write into the folder of the results. Take it away."


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
        meant = folder / os.path.expanduser(text)  # noqa: PTH111 (which leaves the name of an unknown user as it is)
        path, top = _plain(meant), _plain(root)
        if path in known and os.path.realpath(meant) == os.path.realpath(path):
            return ""
        if text.startswith("~") or not Path(path).is_relative_to(top) or not is_inside(meant, root):
            return words
        hidden = any(part.startswith(".") for part in Path(path).relative_to(top).parts)
        return words if hidden and kind is Path else ""  # lorapipe's own store lies there


def _plain(path: Path) -> str:
    """A path normalised by its text alone, without looking at the disk."""
    return os.path.normpath(path.absolute())


def places_of(owners: Iterable[Pipeline], images: Path, results: Path) -> AllowedPaths:
    """The allowed paths of a job: those that the owner's pipelines name."""
    named = [value for pipeline in owners for _, value in _paths(pipeline)]
    sources = {_plain(value.path) for value in named if isinstance(value, Source)}
    targets = {_plain(value) for value in named if isinstance(value, Path)}
    return AllowedPaths(images, results, frozenset(sources), frozenset(targets))


def targets_of(pipeline: Pipeline) -> dict[str, Path]:
    """Every path that is no source: where stages write, by stage and setting."""
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
