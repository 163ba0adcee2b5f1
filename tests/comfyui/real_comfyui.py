"""Start a real ComfyUI for a test, queue prompts over HTTP, and read histories and the log."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKS = Path(__file__).parent
UP = 300.0
"""Seconds until ComfyUI must answer its first request."""


@dataclass(frozen=True)
class ComfyUI:
    """A checkout of ComfyUI, and the Python that has its requirements (and lorapipe's)."""

    path: Path
    python: str

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: this checkout of lorapipe can be imported, and downloads are off."""
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        ours = {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        # Networks this small are slower on several threads, much slower where other programs want the cores too.
        return {**os.environ, "OMP_NUM_THREADS": "1", **ours}

    @contextlib.contextmanager
    def serve(self, folder: Path, packs: Mapping[str, Path], *arguments: str) -> Iterator[Server]:
        """Start a server whose models, outputs and custom nodes are below `folder`; node `packs` are linked there."""
        for name in ("models/checkpoints", "models/loras", "input", "output", "custom_nodes"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, pack in packs.items():
            if not (link := folder / "custom_nodes" / name).exists():
                link.symlink_to(pack, target_is_directory=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            self.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--disable-api-nodes",
            "--database-url", "sqlite:///:memory:", "--base-directory", str(folder), *arguments,
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.path, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        server = Server(folder, port, process)
        try:
            server.wait_until_up()
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class Server:
    """A running ComfyUI."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def wait_until_up(self) -> None:
        """Wait until the server answers; fail with its log if it ends."""
        deadline = time.monotonic() + UP
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError):
                self.get("system_stats")
                return
            time.sleep(0.2)
        raise AssertionError(f"not up after {UP:g} s:\n{self.log()}")

    def stop(self) -> None:
        """Stop the server; kill it if it does not end."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        """Return the server's log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """Return the JSON at a path, such as `object_info/KSampler`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, data: Mapping[str, Any]) -> tuple[int, Any]:
        """Post JSON; return the status and JSON of the response, also of an error."""
        body, headers = json.dumps(data).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        return status, json.loads(text) if text else None

    def queue(self, prompt: Mapping[str, Any], client: str = "lorapipe-tests") -> str:
        """Queue a graph in API format and return its id. A response of 200 may still contain errors of some nodes."""
        status, answer = self.post("prompt", {"prompt": prompt, "client_id": client})
        assert status == 200 and answer["node_errors"] == {}, answer
        identifier: str = answer["prompt_id"]
        return identifier

    def history(self, identifier: str, timeout: float = 120.0) -> Any:
        """Wait for the end of a prompt, and return its history."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if found := self.get(f"history/{identifier}"):
                return found[identifier]
            assert self.process.poll() is None, self.log()
            time.sleep(0.1)
        raise AssertionError(f"not done after {timeout:g} s:\n{self.log()[-4000:]}")

    def run(self, prompt: Mapping[str, Any], timeout: float = 120.0) -> dict[str, Any]:
        """Run a graph, which must succeed, and return its UI outputs by node."""
        entry = self.history(self.queue(prompt), timeout)
        assert entry["status"]["status_str"] == "success", f"{entry['status']}\n{self.log()[-4000:]}"
        outputs: dict[str, Any] = entry["outputs"]
        return outputs

    def file(self, shown: Mapping[str, str]) -> Path:
        """Return the file of an entry of a UI output."""
        root = {"output": "output", "temp": "temp", "input": "input"}[shown["type"]]
        return self.folder / root / shown["subfolder"] / shown["filename"]
