"""Find the family of a checkpoint by its content, for commands that are given only a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorapipe import pocket
from lorapipe.errors import InputError, Problem
from lorapipe.models import Checkpoint, Family
from lorapipe.models._folder_detection import of_folder
from lorapipe.models._model_detection import Kind, of_keys
from lorapipe.models._tensor_index import keys_of


def families() -> Mapping[str, type[Family]]:
    """Return the registered families by name."""
    contract: type[Family] = Family  # type: ignore[type-abstract]  # the registry finds the files
    assert contract.registry is not None
    return {name: contract.registry.get(name) for name in contract.registry.names()}


def kind_of(path: Path) -> Kind:
    """Return the kind of model of a file or folder. `InputError` where it cannot be read."""
    return of_folder(path) if path.is_dir() else of_keys(keys_of(path))


def detected_base(path: Path | str) -> Family:
    """Return the base in a file or a diffusers folder; `pocket` is the bundled one.

    `InputError` says what the file is, if it is none: a LoRA, a VAE, a model of another architecture.
    """
    found = pocket.BASE if str(path) == "pocket" else Path(path)
    kind = kind_of(found)
    cls = _family(kind)
    if cls is None:
        raise InputError(f"is {kind.what}.", where=str(path), cure=kind.cure or "Name a base model.")
    return cls(checkpoint=Checkpoint(found))


def is_folder(path: Path | str) -> bool:
    """Return whether a base is a folder, as the bundled one is."""
    return str(path) == "pocket" or Path(path).is_dir()


def is_base(path: Path | str) -> bool:
    """Return whether a file or folder is a base of a registered family. `InputError` where it cannot be read."""
    return str(path) == "pocket" or _family(kind_of(Path(path))) is not None


def are_bases(paths: Sequence[str]) -> list[bool]:
    """Return `is_base` of each path. `InputError` with the problems of all that cannot be read."""
    found, problems = list[bool](), list[Problem]()
    for path in paths:
        try:
            found.append(is_base(path))
        except InputError as error:
            problems += [replace(problem, where=problem.where or path) for problem in error.problems]
    if problems:
        raise InputError(problems)
    return found


def _family(kind: Kind) -> type[Family] | None:
    for cls in families().values():
        own = str(getattr(cls, "kind", ""))
        if own and kind.what in (own, own.replace("checkpoint", "folder")):
            return cls
    return None
