"""What lorapipe's nodes show on ComfyUI's page, kept for each graph: a page that is reloaded, or another client with the
same graph, shows it too, and what a node showed at its end also after a restart of ComfyUI.

It uses `server.PromptServer`, `folder_paths` and aiohttp of ComfyUI, imported inside functions.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorapipe.atomic import write_text

from .comfy_folders import comfy_paths
from .node import Prompt

EVENT, ROUTE = "lorapipe.shown", "/lorapipe/shown/"
"""The event with what a node shows from now on, and the address of what the nodes of a graph show."""
CURVE, PAGES = "lorapipe_curve", "lorapipe_pages"
"""Items of a node's output that only lorapipe's script shows; `text` and `images` are ComfyUI's."""
MOST_GRAPHS = 64
Output = Mapping[str, list[Any]]
"""What a node shows, in the form of ComfyUI's `ui`: items, each a list."""
Nodes = dict[str, dict[str, Any]]
"""Node → its class and output."""


@dataclass
class NodeOutputs:
    """What nodes show, for the `MOST_GRAPHS` graphs that ran last. `folder()` is where `save` writes it."""

    folder: Callable[[], Path]
    graphs: OrderedDict[str, Nodes] = field(default_factory=OrderedDict)

    def add(self, graph: str, node: str, kind: str, output: Output) -> None:
        """Add to what a node shows; an item of the same name is replaced."""
        nodes = self.graphs.setdefault(graph, self.of(graph))
        self.graphs.move_to_end(graph)
        before = nodes.get(node, {"type": kind})
        shown = before["output"] if before["type"] == kind and "output" in before else {}
        nodes[node] = {"type": kind, "output": {**shown, **output}}
        while len(self.graphs) > MOST_GRAPHS:
            self.graphs.popitem(last=False)

    def of(self, graph: str) -> Nodes:
        """Return what the nodes of a graph show."""
        return dict(self.graphs[graph] if graph in self.graphs else self._saved(graph))

    def save(self, graph: str, node: str) -> None:
        """Write what a node shows, for the time after a restart. A disk that refuses it is no error."""
        with suppress(OSError):
            file = self._file(graph)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(json.dumps({**self._saved(graph), node: self.graphs[graph][node]}, ensure_ascii=False), file)
            by_age = sorted(file.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)
            for old in by_age[:-MOST_GRAPHS]:
                old.unlink()

    def _saved(self, graph: str) -> Nodes:
        with suppress(OSError, ValueError):
            found: Nodes = json.loads(self._file(graph).read_text(encoding="utf-8"))
            return found
        return {}

    def _file(self, graph: str) -> Path:
        return self.folder() / f"{hashlib.sha256(graph.encode()).hexdigest()[:20]}.json"


def _folder() -> Path:
    """Return the folder of the project for what nodes show."""
    from lorapipe.pipeline.ledger import Ledger

    return Ledger(comfy_paths().project).root / "shown"


KEPT = NodeOutputs(_folder)
"""Those of this ComfyUI."""


@dataclass(frozen=True)
class ShownNode:
    """A node of the graph that is executed, as the pages see it.

    `graph` is the page's id of the graph, empty if a script has queued the prompt; `client` is the page that has queued it.
    """

    id: str
    graph: str
    kind: str
    client: str | None

    @classmethod
    def running(cls, unique_id: str) -> ShownNode:
        """Return a node of the prompt that ComfyUI executes."""
        prompt, extra = _running()[0] if _running() else ({}, {})
        about = (extra.get("extra_pnginfo") or {}).get("workflow") or {}
        kind = prompt.get(unique_id, {}).get("class_type", "")
        return cls(unique_id, str(about.get("id") or ""), str(kind), running_client())

    def show(self, output: Output, is_last: bool = False) -> None:
        """Show this on the node, wherever its graph is open, in place of earlier texts, pictures, curves.

        `is_last`: the node has ended, so that it shows this after a restart too.
        """
        from server import PromptServer

        if self.graph:
            KEPT.add(self.graph, self.id, self.kind, output)
            if is_last:
                KEPT.save(self.graph, self.id)
        detail = {
            "node": self.id,
            "graph": self.graph,
            "type": self.kind,
            "client": self.client,
            "output": dict(output),
        }
        PromptServer.instance.send_sync(EVENT, detail, None if self.graph else self.client)

    def say(self, text: str, is_last: bool = False) -> None:
        """Show a text on the node."""
        self.show({"text": [text]}, is_last)


def running_client() -> str | None:
    """Return the id of the client (a tab of the page) whose graph is executed; None if it gave none."""
    from server import PromptServer

    client = PromptServer.instance.client_id
    return None if client is None else str(client)


def running_prompts() -> list[Prompt]:
    """Return the graphs that ComfyUI executes at present; none if it does not tell."""
    return [prompt for prompt, _ in _running()]


def _running() -> list[tuple[Prompt, Mapping[str, Any]]]:
    """Return the prompts that ComfyUI executes, with what the page has said about them."""
    from server import PromptServer

    with suppress(Exception):
        running, _ = PromptServer.instance.prompt_queue.get_current_queue()
        return [(item[2], item[3]) for item in running]
    return []


def serve() -> None:
    """Add the route to ComfyUI's server."""
    from aiohttp import web
    from server import PromptServer

    @PromptServer.instance.routes.get(ROUTE + "{graph}")
    async def shown(request: Any) -> Any:
        return web.json_response(_with_files(KEPT.of(request.match_info["graph"])))


def _with_files(nodes: Nodes) -> Nodes:
    """Return what nodes show without pictures whose files are gone."""
    import folder_paths

    def is_there(picture: Mapping[str, str]) -> bool:
        folder = folder_paths.get_directory_by_type(picture["type"])
        return folder is not None and Path(folder, picture["subfolder"], picture["filename"]).is_file()

    return {
        id: {**each, "output": {**each["output"], "images": [*filter(is_there, each["output"].get("images", ()))]}}
        for id, each in nodes.items()
    }
