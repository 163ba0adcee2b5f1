"""The description of a node as plain data: its inputs, widgets and outputs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from lorapipe.spec import Spec, sentence

from .widgets import Widget

OURS = "LORAPIPE_"
"""How the types of lorapipe's own sockets begin."""
STAGES = "LorapipeStage"
"""How the ids of the nodes of stages begin."""
PICTURES = "pictures"
"""The shelf of picture folders; the other shelves are kinds of models."""
Prompt = Mapping[str, Mapping[str, Any]]
"""A graph in ComfyUI's API form: node id → class and inputs."""


@dataclass(frozen=True)
class Input:
    """An input of a node: a socket of a type, or a widget.

    `knob` is the knob that it sets, where that has two inputs: a widget for a file, and a socket for a stage's result.
    `values` are the type, range and default of a number; `syntax` is that of a text.
    `rare`: it is rarely changed, so the page hides its widget until it is asked for.
    """

    name: str
    help: str
    required: bool = False
    socket: str = ""
    widget: Widget | None = None
    aliases: tuple[str, ...] = ()
    path: Literal["", "read", "write"] = ""
    knob: str = ""
    values: str = ""
    syntax: str = ""
    rare: bool = False

    @property
    def tooltip(self) -> str:
        """The text that the page shows at the input."""
        return " ".join(filter(None, (self.help, sentence(self.values), self.syntax)))


@dataclass(frozen=True)
class Output:
    """An output: `fields` is the path from the stage's artifact to a part of it; `is_list`: it is a list of items."""

    name: str
    socket: str
    help: str = ""
    fields: tuple[str, ...] = ()
    is_list: bool = False


@dataclass(frozen=True)
class Node:
    """A node. `id` is its identity in saved graphs and never changes."""

    id: str
    title: str
    category: str
    help: str
    role: Literal["stage", "union", "group", "list", "pipeline", "graph"]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    spec_name: str = ""
    """The module and the class of the spec whose knobs it sets: `lorapipe.training.adapters.lora:Lora`. Empty: none."""
    name: str = ""
    deprecated: bool = False
    is_end: bool = False
    """Whether it runs though nothing is linked to its outputs."""
    takes_lists: bool = False
    """Whether its inputs get all items of a list at once."""
    search_words: tuple[str, ...] = ()
    """What else finds it in the page's search, in English; `locales/*/search.json` has further languages."""

    @cached_property
    def spec(self) -> type[Spec] | None:
        """The spec whose knobs it sets, imported on first use; None if there is none."""
        module, _, name = self.spec_name.partition(":")
        return getattr(importlib.import_module(module, __package__), name) if name else None

    def input(self, name: str) -> Input:
        """Return an input by its name, or by a name of an earlier release."""
        return next(each for each in self.inputs if name == each.name or name in each.aliases)

    def socket_for(self, knob: str) -> Input | None:
        """Return the socket that sets a knob in place of its widget; None if there is none."""
        return next((each for each in self.inputs if each.knob == knob), None)
