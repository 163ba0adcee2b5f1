"""The base classes of this package: `Param` (of `param()`), `Value` and `Spec`."""

from __future__ import annotations

import dataclasses
import math
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from lorapipe.errors import Problem
from lorapipe.limits import LARGEST_NUMBER
from lorapipe.registry import Registry

REQUIRED: Any = dataclasses.MISSING
"""Marks a knob without a default, which a document must set."""
JsonObject = dict[str, Any]
"""A JSON object: the document form of a spec, or a JSON Schema."""
ValueKind = Literal["value", "source", "destination", "reference"]
"""The kinds of `Value`: a plain value, a path to read, a path to write, a reference to a stage's result."""


class Param(NamedTuple):
    """The declaration of one knob: the arguments of `param()`."""

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
    rest: str = ""
    rare: bool = False
    same_result: tuple[object, ...] = ()

    @property
    def told(self) -> str:
        """The help as sentences, with kohya's names of the knob."""
        rarely = "Rarely changed." if self.rare else ""
        kohya = f"kohya: {', '.join(self.kohya)}." if self.kohya else ""
        return " ".join(filter(None, [sentence(self.help), rarely, kohya]))

    def bounds(self) -> dict[str, float]:
        """Return the limits under their JSON Schema names."""
        names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
        return {schema: limit for ours, schema in names.items() if (limit := getattr(self, ours)) is not None}

    def complaint(self, value: float) -> str | None:
        """Return why a number is out of range, or None."""
        if not math.isfinite(value):
            return f"{value} is not a finite number."
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"{value:.3g} is larger than any number that is allowed here."
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
    rest: str = "",
    rare: bool = False,
    same_result: tuple[object, ...] = (),
) -> Any:
    """Declare a knob: its default, a sentence a user reads, and its limits.

    `default` may be a function of no arguments (`Adapter.default("lora")`), called for each spec. `content=False` means
    that the knob does not change the result (a device, a log folder): it is not part of the content key. `aliases` are
    its names in earlier releases, which old documents and graphs may still use. `shelf` names the user's folder that a
    path is usually in: `pictures`, or a kind of model (`checkpoints`, `vae`). `kohya` are the equivalent flags of kohya's
    sd-scripts: users who write or search for them find this knob. `word` is a text that may stand in place of a list of
    texts, which then contains that text alone. `rest` names a knob with a list of the same type: a list may be written in
    place of this knob's one value, and all but its first entry are then that knob's. `rare` knobs are rarely changed: forms
    and references show them after the others, ComfyUI as advanced inputs. `same_result` are values with the result of the
    default: like that, they are no part of the content key.

    A renamed knob keeps its first name as `key`: content keys contain that name, and it is an alias too. So renaming a
    knob does not invalidate stored results.
    """
    if key and key not in aliases:
        aliases = (*aliases, key)
    declared = Param(
        help, ge, gt, le, lt, min_items, content, aliases, shelf, kohya, key, word, rest, rare, same_result
    )
    metadata = {"param": declared}
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
    """Base class of all objects whose fields are declared with `param()`. Subclasses are `@dataclass(frozen=True)`."""

    registry: ClassVar[Registry[Any] | None] = None
    tag: ClassVar[str] = "type"
    withdrawn: ClassVar[Mapping[str, str]] = {}
    """Settings of earlier releases that were taken away → what to do instead. They may still be given as off."""
    search_words: ClassVar[tuple[str, ...]] = ()
    """What else a user may search for to find it, besides its name: `dreambooth`, `textual inversion`."""
    stored_name: ClassVar[str] = "Spec"
    """The class's name in saved ComfyUI graphs. It stays when the class is renamed."""

    def __init_subclass__(cls, contract: str = "", stored_name: str = "", **keywords: object) -> None:
        """Register a subclass. `class Adapter(Spec, contract="type")` declares a contract: the union over its package.

        A renamed class keeps its old name in stored data: `class New(Spec, stored_name="Old")`.
        """
        super().__init_subclass__(**keywords)
        cls.stored_name = stored_name or cls.__name__
        if contract:
            cls.tag = contract
            cls.registry = Registry(cls.__module__, cls)

    @classmethod
    def default(cls, name: str, **knobs: Any) -> Callable[[], Self]:
        """Return a default factory for a field of this contract: the implementation `name`, imported on first use."""
        registry = cls.registry
        assert registry is not None, f"{cls.__name__} is not a contract"
        return lambda: typing.cast(Self, registry.get(name)(**knobs))

    @property
    def name(self) -> str:
        """The registered name: that of its file."""
        assert self.registry is not None, f"{type(self).__name__} has no registry"
        return self.registry.name_of(type(self))

    @property
    def key_name(self) -> str:
        """The name in content keys: the first name of its file."""
        assert self.registry is not None, f"{type(self).__name__} has no registry"
        return self.registry.key_of(type(self))

    def problems(self) -> Iterable[Problem]:
        """Return problems of settings that are valid alone but wrong together; `path` names the field to change."""
        return ()


def registry_of(contract: type[Spec]) -> Registry[Any]:
    """Return the registry of a contract."""
    assert contract.registry is not None, f"{contract.__name__} is not a contract"
    return contract.registry


def sentence(help: str) -> str:
    """Turn a knob's help into a sentence: capital letter, full stop."""
    if not help or help.endswith("."):
        return help
    return f"{help[:1].upper() if help[:1].isascii() else help[:1]}{help[1:]}."  # ε is no E
