"""Declaring knobs: `param()`, the `Spec` base, and the plain form of a spec."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

from lorapipe.errors import Problem
from lorapipe.limits import LARGEST_NUMBER
from lorapipe.registry import Registry

REQUIRED: Any = dataclasses.MISSING
SHOWN, SHOWN_ITEMS = 70, 8
"""Letters and entries of a value that a message may show."""
PLAIN = frozenset({str, int, float, bool, type(None)})
"""Most knobs hold one of these: they are their own document form, and hold no reference to anything."""


@dataclass(frozen=True)
class Param:
    """The declaration of one knob: what `param()` was told."""

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_items: int | None = None
    content: bool = True
    aliases: tuple[str, ...] = ()
    shelf: str = ""
    kohya: tuple[str, ...] = ()
    key: str = ""

    @property
    def told(self) -> str:
        """The help as sentences, with what kohya's users know the knob by."""
        return " ".join(filter(None, [sentence(self.help), f"kohya: {', '.join(self.kohya)}." if self.kohya else ""]))

    def bounds(self) -> dict[str, float]:
        """The limits under their JSON Schema names."""
        names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
        return {schema: limit for ours, schema in names.items() if (limit := getattr(self, ours)) is not None}

    def complaint(self, value: float) -> str | None:
        """Why a number is out of range, or None."""
        if not math.isfinite(value):
            return f"{value} is not a finite number."
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"{value:.3g} is larger than any number that is used here."
        if self.ge is not None and value < self.ge:
            return f"{value} is below the minimum {self.ge}."
        if self.gt is not None and value <= self.gt:
            return f"{value} must be above {self.gt}."
        if self.le is not None and value > self.le:
            return f"{value} is above the maximum {self.le}."
        if self.lt is not None and value >= self.lt:
            return f"{value} must be below {self.lt}."
        return None


def param(
    default: Any = REQUIRED,
    help: str = "",
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_items: int | None = None,
    content: bool = True,
    aliases: tuple[str, ...] = (),
    shelf: str = "",
    kohya: tuple[str, ...] = (),
    key: str = "",
) -> Any:
    """Declare a knob: its default, a sentence a user reads, and its limits.

    `default` may be a function of no arguments (`Adapter.default("lora")`), called for each spec. `content=False` says
    that the knob changes how, not what, is made (a device, a log folder): it stays outside the content key. `aliases` are
    names that it had in earlier releases, which old documents and graphs may still use. `shelf` says from which of a
    user's folders a path is usually taken: `pictures`, or a kind of model (`checkpoints`, `vae`). `kohya` are the flags of
    kohya's sd-scripts that do what it does: a user who writes or asks for them is led here.

    A knob that gets another name says with `key` which name its content keys hold: the first that it had, which old
    documents, graphs and stored results may still use too. So renaming a knob voids no result.
    """
    if key and key not in aliases:
        aliases = (*aliases, key)
    metadata = {"param": Param(help, ge, gt, le, lt, min_items, content, aliases, shelf, kohya, key)}
    if callable(default) and default is not REQUIRED:
        return dataclasses.field(default_factory=default, kw_only=True, metadata=metadata)
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


class Value(ABC):
    """A type with its own one-line form in a document: a duration, a size, a reference to a stage."""

    @classmethod
    @abstractmethod
    def parse(cls, value: object, folder: Path) -> Any:
        """The object for a document's plain value; relative paths start at `folder`. ValueError says what is wrong."""

    @abstractmethod
    def plain(self) -> Any:
        """The document's form: `parse(x.plain(), folder) == x`."""

    @classmethod
    @abstractmethod
    def schema(cls) -> dict[str, Any]:
        """The JSON Schema of the plain form."""


