"""Hints in editors, tested with a real YAML language server.

It runs if YAML_LANGUAGE_SERVER names the program; CONTRIBUTING says how to install it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = os.environ.get("YAML_LANGUAGE_SERVER", "")
SCHEMA = Path(__file__).parents[1] / "schemas" / "pipeline.schema.json"
TEXT = f"""\
# yaml-language-server: $schema={SCHEMA.as_uri()}
stages:
  dataset: {{uses: prepare, images: photos, base: pocket}}
  penny:
    uses: train
    dataset: $dataset
    adapter: {{type: lora, rank: 8}}
    retries: 2
    raank: 3
  new:
    uses: train
    dataset: $dataset
    sna
  other:
    uses:{" "}
"""
pytestmark = pytest.mark.skipif(not SERVER, reason="YAML_LANGUAGE_SERVER is not set")


class Editor:
    """A minimal language client: it opens one document and queries positions in it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._number = 0
        self.diagnostics: list[dict[str, Any]] = []

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self, text: str) -> None:
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self.tell("initialized", {})
        settings = {"yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}}
        self.tell("workspace/didChangeConfiguration", {"settings": settings})
        document = {"uri": "file:///p.yaml", "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        while not self.diagnostics:
            self._hear()

    def at(self, method: str, place: str) -> Any:
        """Query the end of the first occurrence of a text."""
        before = TEXT[: TEXT.index(place) + len(place)]
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return self.ask(f"textDocument/{method}", {"textDocument": {"uri": "file:///p.yaml"}, "position": position})

    def ask(self, method: str, params: Any) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._hear()
            if message.get("id") == self._number and "method" not in message:
                return message["result"]

    def tell(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        """Return the next message; requests of the server get empty answers."""
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if "id" in message and "method" in message:
            self._send({"id": message["id"], "result": None})
        if message.get("method") == "textDocument/publishDiagnostics":
            self.diagnostics = message["params"]["diagnostics"]
        return message


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    made = Editor()
    made.open(TEXT)
    yield made
    made.close()


def labels(found: Any) -> set[str]:
    return {item["label"] for item in (found["items"] if isinstance(found, dict) else found)}


def test_a_misspelt_knob_is_underlined(editor: Editor) -> None:
    lines = {each["range"]["start"]["line"]: each["message"] for each in editor.diagnostics}
    assert "raank" in lines[TEXT[: TEXT.index("raank")].count("\n")]


def test_stages_and_knobs_are_proposed(editor: Editor) -> None:
    assert {"prepare", "train", "evaluate", "export"} <= labels(editor.at("completion", "other:\n    uses: "))
    assert {"snapshots", "adapter", "retries", "matrix", "when"} <= labels(editor.at("completion", "    sna"))


def test_hovering_explains_a_knob(editor: Editor) -> None:
    assert "width of the update" in json.dumps(editor.at("hover", "type: lora, ra")).lower()
    assert "started again" in json.dumps(editor.at("hover", "retri"))
