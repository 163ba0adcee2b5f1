"""Files for ComfyUI that are generated from the descriptions: help pages, English texts, example graphs.

`lorapipe schema --write` writes them; a test compares them with the specs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from lorapipe.pipeline import loader

from .describe import nodes
from .node import Input, Node
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
    """Return the texts of the help pages and translations, by path in this folder."""
    known = nodes()
    pages = {f"{PAGES}/{node.id}.md": page(node) for node in known.values()}
    english = {node.id: texts(node) for node in known.values()}
    return {**pages, "locales/en/nodeDefs.json": json.dumps(english, ensure_ascii=False, indent=1) + "\n"}


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
        "inputs": {each.name: {"name": each.name, "tooltip": each.tooltip} for each in node.inputs},
        "outputs": {str(place): {"name": each.name} for place, each in enumerate(node.outputs)},
    }


def page(node: Node) -> str:
    """Return the help page of a node, in Markdown. It has lists, since the page's panel is too narrow for tables."""
    usual, rare = (list(filter(chosen, node.inputs)) for chosen in (lambda each: not each.rare, lambda each: each.rare))
    parts = [*_inputs("Inputs", usual), *_inputs("Advanced inputs", rare), *_outputs(node)]
    return "\n".join([f"# {node.title}", "", node.help, *parts, ""])


def _inputs(title: str, inputs: list[Input]) -> Iterator[str]:
    if inputs:
        yield from ("", f"## {title}", "", *map(_input, inputs))


def _input(each: Input) -> str:
    values = each.values or (_link(each) if each.widget is None else _values(each, each.widget))
    words = filter(None, (each.help, each.syntax))
    return f"- **{each.name}** ({_escaped(values)}): {_escaped(' '.join(words))}"


def _link(each: Input) -> str:
    kind = each.socket.replace("LORAPIPE_", "").lower().replace("_", " ").replace(",", " or ")
    needed = "; required" if each.required else ""
    return f"link: {'any lorapipe output' if each.socket == '*' else kind}{needed}"


def _values(each: Input, widget: Widget) -> str:
    """Return the kind of a widget's values, and its default."""
    if widget.coding == "choice":
        kind = ", ".join(word for word in widget.words if word != NOTHING)
    else:
        kind = KINDS.get(widget.coding, "text")
    default = "" if each.required or widget.initial == NOTHING else _default(widget)
    return kind + ("; required" if each.required else f"; default {default}" if default else "")


def _default(widget: Widget) -> str:
    shown = widget.initial
    return str(shown).lower() if isinstance(shown, bool) else str(shown).replace("\n", ", ")


def _escaped(text: str) -> str:
    """Return a text as Markdown that shows it as it is, except for code between backticks."""
    parts = text.replace("\n", " ").split("`")
    return "`".join(part if place % 2 else re.sub(r"[\\*<]", r"\\\g<0>", part) for place, part in enumerate(parts))


def _outputs(node: Node) -> Iterator[str]:
    yield from ("", "## Outputs", "")
    yield from (f"- **{each.name}**: {each.help}" if each.help else f"- **{each.name}**" for each in node.outputs)
    if node.spec is not None and node.name:
        yield from (
            "",
            f"In a pipeline file: `{node.spec.tag}: {node.name}`. `lorapipe show` explains the same settings.",
        )
