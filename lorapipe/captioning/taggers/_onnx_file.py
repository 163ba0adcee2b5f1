"""Reads ONNX models: their inputs, outputs, operations and constants.

Only the messages of onnx.proto3 that are needed here are decoded, so that a small model runs without onnxruntime (see
`_onnx_interpreter`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLOAT, INT64, HALF = 1, 7, 10
"""Element types of tensors: float32, int64, float16."""


@dataclass(frozen=True)
class OnnxTensor:
    """A constant: its element type, shape and little-endian bytes."""

    name: str
    element: int
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class OnnxNode:
    """An operation with the names of its inputs and outputs; attributes are numbers and lists of numbers."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int | float | list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxValue:
    """An input or output: its name, element type, and axes; the length of an axis that varies is its name."""

    name: str
    element: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A model. Inputs that are constants are left out."""

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, OnnxTensor]
    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    metadata: dict[str, str]


def read_onnx(path: Path) -> OnnxGraph:
    """Read a model with its constants into memory. `OSError`, or `ValueError` if it is not an ONNX model."""
    try:
        found = _fields(path.read_bytes())
        [graph] = [value for number, value in found if number == 7]
        metadata = dict(_entry(value) for number, value in found if number == 14)
        parts: dict[int, list[Any]] = {}
        for number, value in _fields(graph):
            parts.setdefault(number, []).append(value)
        constants = {each.name: each for each in map(_tensor, parts.get(5, []))}
        inputs = (each for each in map(_value, parts.get(11, [])) if each.name not in constants)
        nodes = tuple(map(_node, parts.get(1, [])))
        return OnnxGraph(nodes, constants, tuple(inputs), tuple(map(_value, parts.get(12, []))), metadata)
    except (IndexError, struct.error, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not an ONNX model ({type(error).__name__})") from None


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """Return the fields of a message: (number, integer or bytes)."""
    return [*_walk(memoryview(data))]


def _walk(data: memoryview) -> Iterator[tuple[int, Any]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
            continue
        if kind == 2:
            length, place = _varint(data, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("it is not an ONNX model")
        if place + length > len(data):
            raise ValueError("it ends too early: download it again")
        yield tag >> 3, bytes(data[place : place + length])
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("it is not an ONNX model")


def _entry(data: bytes) -> tuple[str, str]:
    found = dict(_fields(data))
    return found.get(1, b"").decode(), found.get(2, b"").decode()


def _tensor(data: bytes) -> OnnxTensor:
    found, shape = _fields(data), list[int]()
    for number, value in found:
        if number == 1:
            shape += _integers(value)
    by_number = dict(found)
    return OnnxTensor(by_number.get(8, b"").decode(), by_number.get(2, 0), tuple(shape), by_number.get(9, b""))


def _integers(value: Any) -> list[int]:
    """Return a repeated integer, which may be packed."""
    if isinstance(value, int):
        return [value]
    view, place, found = memoryview(value), 0, list[int]()
    while place < len(view):
        number, place = _varint(view, place)
        found.append(number)
    return found


def _node(data: bytes) -> OnnxNode:
    found = _fields(data)
    inputs, outputs = (tuple(value.decode() for number, value in found if number == wanted) for wanted in (1, 2))
    operator = next((value.decode() for number, value in found if number == 4), "")
    return OnnxNode(operator, inputs, outputs, dict(_attribute(value) for number, value in found if number == 5))


def _attribute(data: bytes) -> tuple[str, int | float | list[int]]:
    name, value, several = "", 0, list[int]()
    number_value: float | None = None
    for number, each in _fields(data):
        if number == 1:
            name = each.decode()
        elif number == 2:
            [number_value] = struct.unpack("<f", each)
        elif number == 3:
            value = each
        elif number == 8:
            several += _integers(each)
    return name, several or (value if number_value is None else number_value)


def _value(data: bytes) -> OnnxValue:
    found = dict(_fields(data))
    tensor = dict(_fields(dict(_fields(found.get(2, b""))).get(1, b"")))
    dims = [dict(_fields(value)) for number, value in _fields(tensor.get(2, b"")) if number == 1]
    shape = tuple(dim[1] if dim.get(1) else dim.get(2, b"").decode() for dim in dims)
    return OnnxValue(found.get(1, b"").decode(), tensor.get(1, 0), shape)
