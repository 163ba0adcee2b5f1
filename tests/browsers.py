"""A real browser for tests of pages, if CHROMIUM and PLAYWRIGHT name one and its driver."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

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
