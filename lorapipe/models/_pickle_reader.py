"""Read a pickle of weights without unpickling it, so that no code in it can run.

A pickle is a program. This interpreter implements only the opcodes that build plain values and describe tensors; it imports
nothing, creates no instances and calls nothing. Names of classes that usual checkpoints contain besides weights
(Lightning's callbacks, numpy's scalars, settings) become placeholders; any other name is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_BYTES, MOST_STEPS = 16 << 20, 1_000_000
"""Limits on a pickle's bytes and opcodes: SDXL with its optimizer's state has half a million opcodes."""
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip
ITEM = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "uint64": 8, "uint32": 4, "uint16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""torch's dtypes → bytes of an element."""
VIEWS = {"_rebuild_tensor": 4, "_rebuild_tensor_v2": 6, "_rebuild_tensor_v3": 7}
"""torch's functions that describe a tensor → their least number of arguments."""
PASSED_ON = ("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_device_tensor_from_cpu_tensor")
"""torch's functions that only wrap their first argument."""

NUMPY = tuple(f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64))
HARMLESS = {
    "numpy": ("dtype", "ndarray", "bool_", "bool", *NUMPY),
    **{f"numpy.{core}.multiarray": ("scalar", "_reconstruct") for core in ("core", "_core")},
    **{f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")},
    "_codecs": ("encode",),
    **dict.fromkeys(("copyreg", "copy_reg"), ("_reconstructor", "__newobj__")),
    **dict.fromkeys(
        ("builtins", "__builtin__"),
        ("object", "set", "frozenset", "dict", "list", "tuple", "int", "float", "str", "bool", "bytes", "bytearray",
         "complex", "slice", "range", "long", "unicode"),
    ),
    "collections": ("OrderedDict", "defaultdict", "Counter", "deque"),
    "datetime": ("datetime", "date", "timedelta", "timezone"),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"),
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "typing": ("Any",),
    "torch": ("device", "Size", *ITEM, *STORAGES),
    "torch.cuda": tuple(STORAGES),
    "torch.storage": ("UntypedStorage", "TypedStorage"),
    "torch._utils": (*VIEWS, *PASSED_ON),
    "torch._tensor": ("_rebuild_from_type_v2",),
    "torch.nn.parameter": ("Parameter",),
    "torch.nn.modules.container": ("ParameterDict",),
    "torch.serialization": ("_get_layout",),
}  # fmt: skip
"""Module → its names that usual checkpoints contain. Those that do not describe tensors become placeholders."""
HARMLESS_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy.dtypes")
"""Packages of trainers and their settings: any name in them becomes a placeholder."""


class Refused(Exception):
    """A file is refused: `what` is text that follows its name, `cure` says what to do."""

    def __init__(self, what: str, cure: str = "Copy or download it again.") -> None:
        super().__init__(what, cure)
        self.what, self.cure = what, cure


class Broken(Exception):
    """The file is truncated or inconsistent."""


@dataclass(frozen=True)
class Name:
    """The name of a class or function."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """`count` elements of the storage `key`, from element `begin` on."""

    key: str
    dtype: str
    count: int
    begin: int = 0


@dataclass(frozen=True)
class View:
    """A tensor as a view of a storage; see `torch.as_strided`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


MARK, PLACEHOLDER = object(), object()
"""The start of a list of arguments on the stack; an object that is ignored."""


class Pickle:
    """Interprets one pickle from a stream's position; `value()` reads it to its end."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.storages: list[Storage] = []
        self._stream = stream
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def value(self) -> Any:
        """Return the pickle's value: numbers, text, tuples, lists, mappings, storages and views of them."""
        for name, argument in self._steps():
            if name == "STOP":
                return self._pop()
            if name in LITERALS:
                self._stack.append(argument)
            elif name in CONSTANTS:
                self._stack.append(CONSTANTS[name])
            elif name in SIZES:
                self._stack.append(tuple(self._last(SIZES[name])))
            elif name.endswith(("GET", "PUT")) or name == "MEMOIZE":
                self._remember(name, argument)
            elif name in CONTAINERS:
                self._contain(name)
            elif name not in ("PROTO", "FRAME"):
                self._object(name, argument)
        raise Broken

    def _steps(self) -> Iterator[tuple[str, Any]]:
        import pickletools

        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):
            if count > MOST_STEPS:
                raise Refused("contains far more than the weights of a base.", "Use its .safetensors file.")
            yield opcode.name, argument

    def _pop(self) -> Any:
        return self._last(1)[0]

    def _last(self, count: int) -> list[Any]:
        """Pop the last `count` values."""
        if len(self._stack) < count:
            raise Broken
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def _to_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while place >= 0 and self._stack[place] is not MARK:
            place -= 1
        if place < 0:
            raise Broken
        return self._last(len(self._stack) - place)[1:]

    def _remember(self, name: str, place: int) -> None:
        if name.endswith("GET"):
            if int(place) not in self._memo:
                raise Broken
            self._stack.append(self._memo[int(place)])
            return
        if not self._stack:
            raise Broken
        self._memo[len(self._memo) if name == "MEMOIZE" else int(place)] = self._stack[-1]

    def _contain(self, name: str) -> None:
        """Make and fill lists and mappings; items of anything else are dropped."""
        if name in ("EMPTY_LIST", "EMPTY_DICT"):
            self._stack.append([] if name == "EMPTY_LIST" else {})
            return
        items = self._taken(name)
        if name in ("LIST", "TUPLE", "DICT", "FROZENSET"):
            self._stack.append({"LIST": items, "TUPLE": tuple(items), "DICT": {}}.get(name, PLACEHOLDER))
            if name != "DICT":
                return
        if not self._stack:
            raise Broken
        _fill(self._stack[-1], name, items)

    def _taken(self, name: str) -> list[Any]:
        """Pop the items that an opcode takes from the stack."""
        if name == "APPEND":
            return self._last(1)
        return self._last(2) if name == "SETITEM" else self._to_mark()

    def _object(self, name: str, argument: Any) -> None:
        """Handle names, and calls of them."""
        if name in ("GLOBAL", "INST"):
            known = _known(*argument.split(" ", 1))
            if name == "INST":
                self._to_mark()
            self._stack.append(known if name == "GLOBAL" else PLACEHOLDER)
        elif name == "STACK_GLOBAL":
            self._stack.append(_known(*self._last(2)))
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            function, arguments, *_ = self._last(3 if name == "NEWOBJ_EX" else 2)
            self._stack.append(_made(function, arguments))
        elif name == "OBJ":
            self._to_mark()
            self._stack.append(PLACEHOLDER)
        elif name in ("BUILD", "POP"):  # the state of an object is ignored
            self._pop()
        elif name == "POP_MARK":
            self._to_mark()
        elif name == "DUP":
            self._stack += self._last(1) * 2
        elif name == "BINPERSID":
            self._stack.append(self._storage(self._pop()))
        else:
            raise Refused(f"contains an opcode that weights do not need ({name}).", "Use its .safetensors file.")

    def _storage(self, persistent_id: Any) -> Storage:
        if not isinstance(persistent_id, tuple) or len(persistent_id) < 5:
            raise Broken
        if persistent_id[0] not in ("storage", b"storage"):
            raise Broken
        _, kind, key, _, count, *view = persistent_id
        key = key.decode("latin-1") if isinstance(key, bytes) else key
        if not isinstance(kind, Name) or kind.name not in STORAGES or not isinstance(key, str) or not _natural(count):
            raise Broken
        begin, part = _part_of(view[0], count) if view and view[0] is not None else (0, count)
        self.storages.append(Storage(key, STORAGES[kind.name], count))
        return Storage(key, STORAGES[kind.name], part, begin)


