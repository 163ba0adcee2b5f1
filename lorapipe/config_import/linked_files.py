"""Files that options name, `--config_file` and `--dataset_config`: read, and merged as sd-scripts does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lorapipe.config_import.configuration import Configuration, Option, Outcome, Remark
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.source_file import SourceFile
from lorapipe.config_import.user_paths import found
from lorapipe.errors import InputError

LINKS = ("config_file", "dataset_config")


def merged(first: Configuration, others: Mapping[Path, Configuration], folder: Path) -> Configuration:
    """Return a configuration with those of the files that it names, and of the further files that were given.

    The command line counts before a configuration's file; a dataset's file gives the folders of pictures.
    """
    waiting = dict(others)
    for link in LINKS:
        for option in [each for each in first.options if each.name == link and isinstance(each.value, str)]:
            inner = _linked(option, waiting, folder)
            if inner is not None:
                _add(first, inner)
    for path, configuration in waiting.items():
        first.remarks.append(
            Remark(f"{path.name} is not named in the first file, and taken as a part of the same training")
        )
        _add(first, configuration)
    return first


def _linked(option: Option, waiting: dict[Path, Configuration], folder: Path) -> Configuration | None:
    """Return the configuration in the file that an option names: one that was given too, or one that is there."""
    name = re.split(r"[\\/]", str(option.value))[-1]
    endings = ("", ".toml")
    for path in waiting:
        if any(path.name.casefold() == f"{name}{ending}".casefold() for ending in endings):
            option.outcome = _outcome(path.name)
            return waiting.pop(path)
    for ending in endings:
        path_here = found(f"{option.value}{ending}", folder)
        if path_here is not None and path_here.is_file():
            source = SourceFile(path_here)
            option.outcome = _outcome(path_here.name)
            return Reader.registry.get("kohya_toml")().read(source)
    cure = f"Name it too: lorapipe import … {name}."
    raise InputError(f"{option.written} names {name}, which is not here.", where=option.place, cure=cure)


def _outcome(name: str) -> Outcome:
    return Outcome("translated", f"{name} is read too")


def _add(first: Configuration, inner: Configuration) -> None:
    """Add a configuration's options behind those that are there: the first of each name counts."""
    written = {option.name for option in first.options}
    for option in inner.options:
        if option.name in written and option.outcome is None:
            earlier = next(each for each in first.options if each.name == option.name)
            option.outcome = Outcome("no effect", f"{earlier.place} counts before it")
    first.options += inner.options
    first.subsets += inner.subsets
    first.remarks += inner.remarks
