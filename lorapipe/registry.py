"""Registries of implementations: a file's name is the registered name.

A registry is a package folder: the file `lorapipe/training/adapters/locon.py` defines the adapter `locon`.
Installed packages may add more through an entry point, whose group is the registry's id (`lorapipe.training.adapters`).
Listing names reads the folder and imports nothing; a file is imported on first use, and must define exactly one subclass of
the package's contract.

Moves and renames do not invalidate stored results. A renamed file keeps its old name for old documents and content keys:
`RENAMED = {"old": "new"}` in the package's `__init__`. A moved package keeps its id: `MOVED` here.
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
"""Moved packages: the id in stored results and entry points → the package where the files are now."""


class Registry(Generic[Contract]):
    """The implementations of `contract`, found as files in `package`.

    `id` is the registry's name in stored results and the group of entry points: the package's first name, which stays when
    the package moves.
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
        """Return the registry with an id, importing its package if necessary. `KeyError` if there is none."""
        if id not in cls._by_id:
            with suppress(ImportError):
                importlib.import_module(MOVED.get(id, id))
        return cls._by_id[id]

    @property
    def kind(self) -> str:
        """The noun for an entry in messages: `adapter` for `lorapipe.training.adapters`."""
        return self.contract.__name__.lower()

    def names(self) -> list[str]:
        """Return all registered names, sorted; nothing is imported."""
        return sorted({*self._files(), *self._entry_points()})

    @property
    def renamed(self) -> dict[str, str]:
        """Names in earlier releases → present names."""
        return dict(getattr(sys.modules.get(self.package), "RENAMED", {}))

    def __contains__(self, name: object) -> bool:
        """Whether a name is registered. Entry points are read only if the folder does not have it."""
        return name in self._found or name in self._files() or name in self.renamed or name in self._entry_points()

    def get(self, name: str) -> type[Contract]:
        """Return the class registered as `name`. `InputError`, with a similar name, if there is none."""
        if name not in self._found:
            self._found[name] = self._load(self.renamed.get(name, name))
        return self._found[name]

    def name_of(self, cls: type[Contract]) -> str:
        """Return the registered name of a class that `get` returned."""
        name = self._names.get(cls)
        if name is None:
            package, _, name = cls.__module__.rpartition(".")
            if package != self.package:
                value = f"{cls.__module__}:{cls.__qualname__}"
                name = next(name for name, target in self._entry_points().items() if target == value)
            self._names[cls] = name
        return name

    def key_of(self, cls: type[Contract]) -> str:
        """Return a class's name in content keys: its first name."""
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


def has_entry_points() -> bool:
    """Whether an installed package adds an implementation to any registry."""
    return bool(_entry_points())


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
