"""The values of a graph's links: small mappings of JSON types, `{"stages": {…}, "value": "$train"}`.

`stages` are the documents of all stages so far, as in a pipeline file; `value` is a reference to one of them, or the
document of a union, a group or a list. So a graph is a pipeline like any other, and its links contain no tensors and no
paths of a store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

from lorapipe.errors import InputError

LinkValue = dict[str, Any]
STAGE_NAME = "stage_name"
"""The input of a stage's node that names it in the pipeline."""
RUNNING = "running"
"""The input of a stage's node that says where and how it runs."""
WAIT_FOR = "wait_for"
"""The input of a stage's node that reads pictures: it runs after the nodes that save what is linked here."""


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
