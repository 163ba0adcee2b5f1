"""A pipeline that is being written: values at their places, each with the comment that says where it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lorapipe.errors import UNSEEN
from lorapipe.pipeline.yaml_text import flow

WIDTH = 56
"""Column of the comments, where a line is not longer."""

Tree = dict[str, "Tree | Leaf"]


class Leaf:
    """A value with its comment."""

    def __init__(self, value: object, comment: str = "") -> None:
        self.value = value
        self.comment = re.sub(UNSEEN, "?", " ".join(comment.split())).lstrip("; ")


class Draft:
    """A pipeline's variables and stages."""

    def __init__(self) -> None:
        self.head: list[str] = []
        self.vars: Tree = {}
        self.stages: Tree = {}
        self.tail: list[str] = []

    def put(self, path: str, value: object, comment: str = "") -> str:
        """Write a value at `stage.knob.name`; return the place. A contract's kind is its `type`."""
        *folders, name = path.split(".")
        tree = self.stages
        for folder in folders:
            below = tree.get(folder)
            if isinstance(below, Leaf):  # a kind without settings
                below = {"type": below}
            if below is None:
                below = {}
            tree[folder] = below
            tree = below
        tree[name] = Leaf(value, comment)
        return path

    def get(self, path: str) -> object:
        """Return the value at a place; None if there is none."""
        found: Tree | Leaf | None = self.stages
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found.value if isinstance(found, Leaf) else None

    def drop(self, path: str) -> None:
        """Take a value away."""
        *folders, name = path.split(".")
        tree: Tree | Leaf | None = self.stages
        for folder in folders:
            tree = tree.get(folder) if isinstance(tree, dict) else None
        if isinstance(tree, dict):
            tree.pop(name, None)

    def variable(self, name: str, value: str, comment: str = "") -> str:
        """Declare a variable, and return its use. A second one of the same name gets a number."""
        known = self.vars.get(name)
        number = 2
        unique = name
        while isinstance(known, Leaf) and known.value != value:
            unique = f"{name}{number}"
            known, number = self.vars.get(unique), number + 1
        self.vars.setdefault(unique, Leaf(value, comment))
        return f"${{{unique}}}"

    def last(self, stage: str, first: Sequence[str]) -> None:
        """Move a stage to the end, and the settings `first` to its beginning."""
        tree = self.stages.pop(stage)
        assert isinstance(tree, dict)
        names = [name for name in first if name in tree]
        self.stages[stage] = {name: tree[name] for name in (*names, *(name for name in tree if name not in names))}

    def text(self) -> str:
        """Return the pipeline as YAML."""
        lines = [*(re.sub(UNSEEN, "?", f"# {line}").rstrip() for line in self.head), ""]
        if self.vars:
            lines += ["vars:", *_lines(self.vars, "  "), ""]
        lines.append("stages:")
        for place, (name, stage) in enumerate(self.stages.items()):
            lines += [""] if place else []
            lines += [f"  {name}:", *_lines(stage, "    ")] if isinstance(stage, dict) else []
        lines += ["", *(f"# {line}".rstrip() for line in self.tail)] if self.tail else []
        return "\n".join(lines) + "\n"

    def plain(self) -> dict[str, object]:
        """Return the stages as plain data."""
        return {name: _plain(tree) for name, tree in self.stages.items()}


def _plain(tree: Tree | Leaf) -> object:
    return tree.value if isinstance(tree, Leaf) else {name: _plain(below) for name, below in tree.items()}


def _lines(tree: Tree, indent: str) -> Iterator[str]:
    for name, below in tree.items():
        if isinstance(below, Leaf):
            line = f"{indent}{key(name)}: {scalar(below.value)}"
            yield f"{line:<{WIDTH}}  # {below.comment}" if below.comment else line
        else:
            yield f"{indent}{key(name)}:"
            yield from _lines(below, indent + "  ")


def key(name: str) -> str:
    """Return a name as a key of a mapping."""
    return flow(name)


def scalar(value: object) -> str:
    """Return a value as YAML on one line; the use of a variable alone needs no quotes."""
    is_variable = isinstance(value, str) and re.fullmatch(r"\$\{\w+\}[\w./-]*", value)
    return str(value) if is_variable else flow(value)
