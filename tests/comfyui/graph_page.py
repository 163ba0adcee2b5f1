"""ComfyUI's page in a real browser: open a graph, queue it, and read what its nodes show."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from browsers import Browser
from real_comfyui import Server

PATIENCE = 240.0
"""Seconds that a page may take for what a test waits for, on a machine with other work."""
READY = "window.app?.graph?._nodes?.length && window.LiteGraph?.registered_node_types['LorapipeStageTrain']"
"""It knows our nodes, and has opened the graph that it begins with, which else may replace a test's."""
DIALOG = "[role=dialog]"
HELPERS = """
window.nodeCalled = (name) => app.graph._nodes.find((node) =>
  node.title === name || node.widgets?.some((each) => each.name === "stage_name" && each.value === name));
window.widgetOf = (name, widget) => nodeCalled(name)?.widgets?.find((each) => each.name === widget);
"""


class GraphPage:
    """A tab with ComfyUI's page."""

    def __init__(self, server: Server, language: str = "en") -> None:
        settings = {"Comfy.TutorialCompleted": True, "Comfy.Locale": language}
        assert server.post("api/settings", settings)[0] == 200
        self.browser = Browser()
        self.browser.do(f"page.setDefaultTimeout({PATIENCE * 1000});")
        self.browser.do("await page.setViewportSize({width: 1600, height: 1000});")
        self.browser.do(f"await page.goto('http://127.0.0.1:{server.port}/');")
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self.browser.do(f"await page.waitForFunction(() => {READY});")
        self.browser.do(f"await page.evaluate(() => {{ {HELPERS} }});")

    def close(self) -> None:
        self.browser.close()

    def reload(self) -> None:
        """Reload the page, which opens the graph again that was open."""
        nodes = self.value("app.graph._nodes.length")
        self.browser.do("await page.reload();")
        self._wait_until_ready()
        self.wait(lambda: self.value("app.graph._nodes.length") == nodes, "the graph")

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.browser.has(expression)

    def run(self, script: str) -> None:
        """Run statements in the page."""
        self.browser.do(f"await page.evaluate(async () => {{ {script} }});")

    def open(self, graph: Mapping[str, Any]) -> None:
        """Open a graph in the page's form."""
        self.run(f"await app.loadGraphData({json.dumps(graph)});")

    def open_templates(self, names: Iterable[str]) -> None:
        """Open the page's templates and there our pack, by clicks; wait until it shows these, each with its picture."""
        self.browser.do("await page.locator('.templates-tab-button').first().click();")
        self.browser.do(f"await page.locator('{DIALOG}').getByText('lorapipe', {{exact: true}}).first().click();")
        self.browser.sees(*names, where=DIALOG)
        widths = f"[...document.querySelectorAll('{DIALOG} img')].map((each) => each.naturalWidth)"
        shown = f"((all) => all.length === {len([*names])} && all.every((each) => each > 100))({widths})"
        self.wait(lambda: self.value(shown), "a picture of each")

    def open_template(self, name: str) -> None:
        """Click a template in the dialog that `open_templates` opened, and wait until it is open."""
        self.browser.do(f"await page.locator('{DIALOG}').getByText('{name}', {{exact: true}}).first().click();")
        self.browser.do(f"await page.locator('{DIALOG}').waitFor({{state: 'hidden'}});")
        title = re.compile(rf"\W*{name} - ComfyUI")
        self.wait(lambda: title.fullmatch(self.value("document.title")), f"the title of {name}")

    def finds(self, words: str, title: str) -> None:
        """Search nodes by words, in what a double click on the canvas opens, and wait until one of this title is shown."""
        typing = "document.activeElement.tagName === 'INPUT'"

        def opened() -> object:
            self.browser.do("await page.mouse.dblclick(1000, 700); await page.waitForTimeout(1500);")
            return self.value(typing)

        self.wait(opened, "the search")
        self.browser.do(f"await page.keyboard.type({json.dumps(words)});")
        self.wait(lambda: self.value(f"document.body.innerText.includes({json.dumps(title)})"), f"{words}: {title}")
        self.browser.press("Escape")
        self.wait(lambda: not self.value(typing), "the end of the search")

    def graph(self) -> dict[str, Any]:
        """Return the graph as the page saves it."""
        saved: dict[str, Any] = self.value("JSON.parse(JSON.stringify(app.graph.serialize()))")
        return saved

    def queue(self) -> None:
        """Queue the graph by the keys that the page has for it."""
        self.browser.do("await page.mouse.move(700, 900);")
        self.browser.press("Control+Enter")

    def cancel(self) -> None:
        self.run("await app.extensionManager.command.execute('Comfy.Interrupt');")

    def text(self, node: str) -> str:
        """Return what a node says; empty if nothing."""
        return self.value(f"widgetOf({json.dumps(node)}, 'lorapipe_text')?.element.value ?? ''") or ""

    def has_curve(self, node: str) -> bool:
        """Whether a node has a loss curve that is drawn."""
        pixels = "c.getContext('2d').getImageData(0, 30, c.width, c.height - 30).data.some((each) => each)"
        found = f"((c) => !!c && {pixels})(widgetOf({json.dumps(node)}, 'lorapipe_curve')?.element)"
        return bool(self.value(found))

    def pictures(self, node: str) -> int:
        """Return how many pictures a node shows."""
        return int(self.value(f"nodeCalled({json.dumps(node)})?.imgs?.length ?? 0"))

    def wait(self, until: Callable[[], object], what: str) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < deadline, f"{what} did not come"
            time.sleep(0.1)

    def says(self, node: str, *words: str) -> None:
        """Wait until a node says these words."""
        self.wait(lambda: all(each in self.text(node) for each in words), f"{node}: {' … '.join(words)}")
