"""Files for ComfyUI that are generated from the descriptions: help pages, English texts, example graphs.

`lorapipe schema --write` writes them; a test compares them with the specs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lorapipe.pipeline import loader

from . import translations
from .describe import nodes
from .node import Input, Node
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
    known = nodes()
    pages = {f"{PAGES}/{node.id}.md": page(node) for node in known.values()}
    told = {"en": {node.id: texts(node) for node in known.values()}}
    for language in translations.languages():
        translate = translations.translator(language)
        told[language] = {node.id: translate.node(node) for node in known.values()}
    return {**pages, **{f"locales/{language}/nodeDefs.json": _messages(each) for language, each in told.items()}}


def _messages(texts: dict[str, dict[str, object]]) -> str:
    return json.dumps(translations.messages(texts), ensure_ascii=False, indent=1) + "\n"


def examples() -> dict[str, Path]:
    """Return the pipelines of the example graphs, by the graph's name."""
    quickstart = FOLDER.resolve().parent / "pipelines" / "quickstart.yaml"
    return {"first_lora": quickstart, **{file.stem: file for file in sorted((FOLDER / EXAMPLES).glob("*.yaml"))}}


def write(folder: Path) -> None:
    """Write all files, and remove the pages of nodes that no longer exist."""
    made = files()
    for name, file in examples().items():
        shown = page_format(graph(loader.load(file)))
        made[f"{EXAMPLES}/{name}.json"] = json.dumps(shown, ensure_ascii=False, indent=1) + "\n"
    for name, text in made.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    for file in (folder / PAGES).glob("*.md"):
        if file.relative_to(folder).as_posix() not in made:
            file.unlink()


def texts(node: Node) -> dict[str, object]:
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


def page(node: Node) -> str:
    """Return the help page of a node, in Markdown."""
    return "\n".join(
        [f"# {node.title}", "", node.help, *_table("Inputs", map(_input_row, node.inputs)), *_outputs(node), ""]
    )


def _table(title: str, rows: Iterator[str]) -> Iterator[str]:
    lines = list(rows)
    if lines:
        yield from ("", f"## {title}", "", "| name | what | default | meaning |", "|---|---|---|---|", *lines)


def _input_row(each: Input) -> str:
    if each.widget is None:
        kind = (
            "any lorapipe output"
            if each.socket == "*"
            else each.socket.replace("LORAPIPE_", "").lower().replace("_", " ").replace(",", " or ")
        )
        return _row(each.name, f"link: {kind}", "required" if each.required else "", each.help)
    default = "required" if each.required else _default(each.widget)
    return _row(each.name, _kind(each.widget), default, each.help)


def _kind(widget: Widget) -> str:
    if widget.coding == "choice":
        return ", ".join(word for word in widget.words if word != NOTHING)
    if widget.coding in ("whole", "number"):
        return (
            f"{KINDS[widget.coding]}, {widget.low:g} to {widget.high:g}" if widget.high < 1e9 else KINDS[widget.coding]
        )
    return KINDS.get(widget.coding, "text")


def _default(widget: Widget) -> str:
    shown = widget.initial
    return str(shown).lower() if isinstance(shown, bool) else str(shown).replace("\n", ", ")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _outputs(node: Node) -> Iterator[str]:
    yield from ("", "## Outputs", "")
    yield from (f"- **{each.name}**: {each.help}" if each.help else f"- **{each.name}**" for each in node.outputs)
    if node.spec is not None and node.name:
        yield from (
            "",
            f"In a pipeline file: `{node.spec.tag}: {node.name}`. `lorapipe show` explains the same settings.",
        )
