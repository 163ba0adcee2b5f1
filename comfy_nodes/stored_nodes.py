"""The descriptions of all nodes as a file, `nodes.json`, so that ComfyUI starts without importing any spec.

`lorapipe schema --write` writes it from `describe`; a test compares them. Where lorapipe has other implementations than when
it was written (a file of one's own, or a package with entry points), the nodes are described anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import lorapipe
from lorapipe.registry import has_entry_points

from .node import Input, Node, Output
from .widgets import ABSENT, Widget

FILE = Path(__file__).with_name("nodes.json")


def nodes() -> dict[str, Node]:
    """Return all nodes by id, in the order of a menu."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    if not has_entry_points() and all(_files(package) == names for package, names in stored["files"].items()):
        return {each["id"]: _node(each) for each in stored["nodes"]}
    from . import describe

    return describe.nodes()


def text() -> str:
    """Return the text of the file."""
    from lorapipe.pipeline.contracts import contracts
    from lorapipe.spec import registry_of

    from . import describe

    packages = [registry_of(contract).package for contract in contracts().values()]
    files = {package: _files(package) for package in sorted(packages)}
    lines = ",\n".join(json.dumps(_without_defaults(each), ensure_ascii=False) for each in describe.nodes().values())
    return f'{{"files": {json.dumps(files)},\n"nodes": [\n{lines}\n]}}\n'


def _files(package: str) -> list[str]:
    """Return the names of the implementations in a package of lorapipe's; it is not imported."""
    folder = Path(lorapipe.__path__[0], *package.split(".")[1:])
    return sorted(file.stem for file in folder.glob("*.py") if not file.name.startswith("_"))


def _without_defaults(one: Node | Input | Output | Widget) -> dict[str, Any]:
    """Return a description as JSON, without what is at its default; a widget's `ABSENT` is left out too."""
    found: dict[str, Any] = {}
    for each in fields(one):
        value = getattr(one, each.name)
        if value is ABSENT or (each.default is not MISSING and value == each.default):
            continue
        if isinstance(value, Widget):
            value = _without_defaults(value)
        elif each.name in ("inputs", "outputs"):
            value = [_without_defaults(item) for item in value]
        found[each.name] = value
    return found


def _node(stored: Mapping[str, Any]) -> Node:
    inputs, outputs = map(_input, stored["inputs"]), map(_output, stored["outputs"])
    return Node(**{**_with_tuples(stored), "inputs": tuple(inputs), "outputs": tuple(outputs)})


def _input(stored: Mapping[str, Any]) -> Input:
    widget = stored.get("widget")
    made = (
        None if widget is None else Widget(**{"default": ABSENT, **widget, "choices": tuple(widget.get("choices", ()))})
    )
    return Input(**{**_with_tuples(stored), "widget": made})


def _output(stored: Mapping[str, Any]) -> Output:
    return Output(**_with_tuples(stored))


def _with_tuples(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
