"""Limits on size, complexity and loose types of the code; `python tools/code_measures.py` prints the present values."""

from __future__ import annotations

import code_measures
import pytest

LONGEST_FUNCTION = 60
"""Lines of a function: a screen."""
MOST_BRANCHES = 12
"""Cyclomatic complexity by radon's count; ruff's C901, which counts less, has the same limit."""
MOST_ANY = 12
"""Uses of `Any` per 1,000 lines."""
LONGEST_FILE = 400
"""Lines of a file; the aim is about 300."""


def test_functions_fit_a_screen() -> None:
    assert not [each for each in code_measures.functions() if each.lines > LONGEST_FUNCTION]


def test_files_are_read_in_one_go() -> None:
    assert not {name: lines for name, lines in code_measures.line_counts().items() if lines > LONGEST_FILE}


def test_a_function_has_few_branches() -> None:
    assert not [each for each in code_measures.functions() if each.complexity > MOST_BRANCHES]


def test_types_are_written_out() -> None:
    anys, lines = (sum(column) for column in zip(*code_measures.any_counts().values(), strict=True))
    assert 1000 * anys / lines <= MOST_ANY


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(): pass", 1),
        ("def f(a): return 1 if a else 2", 2),
        ("def f(a):\n if a and a > 1 or a < 0: pass\n elif a: pass", 5),
        ("def f(a): return [b for b in a if b]", 3),
        ("def f(a):\n for b in a: pass\n else: pass", 3),
        ("def f():\n try: pass\n except A: pass\n except B: pass\n else: pass", 4),
        ("def f(a):\n match a:\n  case 1: pass\n  case 2: pass\n  case _: pass", 3),
        ("def f(a):\n def g(b): return 1 if b else 2", 1),
    ],
)
def test_complexity_is_counted_as_radon_does(code: str, expected: int) -> None:
    assert code_measures.complexity(code_measures.ast.parse(code).body[0]) == expected


def test_imports_count_wherever_they_stand() -> None:
    """Also inside functions and for type checkers: a reader has to know them, too."""
    graph = code_measures.import_graph()
    assert "lorapipe.errors" in graph["lorapipe.cli"]
    assert not [module for module, imported in graph.items() if module in imported]