def _known(module: object, name: object) -> Name:
    """Return a name that checkpoints may contain. Raises `Refused` for all others."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise Broken
    packages = (module, *(module[:place] for place, letter in enumerate(module) if letter == "."))
    if name not in HARMLESS.get(module, ()) and not any(package in HARMLESS_PACKAGES for package in packages):
        what = (
            f"refers to {module[:60]}.{name[:60]}, which weights do not need: it may be malicious code. It was not run."
        )
        raise Refused(what, "Use the .safetensors file of this model, from a source that you trust.")
    return Name(module, name)


def _fill(held: object, name: str, items: list[Any]) -> None:
    """Put items into a list or mapping, as the opcode `name` does."""
    if isinstance(held, list) and name in ("APPEND", "APPENDS"):
        held += items
    elif isinstance(held, dict) and name in ("SETITEM", "SETITEMS", "DICT"):
        pairs = zip(items[::2], items[1::2], strict=False)
        # A state_dict has no other keys, and hashing a nested tuple is recursive.
        held.update((key, value) for key, value in pairs if isinstance(key, (str, int)))


def _part_of(view: Any, count: int) -> tuple[int, int]:
    """Return the start and number of elements of a storage that is a part of another (older format)."""
    if not isinstance(view, tuple) or len(view) != 3 or not all(map(_natural, view[1:])):
        raise Broken
    _, begin, part = view
    if begin + part > count:
        raise Broken
    return begin, part


def _made(function: object, arguments: object) -> Any:
    """Return the result of calling a name: a view, a mapping, or a placeholder."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        return PLACEHOLDER
    if function.module == "torch._utils":
        return _rebuilt(function.name, arguments)
    if function.name == "Parameter" and arguments:
        return arguments[0]
    if function.name == "_rebuild_from_type_v2" and len(arguments) >= 3:
        return _made(arguments[0], arguments[2]) if arguments[0] != function else PLACEHOLDER
    if function.module == "collections" or function.name == "dict":
        return _mapping(arguments[0] if arguments else ())
    return PLACEHOLDER


def _rebuilt(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return the result of a function of `torch._utils`: a view, or its first argument."""
    if name in VIEWS:
        return _view(name, arguments)
    return arguments[0] if arguments else PLACEHOLDER


def _mapping(items: object) -> dict[str | int, Any]:
    """Return the mapping of a list of pairs; other items are dropped."""
    pairs = (
        [pair for pair in items if isinstance(pair, (list, tuple)) and len(pair) == 2]
        if isinstance(items, list)
        else []
    )
    return {key: value for key, value in pairs if isinstance(key, (str, int))}


def _view(name: str, arguments: tuple[Any, ...]) -> View:
    if len(arguments) < VIEWS[name]:
        raise Broken
    storage, offset, shape, stride = arguments[:4]
    dtype = arguments[6].name if name.endswith("v3") and isinstance(arguments[6], Name) else None
    dtype = dtype or getattr(storage, "dtype", "")
    plain = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= 16
    if not isinstance(storage, Storage) or dtype not in ITEM or not plain:
        raise Broken
    if not _natural(offset) or not all(map(_natural, (*shape, *stride))):
        raise Broken
    return View(storage, dtype, offset, shape, stride)


def _natural(number: object) -> bool:
    return isinstance(number, int) and 0 <= number < 1 << 62


LITERALS = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
"""Opcodes whose argument is their value."""
CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "EMPTY_SET": PLACEHOLDER,
    "MARK": MARK,
}
SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
CONTAINERS = (
    "EMPTY_LIST", "EMPTY_DICT", "LIST", "TUPLE", "DICT", "FROZENSET", "APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS",
)  # fmt: skip
