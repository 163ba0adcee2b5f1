"""The page's server: HTTP on the loopback interface, for the user alone.

Other programs and users of the machine can reach that interface too, and so can every web page that its browser shows.
So the address holds a key, which is kept in a file that only the user can read; the name in the address must be this
machine's (an attacker's name can be made to lead here, but keeps its name); and what changes something must come from
the page itself.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import socket
import socketserver
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, LorapipeError
from lorapipe.page.routes import TEXT, Answer, Routes, told
from lorapipe.supervised_thread import SupervisedThread

HOST = "127.0.0.1"
PORT = 7373
PORTS = 20
"""Where the port is taken, so many further ones are tried."""
OUR_NAME = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
"""Any port: a tunnel from elsewhere may have its own."""
MOST_CONNECTIONS = 64
IDLE_SECONDS = 30
STRANGER_SECONDS = 5.0
"""How long a connection may take to show the key; any user of the machine can open one. Who has shown it may be idle."""
BACKLOG = 128
"""Connections that the system keeps until they are looked at: a crowd must not hide the user's own."""
LOOK_SECONDS = 0.1
"""How often the server looks whether it is to end."""
KEY = "page.key"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

ELSEWHERE = Answer(b"Open the address that lorapipe has printed.", TEXT, 404)
FOREIGN = Answer(b"This page is for this computer alone.", TEXT, 403)
TOO_MUCH = Answer(b"Nothing is to be sent here.", TEXT, 413)


class Page:
    """The page while it is served; `address` is where."""

    def __init__(self, answers: Routes, home: Path, port: int = PORT) -> None:
        key = key_in(home)
        self._server = _open(port, answers, key)
        self.address = f"http://{HOST}:{self._server.server_address[1]}/{key}/"
        self._thread = SupervisedThread("page", lambda: self._server.serve_forever(LOOK_SECONDS))

    @property
    def trouble(self) -> str:
        """Why the server has ended; empty while it runs."""
        return self._thread.reason

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def key_in(home: Path) -> str:
    """The key in the address; it persists, so that an open page works again after a restart."""
    path = home / KEY
    if not (path.is_file() and re.fullmatch(r"[\w-]{22}", path.read_text("ascii", "replace"), re.ASCII)):
        with (
            replacing(path) as part,
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
        ):
            file.write(secrets.token_urlsafe(16))
    return path.read_text("ascii")


class _Server(ThreadingHTTPServer):
    allow_reuse_address = os.name != "nt"  # there it would share the port with another program
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, answers: Routes, key: str) -> None:
        self.answers = answers
        self.root = f"/{key}/"
        self._guard = threading.Lock()
        self._strangers: dict[socket.socket, float] = {}
        """Connections that have not shown the key, the oldest first, and until when they may stay."""
        self._known: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Binds as a plain TCP server: HTTPServer would look its own name up, which can take long."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: object) -> None:
        """Serve a connection. If there are too many, close the oldest that has not shown the key."""
        with self._guard:
            full = len(self._strangers) + len(self._known) >= MOST_CONNECTIONS
            oldest = next(iter(self._strangers), None) if full else None
            if oldest is not None:
                self._hang_up(oldest)
            if not full or oldest is not None:
                self._strangers[request] = time.monotonic() + STRANGER_SECONDS
        if request in self._strangers:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called ten times a second: closes connections that have not shown the key in time, however slowly they send."""
        now = time.monotonic()
        with self._guard:
            for connection in [each for each, until in self._strangers.items() if until < now]:
                self._hang_up(connection)

    def welcome(self, request: Any) -> None:
        """Mark a connection as one that has shown the key."""
        with self._guard:
            if self._strangers.pop(request, None) is not None:
                self._known.add(request)

    def _hang_up(self, connection: socket.socket) -> None:
        """Shut a connection down; the thread that reads from it notices."""
        self._strangers.pop(connection, None)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        with self._guard:
            self._strangers.pop(request, None)
            self._known.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the server and all connections, which browsers keep open."""
        super().server_close()
        with self._guard:
            for connection in (*self._strangers, *self._known):
                self._hang_up(connection)

    def handle_error(self, request: Any, client_address: object) -> None:
        """Ignore errors of connections: a browser that has gone away is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _open(port: int, answers: Routes, key: str) -> _Server:
    """A server on this port, or the next that is free."""
    for each in range(port, port + PORTS):
        with suppress(OSError):
            return _Server(each, answers, key)
    return _Server(0, answers, key)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lorapipe", ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._answer(lambda path: self.server.answers.get(path, self.headers.get("If-None-Match", "").strip('"')), 404)

    def do_POST(self) -> None:
        """Answer a POST request."""
        self._answer(self.server.answers.post, 409)

    def log_message(self, format: str, *values: object) -> None:
        """Log nothing: the terminal shows the jobs."""

    def _answer(self, ask: Callable[[str], Answer], mistake: int) -> None:
        path = self.path.partition("?")[0]
        answer = self._refusal(path)
        if answer is None:
            try:
                answer = ask(path.removeprefix(self.server.root))
            except InputError as error:
                answer = told({"error": str(error)}, mistake)
            except (LorapipeError, OSError, sqlite3.Error) as error:
                answer = told({"error": str(error)}, 503)
        self._send(answer)

    def _refusal(self, path: str) -> Answer | None:
        """Why a request is refused; None if it is not."""
        names = self.headers.get_all("Host", [])
        if len(names) != 1 or not OUR_NAME.fullmatch(names[0]):
            return FOREIGN
        if not hmac.compare_digest(path[: len(self.server.root)].encode(), self.server.root.encode()):
            return ELSEWHERE
        self.server.welcome(self.request)
        is_visit = self.command == "GET" and path == self.server.root
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and not is_visit:
            return FOREIGN
        if self.command == "POST" and self.headers.get("Origin") != f"http://{names[0]}":
            return FOREIGN
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            return TOO_MUCH
        return None

    def _send(self, answer: Answer) -> None:
        if answer.status in (403, 404, 413) or (answer.status >= 400 and self.command == "POST"):
            self.close_connection = True  # what was sent with it is not read
        if answer.tag and answer.tag == self.headers.get("If-None-Match", "").strip('"'):
            answer = Answer(b"", answer.kind, 304, answer.tag, answer.policy)
        self.send_response(answer.status)
        headers = {**HEADERS, "Content-Security-Policy": answer.policy}
        if answer.tag:
            headers["ETag"] = f'"{answer.tag}"'
        if answer.status != 304:
            headers |= {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
