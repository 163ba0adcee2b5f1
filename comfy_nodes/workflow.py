"""Convert a pipeline to a ComfyUI graph, in the page's format and in the server's (API) format.

Each stage is a node, each adapter, optimizer or family a small node to its left (`graph_layout`). Small nodes at their
default are left out if they have no settings; the others are drawn, so that users can change them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.stage_options import NAMES as OPTIONS
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.spec import Knob, Ref, Spec, knobs, plain

from .describe import LIST_INPUTS, list_name, nodes, socket_of
from .graph_layout import CORRIDOR, TITLE, Cell, Placed, Point, arrange
from .link_values import RUNNING, STAGE_NAME
from .node import Input, Node
from .run_options import Running

EXAMPLES = Path(__file__).resolve().parent.parent / "pipelines" / "examples"
"""The pictures that `GraphPaths.draw_examples` draws, byte for byte."""
NOTE_HEIGHT = 160


def graph(pipeline: Pipeline) -> list[Placed]:
    """Return the nodes of a pipeline with their positions."""
    return _GraphBuilder(pipeline).placed


class _GraphBuilder:
    """Builds the nodes of a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.placed: list[Placed] = []
        self._known = nodes()
        self._of_stage: dict[str, Placed] = {}
        cells = []
        for name, stage in pipeline.stages.items():
            before = len(self.placed)
            drawn = self._spec(stage)
            drawn.widgets[STAGE_NAME] = name
            self._options(drawn, pipeline.options_of(name))
            self._of_stage[name] = drawn
            for each in self.placed[before:]:
                each.name = name
            cells.append(Cell(drawn, [each for each in self.placed[before:] if each is not drawn]))
        arrange(cells)

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
        is_default = isinstance(value, Spec) and not knob.required and value == knob.default()
        if is_default and not self._is_worth_a_node(value):
            return None
        source = self._source(value)
        self.placed[source[0] - 1].is_collapsed = is_default
        return source

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
            "_meta": {"title": each.title or each.name or each.node.title},
        }
        for each in placed
    }


def page_format(placed: list[Placed], notes: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Any]:
    """Return the graph in the format of ComfyUI's page.

    `notes` are texts in Markdown above the nodes of stages: stage → language → text. The graph has the English one, and
    lorapipe's script shows that of the page's language.
    """
    by_id = {each.id: each for each in placed}
    links: list[list[Any]] = []
    bends: list[tuple[Point, ...]] = []
    for each in placed:
        sockets = [one.name for one in each.node.inputs if one.widget is None]
        for name, (source, slot) in each.links.items():
            kind = by_id[source].node.outputs[slot].socket
            links.append([len(links) + 1, source, slot, each.id, sockets.index(name), kind])
            bends.append(each.bends.get(name, ()))
    last = max((each.id for each in placed), default=0)
    written = [
        _note(last + number, texts, [each for each in placed if each.name == name])
        for number, (name, texts) in enumerate((notes or {}).items(), start=1)
    ]
    return {
        "last_node_id": last + len(written),
        "last_link_id": len(links),
        "nodes": [*(_page_node(each, order, links) for order, each in enumerate(placed)), *written],
        "links": links,
        "groups": [],
        "config": {},
        "extra": _reroutes(bends),
        "version": 0.4,
    }


def _note(id: int, texts: Mapping[str, str], below: list[Placed]) -> dict[str, Any]:
    """Return a note above nodes, as wide as they are; the heading of its text is its title."""
    heading, _, text = texts["en"].partition("\n\n")
    left, top = (min(each.at[axis] for each in below) for axis in (0, 1))
    width = max(each.at[0] + each.size[0] for each in below) - left
    return {
        "id": id,
        "type": "MarkdownNote",
        "pos": [left, top - CORRIDOR - TITLE - NOTE_HEIGHT],
        "size": [width, NOTE_HEIGHT],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": heading.strip("# "),
        "properties": {"lorapipe_texts": dict(texts)},
        "widgets_values": [text],
        "color": "#223",
        "bgcolor": "#335",
    }


def _reroutes(bends: list[tuple[Point, ...]]) -> dict[str, Any]:
    """Return the points of the links, in their order, as the page saves them: each knows the one before, a link its last."""
    reroutes: list[dict[str, Any]] = []
    ends = []
    for link, points in enumerate(bends, start=1):
        for place, at in enumerate(points):
            number = len(reroutes) + 1
            before = {"parentId": number - 1} if place else {}
            reroutes.append({"id": number, **before, "pos": list(at), "linkIds": [link]})
        if points:
            ends.append({"id": link, "parentId": len(reroutes)})
    return {"reroutes": reroutes, "linkExtensions": ends} if reroutes else {}


def _page_node(each: Placed, order: int, links: list[list[Any]]) -> dict[str, Any]:
    sockets = [one for one in each.node.inputs if one.widget is None]
    into = {link[4]: link[0] for link in links if link[3] == each.id}
    shown = {
        one.name: each.widgets.get(one.name, one.widget.initial) for one in each.node.inputs if one.widget is not None
    }
    return {
        "id": each.id,
        "type": each.node.id,
        **({"title": each.title} if each.title else {}),
        "pos": list(each.at),
        "size": list(each.full_size),
        "flags": {"collapsed": True} if each.is_collapsed else {},
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
