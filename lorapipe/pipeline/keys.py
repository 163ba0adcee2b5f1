"""Content keys: a digest of everything that a stage's result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

from lorapipe.pipeline.artifact_json import content as artifact_content
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.digests import Digests
from lorapipe.spec import Source, Value, canonical, content
from lorapipe.stages import Stage


@dataclass(frozen=True)
class Identity:
    """The content key of a stage whose inputs are known, and the settings in it.

    `sources` lists the files of every folder that is an input.
    """

    key: str
    sources: dict[str, dict[str, str]]
    describe: Callable[[], dict[str, object]]

    @cached_property
    def settings(self) -> dict[str, object]:
        """All knobs, including those at their default, for comparison. Computed only if the stage has to run."""
        return self.describe()

    @property
    def id(self) -> str:
        """The key as a folder name."""
        return short(self.key)


def short(key: str) -> str:
    """Return a prefix of a key that is unique and short enough for Windows' paths."""
    return key[:20]


class PathDigests(Protocol):
    """Anything that returns digests of paths, such as `Digests`."""

    @property
    def listings(self) -> Mapping[str, dict[str, str]]:
        """Folder's digest → its files (relative path → digest)."""

    def path(self, path: Path) -> str:
        """Return the digest of a file or folder."""


class CachedDigests:
    """Caches digests for one plan, so that a path that many stages read is examined once."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._seen: dict[Path, str] = {}

    @property
    def listings(self) -> Mapping[str, dict[str, str]]:
        return self._digests.listings

    def path(self, path: Path) -> str:
        if path not in self._seen:
            self._seen[path] = self._digests.path(path)
        return self._seen[path]


def identify(stage: Stage, digests: PathDigests) -> Identity:
    """Return the identity of a stage whose references are resolved.

    It depends on knobs that differ from their default, and on the bytes of inputs; not on the stage's name, other stages,
    the device or any path. `InputError` if a source cannot be read.
    """
    used: dict[str, dict[str, str]] = {}

    def digest(value: Value) -> object:
        if isinstance(value, Artifact):
            return artifact_content(value, digests.path)
        if not isinstance(value, Source):
            return value.plain()
        found = digests.path(value.path)
        if found in digests.listings:
            used[found] = digests.listings[found]
        return found

    made_by = {"version": stage.version, "libraries": {name: installed(name) for name in stage.libraries}}
    key = hashlib.sha256(canonical({"stage": content(stage, digest), **made_by})).hexdigest()
    return Identity(key, used, lambda: {**content(stage, digest, defaults=True), "(made by)": made_by})


@cache
def installed(distribution: str) -> str:
    """Return the version of an installed package; `none` if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "none"
