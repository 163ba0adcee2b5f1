"""Writes small ONNX models, without the onnx package: a few messages of its protocol buffers (onnx.proto3, IR version 8).

Weights are half-precision constants that a Cast turns into single precision, which halves the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FLOAT, INT64, HALF = 1, 7, 10
"""Element types of `TensorProto`."""
TYPES: Mapping[np.dtype[np.generic], int] = {
    np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(np.float16): HALF
}  # fmt: skip
OPSET, IR_VERSION = 17, 8
Attribute = int | float | Sequence[int]
Axes = Sequence[str | int]
"""The axes of a tensor: lengths, and names of those that vary."""


class Graph:
    """An ONNX graph with one input and one output, both of single precision."""

    def __init__(self, name: str, taken: tuple[str, Axes], given: tuple[str, Axes]) -> None:
        self._name, self._taken, self._given = name, taken, given
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        """Add a constant, and return its name."""
        name = f"c{len(self._tensors)}"
        values = np.asarray(values, order="C")
        dims = b"".join(_number(1, length) for length in values.shape)
        body = dims + _number(2, TYPES[values.dtype]) + _text(8, name)
        self._tensors.append(body + _bytes(9, values.astype(values.dtype.newbyteorder("<")).tobytes()))
        return name

    def weight(self, values: NDArray[np.float32]) -> str:
        """Add a constant in half precision and its conversion to single, and return that one's name."""
        return self.node("Cast", [self.constant(values.astype(np.float16))], to=FLOAT)

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Attribute) -> str:
        """Add an operation, and return the name of its output."""
        output = output or f"n{len(self._nodes)}"
        body = b"".join(_text(1, name) for name in inputs) + _text(2, output)
        body += _text(3, f"{operator.lower()}{len(self._nodes)}") + _text(4, operator)
        self._nodes.append(body + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items()))
        return output

    def model(self, producer: str) -> bytes:
        """Return the model's file."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _text(2, self._name)
        graph += b"".join(_bytes(5, tensor) for tensor in self._tensors)
        graph += _bytes(11, _value(*self._taken)) + _bytes(12, _value(*self._given))
        return _number(1, IR_VERSION) + _text(2, producer) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


def _attribute(name: str, value: Attribute) -> bytes:
    """Return an attribute: its kind is FLOAT (1), INT (2) or INTS (7)."""
    if isinstance(value, float):
        return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _value(name: str, axes: Axes) -> bytes:
    """Return the description of an input or output."""
    dims = (_text(2, axis) if isinstance(axis, str) else _number(1, axis) for axis in axes)
    tensor = _number(1, FLOAT) + _bytes(2, b"".join(_bytes(1, dim) for dim in dims))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
