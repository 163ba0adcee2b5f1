"""The classes that everything in this package is about: `Param` (of `param()`), `Value` and `Spec`."""

from __future__ import annotations

import dataclasses
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from lorapipe.errors import Problem
from lorapipe.limits import LARGEST_NUMBER
from lorapipe.registry import Registry

REQUIRED: Any = dataclasses.MISSING
"""The default of a knob that has none."""
JsonObject = dict[str, Any]
"""A JSON object: the document form of a spec, or a JSON Schema."""
ValueKind = Literal["value", "source", "destination", "reference"]
"""What a `Value` stands for: itself, something to read, somewhere to write, what another stage makes."""


class Param(NamedTuple):
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
    word: str = ""

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
    word: str = "",
) -> Any:
    """Declare a knob: its default, a sentence a user reads, and its limits.

    `default` may be a function of no arguments (`Adapter.default("lora")`), called for each spec. `content=False` says
    that the knob changes how, not what, is made (a device, a log folder): it stays outside the content key. `aliases` are
    names that it had in earlier releases, which old documents and graphs may still use. `shelf` says from which of a
    user's folders a path is usually taken: `pictures`, or a kind of model (`checkpoints`, `vae`). `kohya` are the flags of
    kohya's sd-scripts that do what it does: a user who writes or asks for them is led here. `word` is the one text that may
    be written in place of a list of texts, which then has it alone.

    A knob that gets another name says with `key` which name its content keys hold: the first that it had, which old
    documents, graphs and stored results may still use too. So renaming a knob voids no result.
    """
    if key and key not in aliases:
        aliases = (*aliases, key)
    metadata = {"param": Param(help, ge, gt, le, lt, min_items, content, aliases, shelf, kohya, key, word)}
    if callable(default) and default is not REQUIRED:
        return dataclasses.field(default_factory=default, kw_only=True, metadata=metadata)
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


class Value(ABC):
    """A type with its own one-line form in a document: a duration, a size, a reference to a stage."""

    value_kind: ClassVar[ValueKind] = "value"

    @classmethod
    @abstractmethod
    def parse(cls, value: object, folder: Path) -> object:
        """Return the object for a document's plain value; relative paths start at `folder`. Raises ValueError."""

    @abstractmethod
    def plain(self) -> object:
        """Return the document's form: `parse(x.plain(), folder) == x`."""

    @classmethod
    @abstractmethod
    def schema(cls) -> JsonObject:
        """Return the JSON Schema of the plain form."""


class Spec:
    """Base of every object that is described by `param()` fields. Subclasses are `@dataclass(frozen=True)`."""

    registry: ClassVar[Registry[Any] | None] = None
    tag: ClassVar[str] = "type"
    stored_name: ClassVar[str] = "Spec"
    """What saved ComfyUI graphs know the class by: its name, or the first that it had."""

    def __init_subclass__(cls, contract: str = "", stored_name: str = "", **keywords: object) -> None:
        """`class Adapter(Spec, contract="type")` declares a contract: the union over the package it is written in.

        A class that gets another name keeps the old one where users have it stored: `class New(Spec, stored_name="Old")`.
        """
        super().__init_subclass__(**keywords)
        cls.stored_name = stored_name or cls.__name__
        if contract:
            cls.tag = contract
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


def registry_of(contract: type[Spec]) -> Registry[Any]:
    """Return the registry of a contract."""
    assert contract.registry is not None, f"{contract.__name__} is not a contract"
    return contract.registry


def sentence(help: str) -> str:
    """A knob's help as a sentence: capital letter, full stop."""
    return f"{help[:1].upper()}{help[1:]}." if help and not help.endswith(".") else help
