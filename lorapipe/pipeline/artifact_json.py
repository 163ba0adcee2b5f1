"""Artifacts as JSON, and their part of a content key.

A path inside the store is written relative to it, so that the store can be moved; other paths are users' files.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from lorapipe.pipeline.artifacts import LOCATION, Artifact, StoredName, class_of, marks_of
from lorapipe.registry import Registry
from lorapipe.spec import PLAIN, Shape, Source, Spec, Value, from_dict, shape_of, to_dict
from lorapipe.spec import content as spec_content

STORE = "store:"
"""Prefix of a path that is relative to the store."""
Json = dict[str, object]


def encode(artifact: Artifact, store: Path, attempt: Path | None = None) -> Json:
    """Return the JSON form of an artifact; paths below `store` become relative to it.

    `attempt` is a folder that will be renamed into the store under its own name: paths below it are written as they
    will be then.
    """

    def portable(path: Path) -> str:
        for folder in filter(None, (store, attempt and attempt.parent)):
            if path.is_relative_to(folder):
                return f"{STORE}{path.relative_to(folder).as_posix()}"
        return path.absolute().as_posix()

    return {"kind": artifact.stored_name, **_encode_fields(artifact, portable)}


def decode(data: Mapping[str, object], store: Path, inputs: Iterable[Artifact] = ()) -> Artifact:
    """Return the artifact of `encode`'s JSON, its paths below the given store.

    An artifact inside that equals one of `inputs` is replaced by it, so that it has the current paths of the user's files.
    """
    return _decode_artifact(class_of(data["kind"]), data, store, tuple(inputs))


def content(artifact: Artifact, digest: Callable[[Path], str]) -> Json:
    """Return what identifies an artifact in a content key: every path by its `digest`, no field marked `LOCATION`.

    Fields that are None are left out, so that fields added by later releases do not change keys.
    """
    return {"kind": artifact.stored_name, **_encode_fields(artifact, digest, content_only=True)}


def _encode_fields(artifact: Artifact, path_form: Callable[[Path], str], content_only: bool = False) -> Json:
    stored, fields = _stored_names(type(artifact)), Json()
    for name, marks in marks_of(type(artifact)).items():
        value = getattr(artifact, name)
        if not (content_only and (LOCATION in marks or value is None)):
            fields[stored[name]] = _encode_value(value, path_form, content_only)
    return fields


def _encode_value(value: object, path_form: Callable[[Path], str], content_only: bool) -> object:
    if type(value) in PLAIN:
        return value
    if isinstance(value, Path):
        return path_form(value)
    if isinstance(value, Artifact):
        return _encode_fields(value, path_form, content_only)
    if isinstance(value, Spec):
        assert value.registry is not None, "only registered specs travel in artifacts"
        plain = _spec_content(value, path_form) if content_only else _portable(to_dict(value), path_form)
        return {"registry": value.registry.id, **plain}
    if isinstance(value, tuple):
        return [_encode_value(item, path_form, content_only) for item in value]
    return value


def _portable(plain: object, path_form: Callable[[Path], str]) -> Json:
    """Make paths inside the store relative in a spec's document, such as a base that a stage has made."""

    def form(value: object) -> object:
        if isinstance(value, dict):
            return {key: form(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [form(inner) for inner in value]
        if isinstance(value, str) and Path(value).is_absolute() and (found := path_form(Path(value))).startswith(STORE):
            return found
        return value

    return typing.cast(Json, form(plain))


def _spec_content(spec: Spec, path_form: Callable[[Path], str]) -> Json:
    return spec_content(spec, lambda value: path_form(value.path) if isinstance(value, Source) else value.plain())


def _decode_value(shape: Shape, data: object, store: Path, inputs: tuple[Artifact, ...]) -> object:
    """Decode the value of an artifact's field. `TypeError` if the JSON does not match the field's type."""
    if data is None and shape.optional:
        return None
    match shape.kind, data:
        case "path", str():
            return _path(data, store)
        case "list", list():
            return tuple(_decode_value(shape.item, item, store, inputs) for item in data)
        case "spec" | "contract", dict():
            return _decode_spec(data, store)
        case "reference", dict():
            return _decode_artifact(shape.value, data, store, inputs)
        case "path" | "list" | "spec" | "contract" | "reference", _:
            raise TypeError(f"{data!r} is not a {shape.kind}")
    return data


def _decode_spec(data: Mapping[str, object], store: Path) -> Spec:
    contract = Registry.of_id(str(data["registry"])).contract
    if not issubclass(contract, Spec):
        raise KeyError(data["registry"])

    def form(value: object) -> object:
        if isinstance(value, dict):
            return {key: form(inner) for key, inner in value.items()}
        return str(_path(value, store)) if isinstance(value, str) and value.startswith(STORE) else value

    return from_dict(contract, {key: form(value) for key, value in data.items() if key != "registry"})


def _decode_artifact(
    kind: type[Value], data: Mapping[str, object], store: Path, inputs: tuple[Artifact, ...]
) -> Artifact:
    assert issubclass(kind, Artifact)
    for artifact in inputs:
        if type(artifact) is kind and _is_encoded_as(artifact, data, store):
            return artifact
    shapes, stored = _shapes(kind), _stored_names(kind)
    given = [(name, data[key]) for name, key in stored.items() if key in data]
    return kind(**{name: _decode_value(shapes[name], value, store, inputs) for name, value in given})


def _is_encoded_as(value: object, data: object, store: Path) -> bool:
    """Whether the JSON describes this value: the same files in the store, wherever the user's files are.

    Specs are not compared: they also contain users' paths (of the base model), and the files in the store follow from them.
    """
    if isinstance(value, Path):
        return isinstance(data, str) and str(_path(data, store)) == str(value)
    if isinstance(value, tuple):
        if not isinstance(data, list) or len(data) != len(value):
            return False
        return all(_is_encoded_as(item, other, store) for item, other in zip(value, data, strict=True))
    if isinstance(value, Artifact):
        return isinstance(data, dict) and all(
            _is_encoded_as(getattr(value, name), data.get(key), store) for name, key in _content_fields(type(value))
        )
    return isinstance(value, Spec) or value == data


@lru_cache(maxsize=4096)
def _path(text: str, store: Path) -> Path:
    """Return a path from its JSON form. Cached, because a thousand results may name the same dataset."""
    return Path(f"{store}/{text.removeprefix(STORE)}" if text.startswith(STORE) else text)


@cache
def _stored_names(kind: type[Artifact]) -> dict[str, str]:
    """Return the fields of an artifact with their names in JSON."""
    return {
        name: next((mark.name for mark in marks if isinstance(mark, StoredName)), name)
        for name, marks in marks_of(kind).items()
    }


@cache
def _content_fields(kind: type[Artifact]) -> list[tuple[str, str]]:
    """Return the fields that identify an artifact's content, without locations, each with its name in JSON."""
    return [(name, key) for name, key in _stored_names(kind).items() if LOCATION not in marks_of(kind)[name]]


@cache
def _shapes(kind: type[Artifact]) -> dict[str, Shape]:
    return {name: shape_of(hint) for name, hint in typing.get_type_hints(kind).items() if name in marks_of(kind)}
