"""Messages of ComfyUI to its page while a prompt runs."""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import websocket
from real_comfyui import Server

PREVIEW = 1
ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass
class Watched:
    """The messages of one prompt."""

    id: str = ""
    end: str = ""
    error: str = ""
    seconds: float = 0.0
    executed: list[str] = field(default_factory=list)
    cached: list[str] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    """Node → the points of its loss curve."""
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    previews: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)

    def said(self, node: str) -> list[str]:
        """Return the texts that a node has shown."""
        return [text for of, text in self.texts if of == node]


def watch(server: Server, prompt: Mapping[str, Any], on: Callable[[Watched], None] = lambda seen: None) -> Watched:
    """Queue a graph and watch it to its end; `on` is called after each message."""
    client = uuid.uuid4().hex
    socket = websocket.create_connection(f"ws://127.0.0.1:{server.port}/ws?clientId={client}", timeout=300)
    try:
        began = time.monotonic()
        seen = Watched(server.queue(prompt, client))
        for kind, data in _messages(socket):
            _note(seen, kind, data)
            on(seen)
            if seen.end:
                seen.seconds = time.monotonic() - began
                return seen
    finally:
        socket.close()
    raise AssertionError("the server has hung up")


def _messages(socket: Any) -> Iterator[tuple[str, Any]]:
    while True:
        message = socket.recv()
        if isinstance(message, str):
            data = json.loads(message)
            yield data["type"], data["data"]
            continue
        (kind,) = struct.unpack(">I", message[:4])
        if kind == PREVIEW:
            yield "preview", message[8:]


def _note(seen: Watched, kind: str, data: Any) -> None:
    match kind:
        case "lorapipe.shown":
            seen.texts += [(data["node"], text) for text in data["output"].get("text", ())]
            for curve in data["output"].get("lorapipe_curve", ()):
                seen.curves[data["node"]] = curve["points"]
        case "preview":
            seen.previews += 1
        case _ if data.get("prompt_id") != seen.id:
            return
        case "progress":
            seen.progress.append((data["node"], data["value"], data["max"]))
        case "executed":
            seen.outputs[data["node"]] = data["output"]
        case "executing" if data["node"] is not None:
            seen.executed.append(data["node"])
        case "execution_cached":
            seen.cached = data["nodes"]
        case _ if kind in ENDS:
            seen.end, seen.error = kind, data.get("exception_message", "")
