"""What stages make and hand on: a dataset, weights, a report, a file.

An artifact is a frozen dataclass of plain values, paths, specs and other artifacts. In a pipeline it is written
`$stage`, or `$stage.field` for an artifact inside an artifact. On disk it is JSON, in which a path inside the store is
written relative to the store, so that a store can be moved; a path elsewhere is a user's file.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from lorapipe.registry import Registry
from lorapipe.spec import PLAIN, Shape, Spec, Value, ValueKind, from_dict, shape_of, to_dict

STORE = "store:"
"""Marks, in an artifact's JSON, a path that is relative to the store."""
REFERENCE = re.compile(r"\$([\w-]+)((?:\.\w+)*)")
"""`$stage`, and the fields after it."""


@dataclass(frozen=True)
class Ref(Value):
    """`$stage` or `$stage.field`: stands in an artifact field until the stage has run."""

    stage: str
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        if not isinstance(value, str) or not (match := REFERENCE.fullmatch(value)):
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

    value_kind: ClassVar[ValueKind] = "reference"
    stored_name: ClassVar[str] = "Artifact"
    """What stored results, content keys and saved graphs know the class by. It stays when the class gets another name."""

    def __init_subclass__(cls, stored_name: str = "", **keywords: Any) -> None:
        """`class Weights(Artifact, stored_name="Weights")`; without, the class's name."""
        cls.stored_name = stored_name or cls.__name__
        super().__init_subclass__(**keywords)

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


LOCATION = "location"
"""Marks a field that says where something lies, not what it is: outside the content digest."""
OPEN = "open"
"""Marks a path that a person will want to open when the stage has finished."""


@dataclass(frozen=True)
class StoredName:
    """Marks a field that has another name in stored results and content keys: the first that it had."""

    name: str


@dataclass(frozen=True)
class Dataset(Artifact, stored_name="Dataset"):
    """Pictures, captions and buckets that are ready to train on.

    `manifest` is the JSON of `lorapipe.training.data.manifest`; it names pictures relative to `images`, and masks
    relative to `masks`, by digest.
    """

    manifest: Path
    base: Spec
    images: Annotated[Path, LOCATION]
    contact_sheet: Annotated[Path, LOCATION, OPEN]
    masks: Annotated[Path | None, LOCATION] = None


@dataclass(frozen=True)
class Snapshot(Artifact, stored_name="Snapshot"):
    """An adapter as it was after `step` updates: a kohya-format fp32 safetensors file."""

    step: int
    epoch: int
    path: Path


@dataclass(frozen=True)
class Weights(Artifact, stored_name="Weights"):
    """A trained adapter: its snapshots in the order of their steps, and all that is needed to judge or export it.

    `training` is a JSON file of the settings and counts of the training (what `ss_*` metadata is made of); `log` is a
    JSON-lines file of the metrics per step. `strength` is the strength to use it at.
    """

    snapshots: tuple[Snapshot, ...]
    dataset: Dataset
    training: Path
    log: Annotated[Path, LOCATION]
    strength: float = 1.0


@dataclass(frozen=True)
class Report(Artifact, stored_name="Report"):
    """The verdict on weights: a page for people, the same as data, the grid of pictures, and the best snapshot."""

    page: Annotated[Path, OPEN]
    data: Path
    grid: Annotated[Path, OPEN]
    best: Weights


@dataclass(frozen=True)
class File(Artifact, stored_name="File"):
    """A finished file."""

    path: Annotated[Path, OPEN]


# ------------------------------------------------------------------------------------------------------- to and fro


def encode(artifact: Artifact, store: Path, attempt: Path | None = None) -> dict[str, Any]:
    """The JSON form of an artifact; paths below `store` become relative to it.

    `attempt` is a folder that will be renamed into the store under its own name: paths below it are written as they
    will be then.
    """

    def portable(path: Path) -> str:
        for folder in filter(None, (store, attempt and attempt.parent)):
            if path.is_relative_to(folder):
                return f"{STORE}{path.relative_to(folder).as_posix()}"
        return path.absolute().as_posix()

    return {"kind": artifact.stored_name, **_encode_fields(artifact, portable)}


def decode(data: dict[str, Any], store: Path, inputs: Iterable[Artifact] = ()) -> Artifact:
    """The artifact of `encode`'s JSON, its paths below the given store.

    An artifact in it that is one of `inputs` becomes that one: the same thing, wherever the user's files lie by now.
    """
    return _decode_artifact(_kind(data["kind"]), data, store, tuple(inputs))


