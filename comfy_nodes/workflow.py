"""Convert a pipeline to a ComfyUI graph, in the page's format and in the server's (API) format.

Each stage is a node, each adapter, optimizer or family a small node to its left. Small nodes at their default are left out
if they have no settings; the others are drawn, so that users can change them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.stage_options import NAMES as OPTIONS
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.spec import Knob, Ref, Spec, knobs, plain

from .describe import LIST_INPUTS, RUNNING, list_name, nodes, socket_of
from .link_values import STAGE_NAME
from .node import Input, Node
from .run_options import Running

EXAMPLES = Path(__file__).resolve().parent.parent / "pipelines" / "examples"
"""The pictures that `GraphPaths.draw_examples` draws, byte for byte."""
GAP = 60
WIDTHS = {"stage": 340, "union": 300, "group": 300, "list": 260, "pipeline": 340}
HEAD, SLOT, WIDGET, LINES = 40, 20, 24, 76
"""Heights in the page's pixels. A stage's node grows when it shows a picture, so no node is placed below one."""
LANE = 110
"""Free height above small nodes, for the links between stages."""


@dataclass
class Placed:
    """A node in a graph. `links` maps an input to the id of the node and the index of the output that it comes from."""

    id: int
    node: Node
    widgets: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[int, int]] = field(default_factory=dict)
    title: str = ""
    at: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, approximately as the page would choose them."""
        sockets = sum(1 for each in self.node.inputs if each.widget is None)
        widgets = [each.widget for each in self.node.inputs if each.widget is not None and not each.rare]
        rows = sum(LINES if each.multiline else WIDGET for each in widgets)
        return WIDTHS[self.node.role], HEAD + SLOT * max(sockets, len(self.node.outputs)) + rows


def graph(pipeline: Pipeline) -> list[Placed]:
    """Return the nodes of a pipeline with their positions."""
    return _GraphBuilder(pipeline).placed


class _GraphBuilder:
    """Builds the nodes of a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.placed: list[Placed] = []
        self._known = nodes()
        self._of_stage: dict[str, Placed] = {}
        x = 0
        for name, stage in pipeline.stages.items():
            before = len(self.placed)
            drawn = self._spec(stage)
            drawn.title = drawn.widgets[STAGE_NAME] = name
            self._options(drawn, pipeline.options_of(name))
            self._of_stage[name] = drawn
            small = [each for each in self.placed[before:] if each is not drawn]
            x = self._arrange(small, drawn, x)

    def _spec(self, spec: Spec) -> Placed:
        node = next(each for each in self._known.values() if each.spec is type(spec) and not each.deprecated)
        links = {}
        for knob in knobs(type(spec)):
            if (link := self._link(knob, getattr(spec, knob.name))) is not None:
                links[knob.name] = link
            elif isinstance(result := getattr(spec, knob.name), Ref) and (socket := node.socket_for(knob.name)):
                links[socket.name] = self._source(result)
        drawn = self._new(node)
        drawn.links.update(links)
        for each in node.inputs:
            if each.widget is not None and each.name != STAGE_NAME:
                drawn.widgets[each.name] = _shown(each, getattr(spec, each.name))
        return drawn

    def _new(self, node: Node) -> Placed:
        self.placed.append(Placed(len(self.placed) + 1, node))
        return self.placed[-1]

    def _link(self, knob: Knob, value: Any) -> tuple[int, int] | None:
        """Return the source of a socket's value; None if the knob is not a socket, or is left unlinked."""
        socket = socket_of(knob)
        if not socket or value is None or value == ():
            return None
        if socket.endswith("_LIST"):
            return self._list(list_name(knob.shape.item), value)
        if (
            isinstance(value, Spec)
            and not knob.required
            and value == knob.default()
            and not self._is_worth_a_node(value)
        ):
            return None
        return self._source(value)

    @staticmethod
    def _is_worth_a_node(value: Spec) -> bool:
        return value.registry is not None and bool(knobs(type(value)))

    def _source(self, value: Any) -> tuple[int, int]:
        if isinstance(value, Ref):
            made = self._of_stage[value.stage]
            return made.id, next(place for place, each in enumerate(made.node.outputs) if each.fields == value.fields)
        return self._spec(value).id, 0

    def _list(self, name: str, values: tuple[Any, ...]) -> tuple[int, int]:
        """Add a list of any length as a chain of list nodes."""
        first, rest = values[:LIST_INPUTS], values[LIST_INPUTS:]
        links = {f"item_{place}": self._source(value) for place, value in enumerate(first, start=1)}
        if rest:
            links["more"] = self._list(name, rest)
        drawn = self._new(self._known[f"LorapipeList{name}"])
        drawn.links.update(links)
        return drawn.id, 0

    def _options(self, drawn: Placed, options: StageOptions) -> None:
        if options != StageOptions():
            running = self._spec(Running(**{name: getattr(options, name) for name in OPTIONS}))
            drawn.links[RUNNING] = (running.id, 0)

    @staticmethod
    def _arrange(small: list[Placed], stage: Placed, x: int) -> int:
        """Place small nodes in a column and the stage to its right; return the x position of the next column."""
        y = LANE
        for each in small:
            each.at = (x, y)
            y += each.size[1] + GAP
        if small:
            x += max(each.size[0] for each in small) + GAP
        stage.at = (x, 0)
        return x + stage.size[0] + GAP


