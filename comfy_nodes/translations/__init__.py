"""The nodes' texts in other languages: one JSON file for each language, in three tables.

    names     of inputs and outputs: `steps`, or where a node means something else by it, `LorapipeStageEvaluate.steps`, of
              an output `LorapipeStagePaint>pictures`
    texts     titles, descriptions, tooltips: English text → translation, with `{0}` for what is put in
    phrases   what help pages say besides, in the same form

The key is the English text itself, so each text is translated once, whatever the number of nodes that have it, and one
that has changed lacks a translation. What lacks one is left out of the files that `help_pages` writes, and ComfyUI shows
it in English. A tooltip ends with the input's name in pipeline files, which the page does not show.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorapipe.evaluation.translations import Translation

from ..node import Input, Node

FOLDER = Path(__file__).parent
TOLD = re.compile(r"(.*?)( ?Rarely changed\.)?( ?kohya: [\w, ]+\.)?", re.DOTALL)
"""A help, whether it is rarely changed, and kohya's names of the knob, which are the same in every language."""


def languages() -> tuple[str, ...]:
    """The languages besides English, by their codes (ISO 639-1)."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def translator(language: str) -> Translator:
    """The translator into a language of `languages()`, or into English, for which it has no translations."""
    if language == "en":
        return Translator({}, Translation({}), Translation({}))
    tables = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return Translator(tables["names"], Translation(tables["texts"]), Translation(tables["phrases"]))


@dataclass
class Translator:
    """Translates the texts of nodes; `lacking` collects what it was asked for and does not know."""

    names: dict[str, str]
    texts: Translation
    phrases: Translation
    lacking: dict[str, list[str]] = field(default_factory=dict)

    def phrase(self, text: str) -> str:
        """Return a phrase of a help page; in English if it is not translated."""
        return self._noted(self.phrases(text), text, "help page") or text

    def node(self, node: Node) -> dict[str, Any]:
        """Return a node's texts in the form of ComfyUI's translations, without those that are not translated."""
        return _without_gaps(
            {
                "display_name": self._text(node.title, f"{node.id}: title"),
                "description": self._text(node.help, f"{node.id}: description"),
                "inputs": {
                    each.name: {
                        "name": self._name(node, ".", each.name),
                        "tooltip": self._tooltip(each, f"{node.id}.{each.name}: tooltip"),
                    }
                    for each in node.inputs
                },
                "outputs": {
                    str(place): {
                        "name": self._name(node, ">", each.name),
                        "tooltip": self._text(each.help, f"{node.id}, output {each.name}: tooltip"),
                    }
                    for place, each in enumerate(node.outputs)
                },
            }
        )

    def _name(self, node: Node, mark: str, name: str) -> str | None:
        found = self.names.get(f"{node.id}{mark}{name}") or self.names.get(name)
        return self._noted(found, name, f"{node.id}: name")

    def _text(self, text: str, where: str) -> str | None:
        return self._noted(self.texts(text), text, where) if text else ""

    def _tooltip(self, each: Input, where: str) -> str | None:
        """Translate help and syntax by themselves, since many widgets share a syntax."""
        found = [part if part.startswith("kohya: ") else self._text(part, where) for part in parts(each)]
        if each.values:
            values = self._noted(self.phrases(each.values), each.values, where)
            found.insert(len(found) - bool(each.syntax), values and f"{values}.")
        told = [part for part in found if part is not None]
        return " ".join([*told, f"[{each.name}]"]) if len(told) == len(found) else None

    def _noted(self, found: str | None, text: str, where: str) -> str | None:
        if found is None:
            self.lacking.setdefault(text, []).append(where)
        return found


def parts(each: Input) -> tuple[str, ...]:
    """Return an input's tooltip as what is translated by itself: its help, kohya's names of it, the widget's syntax.

    A number's values, which the tooltip has before the syntax, are a phrase.
    """
    found = TOLD.fullmatch(each.help.strip())
    assert found is not None, "the pattern fits every text"
    return tuple(part for part in (*(str(each or "").strip() for each in found.groups()), each.syntax) if part)


def messages(texts: dict[str, Any]) -> dict[str, Any]:
    """Write texts as messages of vue-i18n, as which the page reads them: `{`, `}`, `@` and `|` mean something there."""
    return {
        key: messages(text) if isinstance(text, dict) else re.sub(r"[{}@|]", r"{'\g<0>'}", text)
        for key, text in texts.items()
    }


def _without_gaps(texts: dict[str, Any]) -> dict[str, Any]:
    inner = {key: _without_gaps(value) if isinstance(value, dict) else value for key, value in texts.items()}
    return {key: value for key, value in inner.items() if value not in (None, "", {})}