class Spec:
    """Base of every object that is described by `param()` fields. Subclasses are `@dataclass(frozen=True)`."""

    registry: ClassVar[Registry[Any] | None] = None
    tag: ClassVar[str] = "type"
    stored_name: ClassVar[str] = "Spec"
    """What saved ComfyUI graphs know the class by: its name, or the first that it had."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """`class Adapter(Spec, contract="type")` declares a contract: the union over the package it is written in.

        A class that gets another name keeps the old one where users have it stored: `class New(Spec, stored_name="Old")`.
        """
        tag = keywords.pop("contract", None)
        cls.stored_name = keywords.pop("stored_name", cls.__name__)
        super().__init_subclass__(**keywords)
        if tag is not None:
            cls.tag = tag
            cls.registry = Registry(cls.__module__, cls)

    @classmethod
    def default(cls, name: str, **knobs: Any) -> Callable[[], Self]:
        """A default for a field typed as this contract: the implementation `name`, imported when it is needed."""
        registry = cls.registry
        assert registry is not None, f"{cls.__name__} is not a contract"
        return lambda: typing.cast(Self, registry.get(name)(**knobs))

    @property
    def name(self) -> str:
        """The registered name (its file's)."""
        assert self.registry is not None, f"{type(self).__name__} has no registry"
        return self.registry.name_of(type(self))

    @property
    def key_name(self) -> str:
        """The name by which stored results know it: the first that its file had."""
        assert self.registry is not None, f"{type(self).__name__} has no registry"
        return self.registry.key_of(type(self))

    def problems(self) -> Iterable[Problem]:
        """Settings that are valid alone but wrong together, each with its reason; `path` names the field to mend."""
        return ()


@dataclass(frozen=True)
class Knob:
    """One field of a spec, resolved: its name, type, default and declaration."""

    name: str
    type: Any
    field: dataclasses.Field[Any]
    param: Param

    @property
    def key(self) -> str:
        """Its name in content keys: the first that it had."""
        return self.param.key or self.name

    @property
    def required(self) -> bool:
        return self.field.default is REQUIRED and self.field.default_factory is REQUIRED

    def default(self) -> Any:
        """The default value; REQUIRED where there is none."""
        factory: Any = self.field.default_factory
        return self.field.default if factory is REQUIRED else factory()


def knobs(cls: type[Spec]) -> tuple[Knob, ...]:
    """The knobs of a spec class in the order of their declaration."""
    return _knobs(typing.cast(Any, cls))


@cache
def _knobs(cls: Any) -> tuple[Knob, ...]:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    return tuple(Knob(f.name, hints[f.name], f, f.metadata["param"]) for f in fields if "param" in f.metadata)


def old_names(cls: type[Spec]) -> Mapping[str, str]:
    """The names that knobs of a spec class had in earlier releases, with those that they have now."""
    return _old_names(typing.cast(Any, cls))


@cache
def _old_names(cls: Any) -> Mapping[str, str]:
    return {alias: knob.name for knob in knobs(cls) for alias in knob.param.aliases}


def to_dict(spec: Spec) -> dict[str, Any]:
    """The document form of a spec; `from_dict` of it gives the spec again."""
    fields = {knob.name: plain(getattr(spec, knob.name)) for knob in knobs(type(spec))}
    return fields if spec.registry is None else {spec.tag: spec.name, **fields}


def content(spec: Spec, digest: Callable[[Value], object], *, defaults: bool = False) -> dict[str, Any]:
    """What a content key is made of: the knobs that differ from their default and are declared `content=True`.

    So a knob added by a later release voids no key; nor does a new name, since knobs and implementations go by the first
    that they had. `digest` gives what stands for a value: a source by the digest of its bytes, for one. With `defaults`, the
    knobs left at their default too: what a person compares.
    """
    chosen = {}
    for knob in knobs(type(spec)):
        value = getattr(spec, knob.name)
        if knob.param.content and (defaults or value != knob.default()):
            chosen[knob.key] = plain(value, digest, defaults)
    return chosen if spec.registry is None else {spec.tag: spec.key_name, **chosen}


def plain(value: Any, digest: Callable[[Value], object] | None = None, defaults: bool = False) -> Any:
    """A knob's value as JSON types; with `digest`, as it enters a content key (see `content`)."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Spec):
        return to_dict(value) if digest is None else content(value, digest, defaults=defaults)
    if isinstance(value, Value):
        return value.plain() if digest is None else digest(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {key: plain(item, digest, defaults) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, digest, defaults) for item in value]
    return value


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(plain: object) -> bytes:
    """The one JSON text of a plain value, for digests."""
    return _canonical(plain).encode()


def show(plain: object) -> str:
    """A document's value as its author would write it, cut short."""
    text = json.dumps(_some(plain), ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(plain: object) -> object:
    """As much of a value as can be shown: its beginning."""
    if isinstance(plain, str):
        return plain[:SHOWN]
    if isinstance(plain, (list, tuple)):
        return [_some(item) for item in plain[:SHOWN_ITEMS]]
    if isinstance(plain, dict):
        return {str(key)[:SHOWN]: _some(item) for key, item in islice(plain.items(), SHOWN_ITEMS)}
    return plain


def sentence(help: str) -> str:
    """A knob's help as a sentence: capital letter, full stop."""
    return f"{help[:1].upper()}{help[1:]}." if help and not help.endswith(".") else help
