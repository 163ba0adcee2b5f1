"""For tests of pages: a command that serves one, and a real browser, if CHROMIUM and PLAYWRIGHT name one and its driver."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from lorapipe.page.server import Page

CHROMIUM, PLAYWRIGHT = os.environ.get("CHROMIUM", ""), os.environ.get("PLAYWRIGHT", "")
in_a_browser = pytest.mark.skipif(not (CHROMIUM and PLAYWRIGHT), reason="CHROMIUM and PLAYWRIGHT are not set")


class Browser:
    """A real browser, driven by tests/browser.mjs."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("browser.mjs")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            ["node", script, CHROMIUM, PLAYWRIGHT], stdin=pipe, stdout=pipe, encoding="utf-8"
        )

    def do(self, script: str) -> Any:
        """Run a script with `page` in the browser."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(script) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def has(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.do(f"return await page.evaluate(() => {expression});")

    def open(self, page: Page, width: int = 1200) -> None:
        self.do(
            f"await page.setViewportSize({{width: {width}, height: 760}}); await page.goto({json.dumps(page.address)});"
        )

    def sees(self, *texts: str, where: str = "body") -> None:
        """Wait until the page shows these texts."""
        for text in texts:
            self.do(f"await page.locator({where!r}).getByText({json.dumps(text)}).first().waitFor();")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.do(f"await page.keyboard.press({key!r});")

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def without_complaints(browser: Browser, page: Page) -> Iterator[None]:
    """What is done with a page in the browser; at the end it has no errors, and no requests to other servers."""
    browser.do("complaints.length = 0; requests.clear();")
    yield
    complaints, origins = browser.do("await page.goto('about:blank'); return [complaints, [...requests]];")
    own = f"http://{urlsplit(page.address).netloc}"
    assert not complaints, complaints
    assert own in origins and {*origins} <= {"null", own}


@contextmanager
def page_of_command(folder: Path, *words: str) -> Iterator[SplitResult]:
    """The address of the page that a lorapipe command serves from `folder`; at the end, Ctrl-C ends the command with 130."""
    command = [sys.executable, "-u", "-m", "lorapipe", *words]
    environment = {**os.environ, "LORAPIPE_HOME": str(folder / "home")}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=folder, env=environment)
    try:
        assert server.stdout is not None
        yield urlsplit(next(line for line in server.stdout if line.startswith("The page: ")).split()[-1])
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
    finally:
        server.kill()
        server.communicate()


def json_at(where: SplitResult, path: str) -> tuple[http.client.HTTPConnection, Any]:
    """Ask a page's server for a path, and return the open connection and the JSON."""
    connection = http.client.HTTPConnection(where.netloc, timeout=10)
    connection.request("GET", f"{where.path}{path}")
    return connection, json.loads(connection.getresponse().read())
