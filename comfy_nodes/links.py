"""The values of a graph's links: small mappings of JSON types, `{"stages": {…}, "value": "$train"}`.

`stages` are the documents of all stages so far, as in a pipeline file; `value` is a reference to one of them, or the
document of a union, a group or a list. So a graph is a pipeline like any other, and its links contain no tensors and no
paths of a store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.stage_options import NAMES as OPTIONS
from lorapipe.stages import Stage

from .describe import NAMES, RUNNING, STAGE_NAME, Input, Node
from .widgets import ABSENT

LinkValue = dict[str, Any]


def settings(node: Node, given: Mapping[str, object], found: Callable[[Input, str], str]) -> dict[str, object]:
    """Return the document of a node's own knobs. `found` resolves the text of a path's widget to a path.

    `InputError` with all problems.
    """
    document, problems = dict[str, Any](), list[Problem]()
    for each in node.inputs:
        value = None if each.name in (STAGE_NAME, RUNNING) else _given(node, each, given)
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
            if output.name not in NAMES
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


def merged(given: Iterable[LinkValue]) -> dict[str, dict[str, Any]]:
    """Merge the stages of several links. `InputError` if two nodes have the same stage name but differ."""
    stages: dict[str, dict[str, Any]] = {}
    for value in given:
        for name, document in value["stages"].items():
            if stages.setdefault(name, document) != document:
                raise InputError(
                    f"two nodes make a stage called {name!r}.", cure=f"Give one of them another {STAGE_NAME}."
                )
    return stages


def is_link_value(value: object) -> TypeGuard[LinkValue]:
    """Whether this is a link value of a lorapipe node."""
    return isinstance(value, dict) and value.keys() == {"stages", "value"}


def value_of(value: object) -> Any:
    """Return the document in a link's value. `InputError` if the link comes from another pack's node."""
    if not is_link_value(value):
        raise InputError("is linked to a node that is not lorapipe's.")
    return value["value"]


def stage_name(node: Node, given: Mapping[str, object], unique_id: str) -> str:
    """Return the name of a node's stage: the user's, or else its kind and the node's number."""
    chosen = str(given.get(STAGE_NAME) or "").strip()
    return chosen or f"{node.name}-{re.sub(r'[^0-9A-Za-z_-]', '-', unique_id)}"
