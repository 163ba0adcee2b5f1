"""Files for ComfyUI that are generated from the descriptions: help pages, texts, example graphs, the descriptions as JSON.

`lorapipe schema --write` writes them; a test compares them with the specs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorapipe.pipeline import loader

from . import stored_nodes, translations
from .describe import nodes
from .node import Input, Node
from .translations import Translator
from .widgets import NOTHING, Widget
from .workflow import graph, page_format

FOLDER = Path(__file__).parent
PAGES, EXAMPLES = "web/docs", "example_workflows"
KINDS = {
    "switch": "yes or no",
    "choice": "choice",
    "shelf": "choice",
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
    """Return the graph of an example in the page's format, with the notes of `NAME.md`, in other languages `NAME.ko.md`."""
    notes: dict[str, dict[str, str]] = {}
    for language in ("en", *translations.languages()):
        written = file.with_suffix(".md" if language == "en" else f".{language}.md")
        for stage, text in _sections(written).items():
            notes.setdefault(stage, {})[language] = text
    return page_format(graph(loader.load(file)), notes)


def _sections(file: Path) -> dict[str, str]:
    """Return the sections of a Markdown file by their headings; none if there is no file."""
    _, *sections = (file.read_text(encoding="utf-8") if file.is_file() else "").split("\n## ")
    return {name: text.strip() for name, _, text in (each.partition("\n") for each in sections)}


def write(folder: Path) -> None:
    """Write all files, and remove the pages of nodes that no longer exist."""
    made = {**files(), stored_nodes.FILE.name: stored_nodes.text()}
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
        "inputs": {each.name: {"name": each.name, "tooltip": each.tooltip} for each in node.inputs},
        "outputs": {
            str(place): {"name": each.name, **({"tooltip": each.help} if each.help else {})}
            for place, each in enumerate(node.outputs)
        },
    }


def page(node: Node, translate: Translator) -> str:
    """Return the help page of a node, in Markdown and in a language; what that lacks is in English.

    It has lists, since the page's panel is too narrow for tables.
    """
    told, phrase = _laid_over(texts(node), translate.node(node)), translate.phrase
    lines = [f"# {told['display_name']}", "", told["description"]]
    for title, rare in (("Inputs", False), ("Advanced inputs", True)):
        inputs = [each for each in node.inputs if each.rare == rare]
        if inputs:
            items = (_input(each, told["inputs"][each.name], phrase) for each in inputs)
            lines += ["", f"## {phrase(title)}", "", *items]
    outputs = (
        f"- **{each['name']}**: {each['tooltip']}" if "tooltip" in each else f"- **{each['name']}**"
        for each in told["outputs"].values()
    )
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


def _input(each: Input, told: dict[str, str], phrase: Callable[[str], str]) -> str:
    """Return an input as an item of a list; the tooltip of a number says its values."""
    values = "" if each.values else f" ({_escaped(_values(each, phrase))})"
    return f"- **{told['name']}**{values}: {_escaped(told['tooltip'])}"


def _values(each: Input, phrase: Callable[[str], str]) -> str:
    """Return what an input takes, and its default."""
    default = ""
    if each.widget is None:
        name = each.socket.replace("LORAPIPE_", "").lower().replace("_", " ").replace(",", " or ")
        kind = phrase("any lorapipe output" if each.socket == "*" else f"link: {name}")
    elif each.widget.coding == "choice":
        kind, default = ", ".join(word for word in each.widget.words if word != NOTHING), _default(each.widget)
    else:
        kind, default = phrase(KINDS.get(each.widget.coding, "text")), _default(each.widget)
    if each.required:
        return f"{kind}; {phrase('required')}"
    return f"{kind}; {phrase('default')} {default}" if default and default != NOTHING else kind


def _escaped(text: str) -> str:
    """Return a text as Markdown that shows it as it is, except for code between backticks."""
    parts = text.replace("\n", " ").split("`")
    return "`".join(part if place % 2 else re.sub(r"[\\*<]", r"\\\g<0>", part) for place, part in enumerate(parts))


def _default(widget: Widget) -> str:
    shown = widget.initial
    return str(shown).lower() if isinstance(shown, bool) else str(shown).replace("\n", ", ")
