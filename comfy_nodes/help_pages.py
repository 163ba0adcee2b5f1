"""Files for ComfyUI that are generated from the descriptions: help pages, English texts, example graphs.

`lorapipe schema --write` writes them; a test compares them with the specs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorapipe.pipeline import loader

from . import translations
from .describe import nodes
from .node import Input, Node
from .translations import Translator
from .widgets import NOTHING, Widget
from .workflow import graph, page_format

FOLDER = Path(__file__).parent
PAGES, EXAMPLES = "web/docs", "example_workflows"
KINDS = {
    "switch": "yes or no",
    "whole": "whole number",
    "number": "number",
    "choice": "choice",
    "shelf": "choice",
    "numbers": "numbers",
    "lines": "text, one per line",
    "yaml": "settings, one per line",
    "path": "path",
}


def files() -> dict[str, str]:
    """Return the texts of the help pages and of ComfyUI's translations, by path in this folder."""
    made: dict[str, str] = {}
    for language in ("en", *translations.languages()):
        translate = translations.translator(language)
        told: dict[str, Any] = {}
        for node in nodes().values():
            told[node.id] = texts(node) if language == "en" else translate.node(node)
            name = node.id if language == "en" else f"{node.id}/{language}"  # as ComfyUI's page asks for them
            made[f"{PAGES}/{name}.md"] = page(node, translate)
        made[f"locales/{language}/nodeDefs.json"] = _messages(told)
    return made


def _messages(texts: dict[str, Any]) -> str:
    return json.dumps(translations.messages(texts), ensure_ascii=False, indent=1) + "\n"


def examples() -> dict[str, Path]:
    """Return the pipelines of the example graphs, by the graph's name."""
    return {file.stem: file for file in sorted((FOLDER / EXAMPLES).glob("*.yaml"))}


def example_graph(file: Path) -> dict[str, Any]:
    """Return the graph of an example in the page's format, with the notes of `NAME.md`: a section for each stage."""
    _, *sections = file.with_suffix(".md").read_text(encoding="utf-8").split("\n## ")
    notes = {name: text.strip() for name, _, text in (each.partition("\n") for each in sections)}
    return page_format(graph(loader.load(file)), notes)


def write(folder: Path) -> None:
    """Write all files, and remove the pages of nodes that no longer exist."""
    made = files()
    for name, file in examples().items():
        shown = example_graph(file)
        made[f"{EXAMPLES}/{name}.json"] = json.dumps(shown, ensure_ascii=False, indent=1) + "\n"
    for name, text in made.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    for file in (folder / PAGES).rglob("*.md"):
        if file.relative_to(folder).as_posix() not in made:
            file.unlink()


def texts(node: Node) -> dict[str, Any]:
    """Return a node's texts in the form of ComfyUI's translations."""
    return {
        "display_name": node.title,
        "description": node.help,
        "inputs": {each.name: {"name": each.name, "tooltip": each.help} for each in node.inputs},
        "outputs": {
            str(place): {"name": each.name, **({"tooltip": each.help} if each.help else {})}
            for place, each in enumerate(node.outputs)
        },
    }


def page(node: Node, translate: Translator) -> str:
    """Return the help page of a node, in Markdown and in a language; what that lacks is in English."""
    told, phrase = _laid_over(texts(node), translate.node(node)), translate.phrase
    rows = [_input_row(each, told["inputs"][each.name], phrase) for each in node.inputs]
    outputs = (
        f"- **{each['name']}**: {each['tooltip']}" if "tooltip" in each else f"- **{each['name']}**"
        for each in told["outputs"].values()
    )
    lines = [f"# {told['display_name']}", "", told["description"]]
    if rows:
        head = map(phrase, ("name", "what", "default", "meaning"))
        lines += ["", f"## {phrase('Inputs')}", "", _row(*head), "|---|---|---|---|", *rows]
    lines += ["", f"## {phrase('Outputs')}", "", *outputs]
    if node.spec is not None and node.name:
        setting = f"In a pipeline file: `{node.spec.tag}: {node.name}`. `lorapipe show` explains the same settings."
        lines += ["", phrase(setting)]
    return "\n".join([*lines, ""])


def _laid_over(english: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _laid_over(text, other.get(key, {})) if isinstance(text, dict) else other.get(key, text)
        for key, text in english.items()
    }


def _input_row(each: Input, told: dict[str, str], phrase: Callable[[str], str]) -> str:
    required = phrase("required") if each.required else ""
    if each.widget is None:
        kind = (
            "any lorapipe output"
            if each.socket == "*"
            else each.socket.replace("LORAPIPE_", "").lower().replace("_", " ").replace(",", " or ")
        )
        return _row(told["name"], phrase(f"link: {kind}"), required, told["tooltip"])
    return _row(told["name"], _kind(each.widget, phrase), required or _default(each.widget), told["tooltip"])


def _kind(widget: Widget, phrase: Callable[[str], str]) -> str:
    if widget.coding == "choice":
        return ", ".join(word for word in widget.words if word != NOTHING)
    kind = KINDS.get(widget.coding, "text")
    if widget.coding in ("whole", "number") and widget.high < 1e9:
        return phrase(f"{kind}, {widget.low:g} to {widget.high:g}")
    return phrase(kind)


def _default(widget: Widget) -> str:
    shown = widget.initial
    return str(shown).lower() if isinstance(shown, bool) else str(shown).replace("\n", ", ")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
