"""One execution of a node that joins lorapipe to the rest of a graph. It imports no ComfyUI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Artifact

from .link_values import is_link_value
from .node import Prompt
from .paths import GraphPaths

Kind = TypeVar("Kind", bound=Artifact)
Make = Callable[[Mapping[str, object], str], Awaitable[Mapping[str, Artifact]]]


@dataclass(frozen=True)
class Shown:
    """What a node makes: the values of its outputs by name, and what the page shows (`ui` of ComfyUI)."""

    values: Mapping[str, object]
    ui: Mapping[str, list[object]] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphCall:
    """What a node is given: its inputs by name, its id, the graph, the folders that a graph may use.

    `make(stages, name)` returns the artifacts of these stages' documents by name, made if they are not there yet; `say`
    shows a text below the node.
    """

    given: Mapping[str, object]
    unique_id: str
    prompt: Prompt
    where: GraphPaths
    make: Make
    say: Callable[[str], None]

    def text(self, name: str) -> str:
        """Return a text widget's value without spaces around it."""
        return str(self.given.get(name) or "").strip()

    def number(self, name: str, default: float) -> float:
        """Return a number's value; `InputError` if a link brings none."""
        value = self.given.get(name)
        try:
            return default if value is None else float(str(value))
        except ValueError:
            raise InputError("is not a number.", where=name) from None

    async def artifact(self, name: str, kind: type[Kind]) -> Kind:
        """Return the artifact that an input is linked to. `InputError` if the link is not lorapipe's, or of another kind."""
        value = self.given.get(name)
        reference = value["value"] if is_link_value(value) else None
        if not is_link_value(value) or not isinstance(reference, str) or not reference.startswith("$"):
            raise InputError("is linked to a node that is no lorapipe stage.", where=name)
        stage, *fields = reference.removeprefix("$").split(".")
        found: object = (await self.make(value["stages"], stage))[stage]
        for each in fields:
            found = getattr(found, each)
        if not isinstance(found, kind):
            raise InputError(f"is linked to a {type(found).__name__}, and takes a {kind.__name__}.", where=name)
        return found
