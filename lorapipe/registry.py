"""A file name is a registered name.

A registry is a package folder: `lorapipe/training/adapters/locon.py` is the adapter `locon`, because the file is there.
Installed packages may add more through an entry point, whose group is the registry's id (`lorapipe.training.adapters`).
Listing names reads the folder and imports nothing; a file is imported when its name is asked for, and must define exactly
one subclass of the package's contract.

Neither a move nor a new name voids what users have stored. A file that gets another name keeps the old one for old
documents, and for content keys: `RENAMED = {"old": "new"}` in the package's `__init__`. A package that moves keeps its id:
`MOVED` here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Generic, TypeVar

from lorapipe.errors import InputError, near_miss

Contract = TypeVar("Contract")

MOVED = {
    "lorapipe.training.families": "lorapipe.models",
    "lorapipe.pipeline.launchers": "lorapipe.pipeline.execution.launchers",
}
"""Packages that have moved: the id that stored results and entry points know → the package where the files are now."""


class Registry(Generic[Contract]):
    """The implementations of `contract`, found as files in `package`.

    `id` names the registry in stored results and as the group of entry points. It is the package's name at first, and stays
    when the package moves.
    """

    _by_id: ClassVar[dict[str, Registry[object]]] = {}

    def __init__(self, package: str, contract: type[Contract]) -> None:
        self.package = package
        self.id = next((id for id, now in MOVED.items() if now == package), package)
        self.contract = contract
        self._by_id[self.id] = self  # type: ignore[assignment]  # of whatever contract
        self._found: dict[str, type[Contract]] = {}
        self._names: dict[type[Contract], str] = {}

    @classmethod
    def of_id(cls, id: str) -> Registry[object]:
        """The registry that stored results know by this id, imported if need be; `KeyError` where there is none."""
        if id not in cls._by_id:
            with suppress(ImportError):
                importlib.import_module(MOVED.get(id, id))
        return cls._by_id[id]

    @property
    def kind(self) -> str:
        """What one entry is called in messages: `lorapipe.training.adapters` holds things called `adapter`."""
        return self.contract.__name__.lower()

    def names(self) -> list[str]:
        """Every registered name, sorted; nothing is imported."""
        return sorted({*self._files(), *self._entry_points()})

    @property
    def renamed(self) -> dict[str, str]:
        """Names of earlier releases, with those that they have now."""
        return dict(getattr(sys.modules.get(self.package), "RENAMED", {}))

    def __contains__(self, name: object) -> bool:
        """Whether a name is registered. Other packages are looked through only where the folder does not have it."""
        return name in self._found or name in self._files() or name in self.renamed or name in self._entry_points()

    def get(self, name: str) -> type[Contract]:
        """The class registered as `name`; an unknown name is an `InputError` with the near miss."""
        if name not in self._found:
            self._found[name] = self._load(self.renamed.get(name, name))
        return self._found[name]

    def name_of(self, cls: type[Contract]) -> str:
        """The registered name of a class that `get` returned."""
        name = self._names.get(cls)
        if name is None:
            package, _, name = cls.__module__.rpartition(".")
            if package != self.package:
                value = f"{cls.__module__}:{cls.__qualname__}"
                name = next(name for name, target in self._entry_points().items() if target == value)
            self._names[cls] = name
        return name

    def key_of(self, cls: type[Contract]) -> str:
        """The name that content keys hold for a class: the first that it ever had."""
        name = self.name_of(cls)
        return next((old for old, new in self.renamed.items() if new == name), name)

    def _load(self, name: str) -> type[Contract]:
        if name in self._files():
            return self._only_subclass(importlib.import_module(f"{self.package}.{name}"))
        if name in self._entry_points():
            module, _, attribute = self._entry_points()[name].partition(":")
            return self._check(getattr(importlib.import_module(module), attribute), name)
        raise InputError(f"there is no {self.kind} {name!r}.", cure=near_miss(name, self.names()))

    def _files(self) -> frozenset[str]:
        return _modules_of(self.package)

    def _entry_points(self) -> dict[str, str]:
        return _entry_points().get(self.id, {})

    def _only_subclass(self, module: ModuleType) -> type[Contract]:
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, self.contract) and value.__module__ == module.__name__
        ]
        leaves = [cls for cls in own if not any(other is not cls and issubclass(other, cls) for other in own)]
        if len(leaves) != 1:
            raise TypeError(f"{module.__name__} must define one {self.contract.__name__}, not {len(leaves)}")
        return leaves[0]

    def _check(self, loaded: object, name: str) -> type[Contract]:
        if not (isinstance(loaded, type) and issubclass(loaded, self.contract)):
            raise TypeError(f"entry point {name} of {self.id} is not a {self.contract.__name__}")
        return loaded


@cache
def _modules_of(package: str) -> frozenset[str]:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = (file.stem for folder in folders for file in Path(folder).glob("*.py"))
    return frozenset(stem for stem in files if not stem.startswith("_"))


@cache
def _entry_points() -> dict[str, dict[str, str]]:
    """Return the entry points of installed packages: group → name → `module:class`.

    Read from `*.dist-info/entry_points.txt` directly: importlib.metadata takes longer to import than a pipeline with
    nothing to do takes in all.
    """
    found: dict[str, dict[str, str]] = {}
    for text in _entry_point_files():
        group: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.startswith("["):
                group = found.setdefault(line.strip("[]"), {})
            elif not line.startswith(("#", ";")):
                name, _, target = line.partition("=")
                group.setdefault(name.strip(), target.partition("[")[0].strip())  # [extras] are no part of it
    return found


def _entry_point_files() -> Iterator[str]:
    for folder in filter(Path.is_dir, map(Path, sys.path)):
        for file in sorted(folder.glob("*.dist-info/entry_points.txt")):
            text = file.read_text(encoding="utf-8", errors="replace")
            if "[lorapipe." in text:
                yield text
