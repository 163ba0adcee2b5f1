"""Checks before a node is executed: old names, wrong settings, and changes since the last execution.

ComfyUI calls these through the bridge; this module imports no ComfyUI.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.pipeline_reader import name_complaint
from lorapipe.spec import Spec, canonical, knobs, parse_spec

from . import links
from .link_values import RUNNING, STAGE_NAME, is_link_value
from .node import STAGES, Node, Prompt
from .paths import EXAMPLES, OUTPUT, GraphPaths, state


def with_old_names(node: Node, given: Mapping[str, object], prompt: Prompt | None, unique_id: str) -> dict[str, object]:
    """Add the values that an older graph has under old names of knobs, which ComfyUI does not pass on."""
    sent = ((prompt or {}).get(unique_id) or {}).get("inputs") or {}
    old = {
        each.name: sent[alias]
        for each in node.inputs
        for alias in each.aliases
        if alias in sent and each.name not in sent and not isinstance(sent[alias], list)
    }
    return {**given, **old}


def check(node: Node, given: Mapping[str, object], where: GraphPaths) -> None:
    """Check a node's own settings with the pipeline's parser: before the graph is queued, and when the node is executed.

    `given` has None for a link whose value is not known yet. Raises `InputError`. ComfyUI would show a returned message once
    for every input.
    """
    if node.spec is None:
        return
    document = _own_settings(node, given, where)
    if node.spec.registry is not None:
        document = {node.spec.tag: node.name, **document}
    document |= _stand_ins(node, given)
    contract: type[Spec] = node.spec if node.spec.registry is None else node.spec.registry.contract
    tolerated = _linked(node, document, given)
    problems = [*_name_problems(given.get(STAGE_NAME))]
    unseen = _unseen(node, document, given)
    found = parse_spec(contract, document, where.project).problems
    problems += [each for each in found if each.what not in tolerated and not unseen & set(each.path[:1])]
    if problems:
        raise InputError(problems)


def _own_settings(node: Node, given: Mapping[str, object], where: GraphPaths) -> dict[str, object]:
    """Return the settings that are known and can be checked, as a document's."""
    known = {
        name: value
        for name, value in given.items()
        if value is not None and name not in (RUNNING, STAGE_NAME) and not is_link_value(value)
    }
    found = links.settings(node, known, where.found)
    return {key: value for key, value in found.items() if not _may_be_made(known.get(key))}


def _may_be_made(text: object) -> bool:
    """Whether a text names a folder that need not be there yet: an example, or one that a node of the graph saves into."""
    return text in EXAMPLES or (isinstance(text, str) and text.startswith(OUTPUT))


def _stand_ins(node: Node, given: Mapping[str, object]) -> dict[str, object]:
    """Return references in place of linked results, so that a stage's own rules are checked before a result exists.

    None if something else is linked, such as a format: the rules would judge its default instead.
    """
    assert node.spec is not None
    kinds = {knob.name: knob.shape.kind for knob in knobs(node.spec)}
    linked = [name for name, value in given.items() if (value is None or is_link_value(value)) and name != RUNNING]
    return {name: f"${name}" for name in linked} if all(kinds.get(name) == "reference" for name in linked) else {}


def _unseen(node: Node, document: Mapping[str, object], given: Mapping[str, object]) -> set[object]:
    """Return the sockets that rules cannot judge: those without a value, if something is linked that is no reference."""
    is_linked = any(
        given.get(each.name, "") is None for each in node.inputs if each.widget is None and each.name != RUNNING
    )
    return (
        {each.name for each in node.inputs if each.widget is None and each.name not in document} if is_linked else set()
    )


def _name_problems(name: object) -> Iterator[Problem]:
    text = "" if is_link_value(name) else str(name or "").strip()  # empty: the stage's kind and the node's number
    if text and (complaint := name_complaint(text)) is not None:
        yield Problem(complaint[0], cure=complaint[1], path=(STAGE_NAME,))


def _linked(node: Node, document: Mapping[str, object], given: Mapping[str, object]) -> set[str]:
    """Return the messages about inputs that are missing only because their links have no values yet."""
    absent = {each.name for each in node.inputs if each.name not in document}
    unlinked = [each for each in node.inputs if each.required and each.widget and not node.socket_for(each.name)]
    empty = {each.name for each in unlinked if given.get(each.name, "") == ""}
    return {f"{name} is missing." for name in absent - empty}


def fingerprint(node: Node, given: Mapping[str, object], where: GraphPaths, made: Made) -> Any:
    """Return a value that changes when a node must run again because of the files it reads or made. Never raises."""
    seen = []
    for each in node.inputs:
        if each.path != "read" or each.widget is None:
            continue
        text = str(given.get(each.name) or "")
        if text and text not in each.widget.words:
            try:
                seen.append(state(Path(where.found(each, text))))
            except Exception as error:  # ComfyUI would treat any exception as "always execute"
                seen.append(str(error))
    return [*seen, made.generation(node, given)]


class Made:
    """The files of results that ComfyUI caches: if one is deleted, its node runs again."""

    def __init__(self) -> None:
        self._files: dict[bytes, list[Path]] = {}
        self._generations: dict[bytes, int] = {}

    def note(self, node: Node, given: Mapping[str, object], files: list[Path]) -> None:
        """Record the files that a node made from these settings."""
        self._files[self._key(node, given)] = files

    def generation(self, node: Node, given: Mapping[str, object]) -> int:
        """Return a number that increases each time a file of the node was deleted."""
        key = self._key(node, given)
        if not all(file.exists() for file in self._files.get(key, ())):
            self._files.pop(key)
            self._generations[key] = self._generations.get(key, 0) + 1
        return self._generations.get(key, 0)

    def _key(self, node: Node, given: Mapping[str, object]) -> bytes:
        widgets = {each.name: given[each.name] for each in node.inputs if each.widget and each.name in given}
        return canonical([node.id, widgets])


def more_follows(prompt: Prompt, unique_id: str) -> bool:
    """Whether another stage depends on this node, so that its worker should stay warm."""
    return any(kind.startswith(STAGES) for kind in _after(prompt, unique_id))


def leads_to(prompt: Prompt, unique_id: str, kind: str) -> bool:
    """Whether a node of this class depends on a node."""
    return kind in _after(prompt, unique_id)


def _after(prompt: Prompt, unique_id: str) -> Iterator[str]:
    """Yield the classes of all nodes that depend on a node."""
    waiting, seen = [unique_id], set[str]()
    while waiting:
        here = waiting.pop()
        for other, each in prompt.items():
            links = [value[0] for value in each.get("inputs", {}).values() if isinstance(value, list) and value]
            if here in links and other not in seen:
                yield str(each.get("class_type", ""))
                seen.add(other)
                waiting.append(other)


def named_files(prompt: Prompt) -> set[str]:
    """Return the names, without folders, of all texts of a graph that may name a file."""
    texts = (value for each in prompt.values() for value in each.get("inputs", {}).values() if isinstance(value, str))
    return {re.split(r"[/\\]", text)[-1] for text in texts if "\n" not in text}


@contextmanager
def readable() -> Iterator[None]:
    """Turn the problems of an `InputError` into one text for ComfyUI: a line for each, with its knob."""
    try:
        yield
    except InputError as error:
        lines = []
        for each in error.problems:
            name = each.where or ".".join(map(str, each.path))
            lines.append(" ".join(filter(None, [f"{name}:" if name else "", each.what, each.cure])))
        raise InputError("\n".join(lines)) from None
