"""Arguments of a library's class, read from its source: importing the class would import torch."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path


@cache
def arguments_of(implementation: str) -> frozenset[str]:
    """Return the argument names of `package.module:Class`; empty where its source is not installed."""
    return frozenset(defaults_of(implementation))


@cache
def defaults_of(implementation: str) -> dict[str, object]:
    """Return the arguments of `package.module:Class` with their defaults; None for a default that is no plain value."""
    module, _, name = implementation.partition(":")
    file = _source(module)
    if file is None:
        return {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node)
    return {}


def unlike(value: object, default: object) -> str:
    """Say why a value's type differs from its default's; empty if it does not, or if the default is None."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else f"wants true or false here, not {value!r}."
    if isinstance(default, (int, float)):
        return "" if number else f"wants a number here, as {default}, not {value!r}."
    if isinstance(default, tuple):
        alike = isinstance(value, (list, tuple)) and len(value) == len(default)
        return "" if alike else f"wants {len(default)} values here, as {[*default]}, not {value!r}."
    if isinstance(default, str):
        return "" if isinstance(value, str) else f"wants text here, as {default!r}, not {value!r}."
    return ""


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None


def _source(module: str) -> Path | None:
    package, _, rest = module.partition(".")
    folder = package_folder(package)
    if folder is None:
        return None
    file = folder.joinpath(*rest.split(".")) if rest else folder
    found = [each for each in (file.with_suffix(".py"), file / "__init__.py") if each.is_file()]
    return found[0] if found else None


def _of_class(node: ast.ClassDef) -> dict[str, object]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            plain = item.args.args[1:]
            padding: list[ast.expr | None] = [None] * (len(plain) - len(item.args.defaults))
            defaults = [*padding, *item.args.defaults][-len(plain) :] if plain else []
            pairs = [*zip(plain, defaults, strict=True), *zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True)]
            return {argument.arg: _value(default) for argument, default in pairs}
    return {}


def _value(node: ast.expr | None) -> object:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
