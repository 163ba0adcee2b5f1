"""One execution of a node that joins lorapipe to the rest of a graph. It imports no ComfyUI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.tune_options import TuneOptions

from .link_values import is_link_value
from .node import Prompt
from .paths import GraphPaths

Kind = TypeVar("Kind", bound=Artifact)
Stages = Mapping[str, Mapping[str, object]]
"""Stage name → its document, as in a pipeline file."""
Make = Callable[[Stages, str], Awaitable[Mapping[str, Artifact]]]


@dataclass(frozen=True)
class TunedStages:
    """The end of a tuning: its stages with the best settings, their artifacts, its page and file, and what it told."""

    stages: Stages
    artifacts: Mapping[str, Artifact]
    files: Sequence[Path]
    told: Sequence[str]


@dataclass(frozen=True)
class Shown:
    """What a node makes: the values of its outputs by name, what the page shows (`ui` of ComfyUI), files to open."""

    values: Mapping[str, object]
    ui: Mapping[str, list[Any]] = field(default_factory=dict)
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class GraphCall:
    """What a node is given: its inputs by name, its id, the graph, the folders that a graph may use.

    `make(stages, name)` returns the artifacts of these stages by name, made if they are not there yet;
    `tune(stages, options)` runs them in rounds; `say` shows a text below the node.
    """

    given: Mapping[str, object]
    unique_id: str
    prompt: Prompt
    where: GraphPaths
    make: Make
    tune: Callable[[Stages, TuneOptions], Awaitable[TunedStages]]
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

    def reference(self, name: str) -> tuple[Stages, str]:
        """Return the stages of a link, and what it refers to in them: `grid.best`. `InputError` if it is no stage's."""
        value = self.given.get(name)
        reference = value["value"] if is_link_value(value) else None
        if not is_link_value(value) or not isinstance(reference, str) or not reference.startswith("$"):
            raise InputError("is linked to a node that is no lorapipe stage.", where=name)
        return value["stages"], reference.removeprefix("$")

    async def artifact(self, name: str, kind: type[Kind]) -> Kind:
        """Return the artifact that an input is linked to. `InputError` if the link is not lorapipe's, or of another kind."""
        stages, reference = self.reference(name)
        stage, *fields = reference.split(".")
        found: object = (await self.make(stages, stage))[stage]
        for each in fields:
            found = getattr(found, each)
        if not isinstance(found, kind):
            raise InputError(f"is linked to a {type(found).__name__}, and takes a {kind.__name__}.", where=name)
        return found
