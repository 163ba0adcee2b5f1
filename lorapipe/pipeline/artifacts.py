"""What stages make and hand on: a dataset, weights, a report, a file.

An artifact is a frozen dataclass of plain values, paths, specs and other artifacts. In a pipeline it is written
`$stage`, or `$stage.field` for an artifact inside an artifact. On disk it is JSON, in which a path inside the store is
written relative to the store, so that a store can be moved; a path elsewhere is a user's file.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lorapipe.spec import Spec, Value, from_dict, to_dict

STORE = "store:"
"""Marks, in an artifact's JSON, a path that is relative to the store."""


@dataclass(frozen=True)
class Ref(Value):
    """`$stage` or `$stage.field`: stands in an artifact field until the stage has run."""

    stage: str
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        if not isinstance(value, str) or not (match := re.fullmatch(r"\$([\w-]+)((?:\.\w+)*)", value)):
            raise ValueError(f"{value!r} is not a reference to a stage; write $stage or $stage.field.")
        return cls(match[1], tuple(match[2].split(".")[1:]))

    def plain(self) -> str:
        """See `Value.plain`."""
        return ".".join([f"${self.stage}", *self.fields])

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        return {"type": "string", "pattern": r"^\$[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)*$"}


class Artifact(Value):
    """Base of what a stage's `run` returns. Subclasses are frozen dataclasses."""

    @classmethod
    def parse(cls, value: object, folder: Path) -> Any:
        """A reference; `Ref` stands in the field until the run puts the artifact there."""
        return Ref.parse(value, folder)

    def plain(self) -> Any:
        """Only references are written in documents."""
        raise TypeError(f"a {type(self).__name__} has no place in a document")

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        return Ref.schema()


def location(default: Any = dataclasses.MISSING) -> Any:
    """A field that says where something lies, not what it is: outside the content digest."""
    return dataclasses.field(default=default, metadata={"content": False})


@dataclass(frozen=True)
class Dataset(Artifact):
    """Pictures, captions and buckets that are ready to train on.

    `manifest` is the JSON of `lorapipe.training.data.manifest`; it names pictures relative to `images`, by digest.
    """

    manifest: Path
    base: Spec
    images: Path = location()
    contact_sheet: Path = location()


@dataclass(frozen=True)
class Snapshot(Artifact):
    """An adapter as it was after `step` updates: a kohya-format fp32 safetensors file."""

    step: int
    epoch: int
    path: Path


@dataclass(frozen=True)
class Weights(Artifact):
    """A trained adapter: its snapshots in the order of their steps, and all that is needed to judge or export it.

    `training` is a JSON file of the settings and counts of the training (what `ss_*` metadata is made of); `log` is a
    JSON-lines file of the metrics per step. `strength` is the strength to use it at.
    """

    snapshots: tuple[Snapshot, ...]
    dataset: Dataset
    training: Path
    log: Path = location()
    strength: float = 1.0


@dataclass(frozen=True)
class Report(Artifact):
    """The verdict on weights: a page for people, the same as data, the grid of pictures, and the best snapshot."""

    page: Path
    data: Path
    grid: Path
    best: Weights


@dataclass(frozen=True)
class File(Artifact):
    """A finished file."""

    path: Path


# ------------------------------------------------------------------------------------------------------- to and fro


def encode(artifact: Artifact, store: Path) -> dict[str, Any]:
    """The JSON form of an artifact; paths below `store` become relative to it."""
    return {"kind": type(artifact).__name__, **_encode_fields(artifact, lambda path: _portable(path, store))}


def decode(data: dict[str, Any], store: Path) -> Artifact:
    """The artifact of `encode`'s JSON, its paths below the given store."""
    return typing.cast(Artifact, _decode(_KINDS[data["kind"]], data, store))


def content(artifact: Artifact, digest: Callable[[Path], str]) -> dict[str, Any]:
    """What an artifact is, for a content key: every path by `digest`, and no `location`."""
    return {"kind": type(artifact).__name__, **_encode_fields(artifact, digest, content_only=True)}


def _portable(path: Path, store: Path) -> str:
    inside = path.is_relative_to(store)
    return f"{STORE}{path.relative_to(store).as_posix()}" if inside else path.absolute().as_posix()


def _encode_fields(artifact: Artifact, path_form: Callable[[Path], str], content_only: bool = False) -> dict[str, Any]:
    def form(value: Any) -> Any:
        if isinstance(value, Artifact):
            return _encode_fields(value, path_form, content_only)
        if isinstance(value, Spec):
            assert value.registry is not None, "only registered specs travel in artifacts"
            plain = _spec_content(value, path_form) if content_only else to_dict(value)
            return {"registry": value.registry.package, **plain}
        if isinstance(value, Path):
            return path_form(value)
        return [form(item) for item in value] if isinstance(value, tuple) else value

    fields = dataclasses.fields(typing.cast(Any, artifact))
    kept = [f for f in fields if not (content_only and f.metadata.get("content") is False)]
    return {f.name: form(getattr(artifact, f.name)) for f in kept}


def _spec_content(spec: Spec, path_form: Callable[[Path], str]) -> dict[str, Any]:
    from lorapipe.spec import Source
    from lorapipe.spec import content as spec_content

    return spec_content(spec, lambda value: path_form(value.path) if isinstance(value, Source) else value.plain())


def _decode(kind: Any, data: Any, store: Path) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
        return None if data is None else _decode(kind, data, store)
    if origin is tuple:
        return tuple(_decode(typing.get_args(kind)[0], item, store) for item in data)
    if kind is Path:
        return store / data.removeprefix(STORE) if data.startswith(STORE) else Path(data)
    if kind is Spec:
        plain = {key: value for key, value in data.items() if key != "registry"}
        return from_dict(_contract_of(data["registry"]), plain)
    if isinstance(kind, type) and issubclass(kind, Artifact):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _decode(hints[name], value, store) for name, value in data.items() if name in hints})
    return data


def _contract_of(package: str) -> type[Spec]:
    """The contract that a registry package defines."""
    module = importlib.import_module(package)
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Spec)
        and value.registry is not None
        and value.registry.package == package
    )


_KINDS: dict[str, type[Artifact]] = {cls.__name__: cls for cls in (Dataset, Snapshot, Weights, Report, File)}