def _shown(each: Input, value: Any) -> Any:
    """Return a knob's value as its widget shows it; nothing for a stage's result, which is linked."""
    assert each.widget is not None
    return "" if isinstance(value, Ref) else each.widget.to_widget(_as_seen_from_a_graph(each, plain(value)))


def _as_seen_from_a_graph(each: Input, value: Any) -> Any:
    """Adapt a path to a graph: a file to write keeps only its name; example pictures get their name in ComfyUI."""
    if value is None or not each.path:
        return value
    if each.path == "write":
        return Path(value).name
    if value in (each.widget.choices if each.widget else ()):
        return value
    path = Path(os.path.abspath(value))  # noqa: PTH100 (resolve() would follow links)
    return f"examples/{path.name}" if path.parent == EXAMPLES else path.as_posix()


def api_format(placed: list[Placed]) -> dict[str, Any]:
    """Return the graph in the format of ComfyUI's server (API)."""
    return {
        str(each.id): {
            "class_type": each.node.id,
            "inputs": {**each.widgets, **{name: [str(source), slot] for name, (source, slot) in each.links.items()}},
            "_meta": {"title": each.title or each.node.title},
        }
        for each in placed
    }


def page_format(placed: list[Placed]) -> dict[str, Any]:
    """Return the graph in the format of ComfyUI's page."""
    by_id = {each.id: each for each in placed}
    links: list[list[Any]] = []
    for each in placed:
        sockets = [one.name for one in each.node.inputs if one.widget is None]
        for name, (source, slot) in each.links.items():
            kind = by_id[source].node.outputs[slot].socket
            links.append([len(links) + 1, source, slot, each.id, sockets.index(name), kind])
    return {
        "last_node_id": max((each.id for each in placed), default=0),
        "last_link_id": len(links),
        "nodes": [_page_node(each, order, links) for order, each in enumerate(placed)],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _page_node(each: Placed, order: int, links: list[list[Any]]) -> dict[str, Any]:
    sockets = [one for one in each.node.inputs if one.widget is None]
    into = {link[4]: link[0] for link in links if link[3] == each.id}
    shown = {
        one.name: each.widgets.get(one.name, one.widget.initial) for one in each.node.inputs if one.widget is not None
    }
    return {
        "id": each.id,
        "type": each.node.id,
        "pos": list(each.at),
        "size": list(each.size),
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [
            {"name": one.name, "type": one.socket, "link": into.get(place)} for place, one in enumerate(sockets)
        ],
        "outputs": list(_page_outputs(each, links)),
        "properties": {"Node name for S&R": each.node.id, "lorapipe": shown},
        "widgets_values": list(shown.values()),
    }


def _page_outputs(each: Placed, links: list[list[Any]]) -> Iterator[dict[str, Any]]:
    for place, one in enumerate(each.node.outputs):
        going = [link[0] for link in links if link[1] == each.id and link[2] == place]
        kind = "*" if one.socket == "COMBO" else one.socket
        yield {"name": one.name, "type": kind, "links": going or None, "slot_index": place}