def inside(value: Any) -> Iterator[Artifact]:
    """Every artifact in a knob's or an artifact's value, the value itself included."""
    if isinstance(value, Artifact):
        yield value
        for name in _marks(type(value)):
            yield from inside(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from inside(item)


def paths(artifact: Artifact, without: Sequence[Artifact] = ()) -> list[Path]:
    """Every path in an artifact and in those inside it, but for those `without`."""
    found: list[Path] = []

    def look(value: Any) -> None:
        if isinstance(value, Path):
            found.append(value)
        elif isinstance(value, tuple):
            for item in value:
                look(item)
        elif isinstance(value, Artifact) and not any(value is each for each in without):
            for name in _marks(type(value)):
                look(getattr(value, name))

    look(artifact)
    return found


def to_open(artifact: Artifact) -> list[Path]:
    """The files of this artifact (not of those inside it) that a person will want to open."""
    return [getattr(artifact, name) for name, marks in _marks(type(artifact)).items() if OPEN in marks]


def field_kind(kind: type[Artifact], name: str) -> type[Artifact] | None:
    """The kind of the artifact in the field `name` of another; None where there is no such artifact."""
    found = typing.get_type_hints(kind).get(name)
    return found if isinstance(found, type) and issubclass(found, Artifact) else None


def fields_of_kind(kind: type[Artifact], wanted: type[Artifact]) -> list[str]:
    """The fields of an artifact that hold an artifact of the wanted kind."""
    hints = typing.get_type_hints(kind)
    return [name for name in hints if (found := field_kind(kind, name)) is not None and issubclass(found, wanted)]


def content(artifact: Artifact, digest: Callable[[Path], str]) -> dict[str, Any]:
    """What an artifact is, for a content key: every path by `digest`, and no `location`."""
    return {"kind": artifact.stored_name, **_encode_fields(artifact, digest, content_only=True)}


def _encode_fields(artifact: Artifact, path_form: Callable[[Path], str], content_only: bool = False) -> dict[str, Any]:
    def form(value: Any) -> Any:
        if type(value) in PLAIN:
            return value
        if isinstance(value, Path):
            return path_form(value)
        if isinstance(value, Artifact):
            return _encode_fields(value, path_form, content_only)
        if isinstance(value, Spec):
            assert value.registry is not None, "only registered specs travel in artifacts"
            plain = _spec_content(value, path_form) if content_only else to_dict(value)
            return {"registry": value.registry.id, **plain}
        return [form(item) for item in value] if isinstance(value, tuple) else value

    fields = {}
    for name, marks in _marks(type(artifact)).items():
        value = getattr(artifact, name)
        if not (
            content_only and (LOCATION in marks or value is None)
        ):  # so a field added by a later release voids no key
            fields[_stored_names(type(artifact))[name]] = form(value)
    return fields


@cache
def _stored_names(kind: type[Artifact]) -> dict[str, str]:
    """The fields of an artifact with the names that they have in its JSON."""
    return {
        name: next((mark.name for mark in marks if isinstance(mark, StoredName)), name)
        for name, marks in _marks(kind).items()
    }


@cache
def _marks(kind: type[Artifact]) -> dict[str, tuple[object, ...]]:
    """The fields of an artifact with what they are marked as."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {f.name: getattr(hints[f.name], "__metadata__", ()) for f in dataclasses.fields(typing.cast(Any, kind))}


def _spec_content(spec: Spec, path_form: Callable[[Path], str]) -> dict[str, Any]:
    from lorapipe.spec import Source
    from lorapipe.spec import content as spec_content

    return spec_content(spec, lambda value: path_form(value.path) if isinstance(value, Source) else value.plain())


def _decode(shape: Shape, data: Any, store: Path, inputs: tuple[Artifact, ...]) -> object:
    """Return the value of an artifact's field from its JSON form."""
    if data is None and shape.optional:
        return None
    match shape.kind:
        case "path":
            return _path(data, store)
        case "spec":
            plain = {key: value for key, value in data.items() if key != "registry"}
            return from_dict(_contract_of(data["registry"]), plain)
        case "list":
            return tuple(_decode(shape.item, item, store, inputs) for item in data)
        case "reference":
            return _decode_artifact(shape.value, data, store, inputs)
    return data


def _decode_artifact(kind: type[Value], data: Mapping[str, Any], store: Path, inputs: tuple[Artifact, ...]) -> Artifact:
    assert issubclass(kind, Artifact)
    for artifact in inputs:
        if type(artifact) is kind and _is(artifact, data, store):
            return artifact
    shapes, stored = _shapes(kind), _stored_names(kind)
    there = [(name, data[key]) for name, key in stored.items() if key in data]
    return kind(**{name: _decode(shapes[name], value, store, inputs) for name, value in there})


def _is(value: Any, data: Any, store: Path) -> bool:
    """Whether a value is what that JSON was made from: its files in the store are, wherever the user's own files lie.

    Specs are not looked at: they hold paths of the user's too (the base model's), and the files were made from them.
    """
    if isinstance(value, Path):
        return isinstance(data, str) and str(_path(data, store)) == str(value)
    if isinstance(value, tuple):
        same_length = isinstance(data, list) and len(data) == len(value)
        return same_length and all(_is(item, other, store) for item, other in zip(value, data, strict=True))
    if isinstance(value, Artifact):
        stored = _stored_names(type(value))
        fields = [name for name, marks in _marks(type(value)).items() if LOCATION not in marks]
        return isinstance(data, dict) and all(
            _is(getattr(value, name), data.get(stored[name]), store) for name in fields
        )
    return isinstance(value, Spec) or value == data


@lru_cache(maxsize=4096)
def _path(text: str, store: Path) -> Path:
    """A path from its JSON form. A thousand results may hold the same dataset's: making a path takes its time."""
    return Path(f"{store}/{text.removeprefix(STORE)}" if text.startswith(STORE) else text)


@cache
def _shapes(kind: type[Artifact]) -> dict[str, Shape]:
    return {name: shape_of(hint) for name, hint in typing.get_type_hints(kind).items() if name in _marks(kind)}


def _contract_of(registry: str) -> type[Spec]:
    """The contract of a registry, by its id."""
    contract = Registry.of_id(registry).contract
    if not issubclass(contract, Spec):
        raise KeyError(registry)
    return contract


@cache
def _kind(name: str) -> type[Artifact]:
    """The artifact class of a name, whichever package declares it, once that is imported."""
    classes = [Artifact]
    for cls in classes:  # grows as it goes: all subclasses, at any depth
        classes += cls.__subclasses__()
    return next(cls for cls in classes if cls.stored_name == name)
