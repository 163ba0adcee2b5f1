"""Nodes that join lorapipe to the rest of a ComfyUI graph: what is loaded, sampled and saved by other nodes.

To add one, create a file here with

    NODE       its description, of the role `graph`
    execute    async def execute(call: GraphCall) -> Shown

Import ComfyUI and torch inside functions: menus and help pages are made from descriptions without them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from ..graph_call import GraphCall, Shown
from ..node import Node


@cache
def _modules() -> dict[str, ModuleType]:
    """Return the files here by the ids of their nodes."""
    names = sorted(each.name for each in pkgutil.iter_modules(__path__))
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {module.NODE.id: module for module in found}


def descriptions() -> Iterator[Node]:
    """Yield the descriptions of all nodes here, by their files' names."""
    yield from (module.NODE for module in _modules().values())


async def execute(node: Node, call: GraphCall) -> Shown:
    """Execute a node."""
    shown = await _modules()[node.id].execute(call)
    assert isinstance(shown, Shown)
    return shown
