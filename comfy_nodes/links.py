"""The documents of a node's settings, and the values of its outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.stage_options import NAMES as OPTIONS
from lorapipe.stages import Stage

from .link_values import RUNNING, STAGE_NAME, WAIT_FOR, LinkValue, is_link_value, merged, value_of
from .node import OURS, Input, Node
from .widgets import ABSENT


def settings(node: Node, given: Mapping[str, object], found: Callable[[Input, str], str]) -> dict[str, object]:
    """Return the document of a node's own knobs. `found` resolves the text of a path's widget to a path.

    `InputError` with all problems.
    """
    document, problems = dict[str, Any](), list[Problem]()
    for each in node.inputs:
        value = None if each.name in (STAGE_NAME, RUNNING, WAIT_FOR) else _given(node, each, given)
        if value is None:
            continue
        try:
            read = _read(each, value, found)
        except InputError as error:
            problems += [Problem(problem.what, cure=problem.cure, path=(each.name,)) for problem in error.problems]
            continue
        if read is not ABSENT:
            document[each.knob or each.name] = read
    if problems:
        raise InputError(problems)
    return document


def _given(node: Node, each: Input, given: Mapping[str, object]) -> object:
    """Return what an input holds under its name or a former one; None if nothing, or if its socket is linked instead."""
    linked = node.socket_for(each.name)
    if linked is not None and given.get(linked.name) is not None:
        return None
    return next((given[name] for name in (each.name, *each.aliases) if given.get(name) is not None), None)


def _read(each: Input, value: object, found: Callable[[Input, str], str]) -> Any:
    """Return the document value of an input; `ABSENT` if its widget is at the default."""
    if each.widget is None:
        return value_of(value)
    read = each.widget.from_widget(value)
    if read is ABSENT or not each.path or read in each.widget.choices:
        return read
    return found(each, str(read))


def link_values(
    node: Node, given: Mapping[str, object], name: str, found: Callable[[Input, str], str]
) -> dict[str, LinkValue]:
    """Return the values of a node's outputs by name. `name` is the stage's name."""
    stages = merged(value for value in given.values() if is_link_value(value))
    document = settings(node, given, found)
    if node.role == "stage":
        running = value_of(given[RUNNING]) if given.get(RUNNING) else {}
        options = {key: value for key, value in running.items() if key in OPTIONS}
        stages = merged([{"stages": stages}, {"stages": {name: {Stage.tag: node.name, **document, **options}}}])
        return {
            output.name: {"stages": stages, "value": ".".join([f"${name}", *output.fields])}
            for output in node.outputs
            if output.socket.startswith(OURS)
        }
    value = _own_value(node, document)
    return {output.name: {"stages": stages, "value": value} for output in node.outputs}


def _own_value(node: Node, document: dict[str, Any]) -> object:
    """Return the document of a small node: for a list its items, for a union with the implementation's name."""
    if node.role == "list":
        items = [document[each.name] for each in node.inputs if each.name in document and each.name != "more"]
        return [*items, *document.get("more", [])]
    if node.role == "union":
        assert node.spec is not None
        return {node.spec.tag: node.name, **document}
    return document


def stage_name(node: Node, given: Mapping[str, object], unique_id: str) -> str:
    """Return the name of a node's stage: the user's, or else its kind and the node's number."""
    chosen = str(given.get(STAGE_NAME) or "").strip()
    return chosen or f"{node.name}-{re.sub(r'[^0-9A-Za-z_-]', '-', unique_id)}"
