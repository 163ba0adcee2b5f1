"""The page's server: HTTP on the loopback interface, for the user alone.


Other programs and users of the machine can reach that interface too, and so can every web page in the browser. So the
address contains a key, which is stored in a file that only the user can read; the Host header must be this machine's
(against DNS rebinding); and requests that change something must come from the page itself (against CSRF).
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
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, Self

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, LorapipeError
from lorapipe.page.answers import TEXT, Answer, told
from lorapipe.supervised_thread import SupervisedThread

HOST = "127.0.0.1"
PORT = 7373
PORTS = 20
"""Number of further ports to try if the port is in use."""
OUR_NAME = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
"""Valid Host headers, with any port, since a tunnel may use another one."""
MOST_CONNECTIONS = 64
IDLE_SECONDS = 30
STRANGER_SECONDS = 5.0
"""Seconds within which a connection must send the key, since any user of the machine can open one."""
BACKLOG = 128
"""Size of the listen backlog, so that many connections cannot crowd out the user's."""
LOOK_SECONDS = 0.1
"""Seconds between checks whether the server should stop."""
KEY = "page.key"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

ELSEWHERE = Answer(b"Open the address that lorapipe printed.", TEXT, 404)
FOREIGN = Answer(b"This page can be opened on this computer only.", TEXT, 403)
TOO_MUCH = Answer(b"This address accepts no data, or less of it.", TEXT, 413)


class Site(Protocol):
    """What is served: answers to paths below the key. `most_sent` is the most bytes of a POST request's body."""

    most_sent: int

    def get(self, path: str, seen: str = "") -> Answer:
        """Answer a GET request; `seen` is the ETag that the browser has. Raises `InputError` if there is nothing."""

    def post(self, path: str, sent: bytes = b"") -> Answer:
        """Answer a POST request. Raises `InputError` if what it asks for cannot be done."""


class Page:
    """The page while it is served at `address`."""

    def __init__(self, answers: Site, home: Path, port: int = PORT) -> None:
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
    """Return the key in the address; it is stored, so that an open page works after a restart."""
    path = home / KEY
    if not (path.is_file() and re.fullmatch(r"[\w-]{22}", path.read_text("ascii", "replace"), re.ASCII)):
        with (
            replacing(path) as part,
            os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
        ):
            file.write(secrets.token_urlsafe(16))
    return path.read_text("ascii")


class _Server(ThreadingHTTPServer):
    allow_reuse_address = os.name != "nt"  # on Windows it would share the port with another program
    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, answers: Site, key: str) -> None:
        self.answers = answers
        self.root = f"/{key}/"
        self._guard = threading.Lock()
        self._strangers: dict[socket.socket, float] = {}
        """Connections that have not sent the key, the oldest first, and their deadlines."""
        self._known: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind as a plain TCP server: HTTPServer would look up its host name, which can take long."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: object) -> None:
        """Serve a connection. If there are too many, close the oldest that has not sent the key."""
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
        """Close connections that have not sent the key in time. Called ten times a second."""
        now = time.monotonic()
        with self._guard:
            for connection in [each for each, until in self._strangers.items() if until < now]:
                self._hang_up(connection)

    def welcome(self, request: Any) -> None:
        """Mark a connection as one that has sent the key."""
        with self._guard:
            if self._strangers.pop(request, None) is not None:
                self._known.add(request)

    def _hang_up(self, connection: socket.socket) -> None:
        """Shut a connection down, which ends the thread that reads from it."""
        self._strangers.pop(connection, None)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Remove a connection that has ended."""
        with self._guard:
            self._strangers.pop(request, None)
            self._known.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the server and all connections, since browsers keep them open."""
        super().server_close()
        with self._guard:
            for connection in (*self._strangers, *self._known):
                self._hang_up(connection)

    def handle_error(self, request: Any, client_address: object) -> None:
        """Ignore connection errors, such as a closed browser."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _open(port: int, answers: Site, key: str) -> _Server:
    """Return a server on this port, or the next free one."""
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
        self._answer(lambda path: self.server.answers.post(path, self.rfile.read(self._length())), 409)

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
        """Return the response to a refused request; None if it is allowed."""
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
        most = self.server.answers.most_sent if self.command == "POST" else 0
        if not 0 <= self._length() <= most or "Transfer-Encoding" in self.headers:
            return TOO_MUCH
        return None

    def _length(self) -> int:
        """Return the length of the request's body; -1 if it is not told as a number."""
        lengths = self.headers.get_all("Content-Length", ["0"])
        text = lengths[0] if len(lengths) == 1 else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1

    def _send(self, answer: Answer) -> None:
        if answer.status in (403, 404, 413) or (answer.status >= 400 and self.command == "POST"):
            self.close_connection = True  # the request's body is not read
        if answer.tag and answer.tag == self.headers.get("If-None-Match", "").strip('"'):
            answer = replace(answer, body=b"", status=304)
        self.send_response(answer.status)
        headers = {**HEADERS, "Content-Security-Policy": answer.policy}
        if answer.lasting:
            headers["Cache-Control"] = "private, max-age=31536000, immutable"
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
