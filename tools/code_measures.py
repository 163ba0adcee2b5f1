"""Measures the code: sizes, complexity, types, import cycles, mentions of the U-Net outside models.

    python tools/code_measures.py [FOLDER]

FOLDER is a checkout (this one if left out). tests/contracts/test_code_limits.py holds the limits; this prints all figures.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PACKAGES = ("lorapipe", "comfy_nodes")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DENOISER_FILES = ("lorapipe/models/", "lorapipe/pocket/", "lorapipe/metadata.py")
"""Files that may say "unet": models, and kohya's metadata."""


@dataclass(frozen=True)
class Function:
    """A function's size: `lines` from `def` to its end, and radon's complexity."""

    file: str
    name: str
    lines: int
    complexity: int
    parameters: int


def files(root: Path = ROOT) -> dict[str, ast.Module]:
    """Return the syntax tree of every source file, by its path below `root`."""
    return _parsed(root)


@cache
def _parsed(root: Path) -> dict[str, ast.Module]:
    paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return {path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def line_counts(root: Path = ROOT) -> dict[str, int]:
    """Count the lines of every source file."""
    return {name: len((root / name).read_text(encoding="utf-8").splitlines()) for name in files(root)}


def functions(root: Path = ROOT) -> list[Function]:
    """Return all functions and methods, nested ones included."""
    return [
        Function(file, node.name, _length(node), complexity(node), _parameter_count(node.args))
        for file, tree in files(root).items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    ]


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _parameter_count(args: ast.arguments) -> int:
    named = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return sum(1 for arg in named if arg.arg not in ("self", "cls"))


def complexity(node: ast.AST) -> int:
    """Compute cyclomatic complexity by radon's rules: 1 plus the number of branches, without nested functions."""
    total, waiting = 1, list(ast.iter_child_nodes(node))
    while waiting:
        each = waiting.pop()
        if isinstance(each, FUNCTIONS):
            continue
        total += _branches(each)
        waiting += ast.iter_child_nodes(each)
    return total


def _branches(node: ast.AST) -> int:
    match node:
        case ast.If() | ast.IfExp() | ast.Assert():
            return 1
        case ast.For() | ast.AsyncFor() | ast.While():
            return 1 + bool(node.orelse)
        case ast.Try() | ast.TryStar():
            return len(node.handlers) + bool(node.orelse)
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case ast.Match():
            return sum(1 for case in node.cases if not _is_wildcard(case.pattern))
        case _:
            return 0


def _is_wildcard(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def any_counts(root: Path = ROOT) -> dict[str, tuple[int, int]]:
    """Count uses of `Any`, imports included, and lines, by package."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    lines = line_counts(root)
    for name, tree in files(root).items():
        row = found[package_of(name)]
        row[0] += sum(1 for node in ast.walk(tree) if "Any" in (getattr(node, "id", ""), getattr(node, "name", "")))
        row[1] += lines[name]
    return {package: (anys, count) for package, (anys, count) in sorted(found.items())}


def package_of(name: str) -> str:
    """Return the package of a file: `lorapipe.training.data` for `lorapipe/training/data/scan.py`."""
    return ".".join(Path(name).parent.parts)


def module_name(name: str) -> str:
    """Return the dotted name of a source file."""
    return ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")


def import_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Return each module's imports of our modules: at the top, inside functions, and for type checkers alone."""
    modules = {module_name(name): tree for name, tree in files(root).items()}
    packages = {module_name(name) for name in files(root) if name.endswith("__init__.py")}
    graph = {}
    for module, tree in modules.items():
        package = module if module in packages else module.rpartition(".")[0]
        graph[module] = {name for name in _imported(tree, package, modules) if name in modules} - {module}
    return graph


def _imported(tree: ast.Module, package: str, modules: Mapping[str, object]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = ".".join(parents[: len(parents) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (above, node.module) if part)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in modules else module


def import_cycles(root: Path = ROOT) -> list[list[str]]:
    """Return the strongly connected components of two or more modules."""
    graph = import_graph(root)
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {tuple(sorted(other for other in reach[module] if module in reach[other]) or [module]) for module in graph}
    return sorted(list(group) for group in groups if len(group) > 1)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def denoiser_mentions(root: Path = ROOT) -> list[str]:
    """Return files outside models and kohya's metadata that contain `unet` as a string or attribute."""
    return [
        name
        for name, tree in files(root).items()
        if not name.startswith(DENOISER_FILES) and any(_is_unet(node) for node in ast.walk(tree))
    ]


def _is_unet(node: ast.AST) -> bool:
    return (isinstance(node, ast.Constant) and node.value == "unet") or (
        isinstance(node, ast.Attribute) and node.attr == "unet"
    )


def referring_docstrings(root: Path = ROOT) -> Counter[str]:
    """Count docstrings that only say `See X.y`, by file: methods inherit their docstring."""
    return Counter(
        name
        for name, tree in files(root).items()
        for node in ast.walk(tree)
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and (ast.get_docstring(node) or "").startswith("See ")
    )


def report(root: Path) -> Iterator[str]:
    """Yield the lines to print."""
    sizes, every, anys = line_counts(root), functions(root), any_counts(root)
    lengths = sorted(function.lines for function in every)
    yield f"files {len(sizes)}, lines {sum(sizes.values())}"
    yield f"file: median {median(sizes.values()):.0f}, p90 {_at(sorted(sizes.values()), 0.9)}, max {_worst(sizes)}"
    yield f"function: median {median(lengths):.0f}, p99 {_at(lengths, 0.99)}, max {lengths[-1]}"
    yield f"functions over 60 lines: {sum(length > 60 for length in lengths)} of {len(lengths)}"
    yield f"functions with more than 6 parameters: {sum(function.parameters > 6 for function in every)}"
    complicated = sorted((each for each in every if each.complexity > 12), key=lambda each: -each.complexity)
    yield f"functions with a complexity over 12: {len(complicated)}"
    yield from (f"    {each.complexity:3} {each.name} ({each.file})" for each in complicated)
    total = sum(count for count, _ in anys.values())
    yield f"`Any` per 1,000 lines: {1000 * total / sum(sizes.values()):.1f} ({total})"
    yield from (f"    {1000 * count / lines:5.1f} {name} ({count})" for name, (count, lines) in anys.items() if count)
    cycles = import_cycles(root)
    yield f"import cycles, with those of type checkers: {len(cycles)}"
    yield from (f"    {' '.join(cycle)}" for cycle in cycles)
    mentions = denoiser_mentions(root)
    yield f"files outside models that speak of a `unet`: {len(mentions)}"
    yield from (f"    {name}" for name in mentions)
    yield f"docstrings that say no more than `See X.y`: {referring_docstrings(root).total()}"


def _at(values: list[int], share: float) -> int:
    return values[min(int(share * len(values)), len(values) - 1)]


def _worst(sizes: Mapping[str, int]) -> str:
    name = max(sizes, key=sizes.__getitem__)
    return f"{sizes[name]} ({name})"


if __name__ == "__main__":
    print(*report(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT), sep="\n")
