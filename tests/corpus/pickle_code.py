"""Pickles that try to run something, or to be more than they are: steps of the pickle machine written by hand."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, protocol=2)


def text(word: str) -> bytes:
    """A piece of text."""
    data = word.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str, stack: bool = False) -> bytes:
    """A class or function."""
    return text(module) + text(name) + b"\x93" if stack else f"c{module}\n{name}\n".encode()


def calls(canary: Path) -> dict[str, bytes]:
    """Values whose making would write a file, in each way in which a pickle can call."""
    path = str(canary)
    touch = text(f"open({path!r}, 'w').close()")
    found = {}
    for module, name in (
        ("builtins", "exec"),
        ("__builtin__", "eval"),
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
    ):
        shell = text(f"echo x > {path!r}") if name == "system" else touch
        for stack in (False, True):
            found[f"reduce {module}.{name} {stack}"] = named(module, name, stack) + shell + b"\x85R"
    exec_ = named("builtins", "exec")
    found |= {
        "obj": b"(" + exec_ + touch + b"o",
        "inst": b"(" + touch + b"ibuiltins\nexec\n",
        "newobj": exec_ + touch + b"\x85\x81",
        "newobj_ex": exec_ + touch + b"\x85}\x92",
        "build": named("collections", "OrderedDict") + b")R" + text("x") + b"}" + text("__setstate__") + exec_ + b"sb",
        "getattr": named("builtins", "getattr") + named("os", "system") + text("__call__") + b"\x86R" + touch + b"\x85R",
        "import": named("builtins", "__import__") + text("antigravity") + b"\x85R",
        "run": named("runpy", "_run_code") + touch + b"}\x86R",
        "load": named("torch.storage", "_load_from_bytes") + b"B" + struct.pack("<I", 3) + b"abc" + b"\x85R",
        "load_inline": named("torch", "load") + text(path) + b"\x85R",
        "nested": named("pickle", "loads") + b"B" + struct.pack("<I", 3) + b"abc" + b"\x85R",
        "dotted": named("collections", "OrderedDict.__init__.__globals__", True) + b")R",
        "numpy": named("numpy.testing._private.utils", "runstring") + touch + b"}\x86R",
        "partial": named("functools", "partial") + exec_ + touch + b"\x86R)R",
        "subclass": named("torch._tensor", "_rebuild_from_type_v2") + b"(" + exec_ + exec_ + touch + b"\x85}tR",
        "parameter": named("torch._utils", "_rebuild_parameter") + exec_ + touch + b"\x86\x85R",
        "extension": b"\x82\x01",
        "extension 4": b"\x84\x01\0\0\0",
        "person": b"P" + path.encode() + b"\n",
        "persistent": exec_ + touch + b"\x86Q",
    }  # fmt: skip
    return found


TRICKS: dict[str, Callable[[], bytes]] = {
    "memo far away": lambda: b"Nr" + struct.pack("<I", 2**32 - 1),
    "memo of nothing": lambda: b"j" + struct.pack("<I", 77),
    "itself": lambda: b"]q\0h\0a" + b"h\0a" * 5,
    "itself under state_dict": lambda: b"}q\0" + text("state_dict") + b"h\0s",
    "two in a ring": lambda: b"}q\0}q\1" + text("state_dict") + b"h\0s0h\0" + text("state_dict") + b"h\1s",
    "bytes of 2^62": lambda: b"\x8e" + struct.pack("<Q", 2**62),
    "bytearray of 2^40": lambda: b"\x96" + struct.pack("<Q", 2**40),
    "text of 4 GB": lambda: b"X" + struct.pack("<I", 2**32 - 1) + b"abc",
    "text of 2^60": lambda: b"\x8d" + struct.pack("<Q", 2**60),
    "frame of 2^63": lambda: b"\x95" + struct.pack("<Q", 2**63) + b"N",
    "number of -1 bytes": lambda: b"\x8b" + struct.pack("<i", -1),
    "number of 2 GB": lambda: b"\x8b" + struct.pack("<i", 2**31 - 1),
    "number of many digits": lambda: b"L" + b"9" * 60_000 + b"L\n",
    "tuples 30,000 deep as a key": lambda: b"})" + b"\x85" * 30_000 + b"Ns",
    "lists 30,000 deep": lambda: b"]" * 30_000 + b"a" * 29_999,
    "mappings 20,000 deep": lambda: b"".join([b"}", (text("k") + b"}") * 20_000, b"s" * 20_000]),
    "doubled lists": lambda: b"]q\0" + b"(h\0h\0e" * 5_000,
    "marks": lambda: b"(" * 30_000,
    "pops of nothing": lambda: b"0" * 9,
    "duplicate of nothing": lambda: b"2",
    "tuple of nothing": lambda: b"\x87",
    "no step": lambda: b"\xfe",
    "no end": lambda: b"N" * 9,
}
"""Steps that ask for more than there is."""


def storage(kind: str = "FloatStorage", key: str = "0", count: bytes = b"K\x04") -> bytes:
    """The mark of a storage of so many numbers."""
    return b"(" + text("storage") + named("torch", kind) + text(key) + text("cpu") + count + b"tQ"


def tensor(kind: str = "FloatStorage", offset: bytes = b"K\0", shape: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85",
           count: bytes = b"K\x04", key: str = "0") -> bytes:  # fmt: skip
    """A tensor of a storage."""
    arguments = (
        storage(kind, key, count) + offset + shape + stride + b"\x89" + named("collections", "OrderedDict") + b")R"
    )
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


HUGE = b"\x8a\x07" + (2**50).to_bytes(7, "little")
VAST = b"\x8b" + struct.pack("<i", 4000) + b"\x7f" * 4000
LIES: dict[str, bytes] = {
    "true": tensor(),
    "longer than its storage": tensor(shape=b"K\x05\x85"),
    "beyond its storage": tensor(offset=b"K\x01"),
    "behind its storage": tensor(offset=b"J\xff\xff\xff\xff"),
    "strides backwards": tensor(stride=b"J\xff\xff\xff\xff\x85"),
    "a shape of 2^50": tensor(shape=HUGE + b"\x85"),
    "a shape of 2^50 by strides of 0": tensor(shape=HUGE + b"\x85", stride=b"K\0\x85"),
    "strides of 2^50": tensor(shape=b"K\x02\x85", stride=HUGE + b"\x85"),
    "vast numbers": tensor(shape=VAST + b"\x85", stride=VAST + b"\x85"),
    "a storage of 2^50": tensor(count=HUGE),
    "a storage of -1": tensor(count=b"J\xff\xff\xff\xff"),
    "no such storage": tensor(key="7"),
    "a storage above": tensor(key="../../data.pkl"),
    "another type": tensor(kind="QInt8Storage"),
    "no type": tensor(kind="device"),
    "no shape": tensor(shape=b"K\x04"),
    "text for a shape": tensor(shape=text("4") + b"\x85"),
    "a shape and no strides": tensor(stride=b")"),
    "nothing": named("torch._utils", "_rebuild_tensor_v2") + b")R",
}
"""Tensors that are not what they say."""


def zipped(steps: bytes, more: bytes = b"", name: str = "archive") -> bytes:
    """A checkpoint of one value and one storage of four numbers."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}/data.pkl", b"\x80\x02" + steps + b".")
        archive.writestr(f"{name}/data/0", bytes(16))
        archive.writestr(f"{name}/version", b"3\n" + more)
    return data.getvalue()


def older(steps: bytes) -> bytes:
    """The same in the older form."""
    keys = pickle.dumps(["0"], protocol=2)
    return MAGIC + SYSTEM + b"\x80\x02" + steps + b"." + keys + struct.pack("<q", 4) + bytes(16)


def under(value: bytes, key: str = "first_stage_model.encoder.conv_in.weight") -> bytes:
    """A mapping in which a value lies."""
    return b"}" + text("epoch") + b"K\x01s" + text(key) + value + b"s"


def real(zip_form: bool = True) -> bytes:
    """A checkpoint as torch writes it."""
    data = io.BytesIO()
    tensors = {
        "first_stage_model.encoder.conv_in.weight": torch.ones(4, 3, 3, 3),
        "b": torch.arange(5),
        "c": torch.ones(2).half(),
    }
    torch.save({"state_dict": tensors, "epoch": 4}, data, _use_new_zipfile_serialization=zip_form)
    return data.getvalue()
