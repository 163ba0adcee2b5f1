"""There are no import cycles, counting also imports for type checkers and inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

import pytest
from test_imports import MODULES

LEFT: tuple[frozenset[str], ...] = ()
"""Remaining cycles. None may be added."""


def imported(tree: ast.Module) -> set[str]:
    """Return all modules of lorapipe that a module imports, anywhere in its source."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = f"{'comfy_nodes.' if node.level else ''}{node.module or ''}".rstrip(".")
            inner = [f"{module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else module for name in inner}
    return found & MODULES.keys()


def cycles(graph: Mapping[str, Iterable[str]]) -> list[frozenset[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            place = stack.index(module)
            component = frozenset(stack[place:])
            del stack[place:]
            if len(component) > 1:
                found.append(component)

    for module in graph:
        if module not in index:
            visit(module)
    return found


def test_the_imports_form_no_cycle() -> None:
    graph = {name: imported(ast.parse(file.read_text("utf-8"))) - {name} for name, file in MODULES.items()}
    for cycle in cycles(graph):
        assert any(cycle <= left for left in LEFT), sorted(cycle)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": "b", "b": "c", "c": ""}, []),
        ({"a": "b", "b": "a", "c": "a"}, [frozenset("ab")]),
        ({"a": "bd", "b": "c", "c": "a", "d": "e", "e": "d"}, [frozenset("abc"), frozenset("de")]),
    ],
)
def test_a_cycle_is_noticed(graph: dict[str, str], found: list[frozenset[str]]) -> None:
    assert sorted(cycles(graph), key=sorted) == found
