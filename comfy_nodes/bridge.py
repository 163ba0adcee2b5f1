"""The bridge to ComfyUI: turns descriptions into nodes of its API, and hands them what ComfyUI asks of them.

It uses `comfy_api.latest` (io, ComfyExtension) of ComfyUI, imported inside functions, so that this module can be imported
without it. It imports the descriptions alone: what checks and executes nodes, with their specs, is imported when the first
graph is queued, which keeps ComfyUI's start short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from . import node_outputs, result_pages, stored_nodes
from .comfy_folders import comfy_paths
from .node import PICTURES, Input, Node
from .paths import EXAMPLES, GraphPaths
from .search_words import search_words
from .widgets import OTHER_LINKS, Widget


def extension() -> Any:
    """Return the ComfyUI extension with all nodes."""
    from comfy_api.latest import ComfyExtension

    with suppress(Exception):  # without them results are only files, and a reloaded page is empty
        result_pages.serve(lambda: comfy_paths().project)
        node_outputs.serve()
    classes = [_node_class(node) for node in stored_nodes.nodes().values()]

    class Lorapipe(ComfyExtension):
        async def get_node_list(self) -> list[Any]:
            return classes

    return Lorapipe()


def _node_class(node: Node) -> Any:
    """Return the ComfyUI node class of a description."""
    from comfy_api.latest import io

    def define_schema(cls: Any) -> Any:
        return schema(node, comfy_paths())

    async def execute(cls: Any, **given: Any) -> Any:
        from . import node_execution

        return await node_execution.execute(node, given, cls.hidden.unique_id, cls.hidden.prompt or {})

    def validate_inputs(cls: Any, **given: Any) -> bool:
        from .validation import check, readable

        with readable():
            check(node, given, comfy_paths())
        return True

    def fingerprint_inputs(cls: Any, **given: Any) -> Any:
        from . import node_execution

        return node_execution.fingerprint(node, given)

    def node_info(cls: Any) -> dict[str, Any]:
        """With the words that find the node: a field of newer releases' schemas, which the page of any release may read."""
        found: dict[str, Any] = io.ComfyNode.GET_NODE_INFO_V1.__func__(cls)
        return {**found, "search_aliases": list(search_words(node))}

    methods = {"define_schema": define_schema, "execute": execute, "validate_inputs": validate_inputs}
    methods["GET_NODE_INFO_V1"] = node_info
    if node.role == "stage" or any(each.path == "read" for each in node.inputs):
        methods["fingerprint_inputs"] = fingerprint_inputs
    return type(node.id, (io.ComfyNode,), {name: classmethod(method) for name, method in methods.items()})


# --------------------------------------------------------------------------------------------------------------- schema


def schema(node: Node, where: GraphPaths) -> Any:
    """Return a node's ComfyUI schema. Knobs with a default are optional, so that graphs of older releases still run."""
    from comfy_api.latest import io

    def kind(socket: str) -> Any:
        stock = {"COMBO": io.AnyType, "*": io.AnyType, "STRING": io.String}  # a COMBO would only accept its own choices
        return stock.get(socket) or io.Custom(socket)

    return io.Schema(
        node_id=node.id,
        display_name=node.title,
        category=node.category,
        description=node.help,
        inputs=[made for each in node.inputs for made in _inputs(each, kind(each.socket), where)],
        outputs=[
            kind(each.socket).Output(
                f"out_{each.name}", display_name=each.name, tooltip=each.help, is_output_list=each.is_list
            )
            for each in node.outputs
        ],
        hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        is_output_node=node.role in ("stage", "pipeline") or node.is_end,
        is_input_list=node.takes_lists,
        is_deprecated=node.deprecated,
    )


def _inputs(each: Input, kind: Any, where: GraphPaths) -> Iterator[Any]:
    from comfy_api.latest import io

    common: dict[str, Any] = {"tooltip": each.tooltip, "optional": not each.required or bool(each.aliases)}
    widget = each.widget
    if widget is None:
        yield kind.Input(each.name, **common)
        for alias in each.aliases:  # so that links of older graphs stay connected
            yield kind.Input(alias, tooltip=f"The old name of {each.name}.", optional=True)
        return
    made = _with_widget(each, widget, common, where)
    if each.aliases:  # for the page: a saved graph may have the value under an old name
        made.extra_dict["lorapipe_aliases"] = list(each.aliases)
    if each.rare:  # an argument of newer releases of ComfyUI alone
        made.extra_dict["advanced"] = True
    others = [getattr(io, kind.capitalize()) for kind in OTHER_LINKS.get(widget.coding, ())]
    yield io.MultiType.Input(made, others) if others else made


def _with_widget(each: Input, widget: Widget, common: Mapping[str, Any], where: GraphPaths) -> Any:
    """Return an input that has a widget."""
    from comfy_api.latest import io

    common = {**common, "default": widget.initial}
    match widget.coding:
        case "switch":
            return io.Boolean.Input(each.name, **common)
        case "whole":
            return io.Int.Input(
                each.name, **common, min=int(widget.low), max=int(widget.high), control_after_generate=False
            )
        case "number":
            limits = {"min": widget.low, "max": widget.high}
            return io.Float.Input(each.name, **common, **limits, step=widget.step, round=1e-6)
        case "choice" | "shelf":
            options = list(dict.fromkeys([*widget.words, *(where.options(widget.shelf) if widget.shelf else [])]))
            if each.required:  # without any file there is none to begin with
                common["default"] = EXAMPLES[0] if widget.shelf == PICTURES else next(iter(options), None)
            return io.Combo.Input(each.name, options=options, **common)
    return io.String.Input(each.name, **common, multiline=widget.multiline, dynamic_prompts=False)
