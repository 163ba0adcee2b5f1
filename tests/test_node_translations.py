"""The nodes' texts in other languages: every text of every node is there, keeps its figures, and none is left over."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes import describe, help_pages, translations
from comfy_nodes.translations import Translator

NODES = describe.nodes()
FOLDER = Path(help_pages.__file__).parent
FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
LITERAL = re.compile(r"`[^`]+`|\$\w+|\{[^{}]*\w[^{}]*\}|\d+e-\d+")
"""What is the same in every language: code, references, settings in braces."""


@pytest.fixture(params=translations.languages())
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def translator(language: str) -> Translator:
    """The translator into a language, which was asked for all that the nodes and their help pages say."""
    asked = translations.translator(language)
    for node in NODES.values():
        help_pages.page(node, asked)
    return asked


def english() -> dict[str, list[str]]:
    """Return all that the nodes and their help pages say, as it is translated, and where it is."""
    nothing = translations.translator("en")
    for node in NODES.values():
        help_pages.page(node, nothing)
    return nothing.lacking


def table(translator: Translator) -> dict[str, str]:
    return {**translator.texts.table, **translator.phrases.table}


def test_every_text_of_every_node_is_translated(language: str, translator: Translator) -> None:
    lacking = [f"{', '.join(where[:3])}: {text!r}" for text, where in translator.lacking.items()]
    assert not lacking, f"comfy_nodes/translations/{language}.json lacks:\n" + "\n".join(lacking)


def test_every_note_of_the_examples_is_translated_with_the_same_code(language: str) -> None:
    for name, file in help_pages.examples().items():
        notes = [each for each in help_pages.example_graph(file)["nodes"] if each["type"] == "MarkdownNote"]
        assert notes
        for texts in (each["properties"]["lorapipe_texts"] for each in notes):
            assert language in texts, f"{name}.{language}.md lacks the section of {texts['en']}"
            assert {*LITERAL.findall(texts["en"])} == {*LITERAL.findall(texts[language])}


def test_no_translation_is_left_over(language: str, translator: Translator) -> None:
    """A text that changed in English shows up twice: the new one lacks a translation, the old one is left over."""
    asked = english()
    fillings = {filling for text in table(translator) for each in asked for filling in _fillings(text, each)}
    texts = [
        text
        for text in table(translator)
        if text not in asked and text not in fillings and not any(_fillings(text, each) for each in asked)
    ]
    own = {
        name
        for node in NODES.values()
        for mark, found in ((".", node.inputs), (">", node.outputs))
        for each in found
        for name in (each.name, f"{node.id}{mark}{each.name}")
    }
    names = [name for name in translator.names if name not in own]
    left = "\n".join(map(repr, (*texts, *names)))
    assert not left, f"comfy_nodes/translations/{language}.json translates what no node says:\n{left}"


def test_translations_keep_figures_and_code(language: str, translator: Translator) -> None:
    lost = [
        f"{text!r} → {other!r}: {sorted(gone)}"
        for text, other in table(translator).items()
        if (gone := _kept(text) - _kept(other))
    ]
    assert not lost, f"comfy_nodes/translations/{language}.json has lost figures or code:\n" + "\n".join(lost)


def test_names_of_a_node_differ(language: str) -> None:
    """Two widgets, or two outputs, with one name could not be told apart."""
    written = json.loads((FOLDER / f"locales/{language}/nodeDefs.json").read_text("utf-8"))
    same = {
        (id, side): twice
        for id, texts in written.items()
        for side in ("inputs", "outputs")
        if (twice := [name for name, count in Counter(_names(texts.get(side, {}))).items() if count > 1])
    }
    assert not same


def test_the_page_reads_the_texts_as_they_are() -> None:
    """vue-i18n takes `{…}` as a place to fill in and `|` as the end of a text, except as literals: `{'|'}`."""
    for file in FOLDER.glob("locales/*/nodeDefs.json"):
        for text in _leaves(json.loads(file.read_text("utf-8"))):
            assert not re.search(r"[{}|@]", re.sub(r"\{'[{}|@]'\}", "", text)), f"{file}: {text}"


def test_the_menu_is_translated(language: str) -> None:
    words = {word for node in NODES.values() for word in node.category.split("/")[1:]}
    main = json.loads((FOLDER / f"locales/{language}/main.json").read_text("utf-8"))
    assert set(main["nodeCategories"]) == words


def _kept(text: str) -> set[str]:
    return {*FIGURE.findall(text), *LITERAL.findall(text)}


def _names(texts: Mapping[str, Any]) -> Iterator[str]:
    yield from (each["name"] for each in texts.values() if "name" in each)


def _leaves(texts: Mapping[str, Any]) -> Iterator[str]:
    for text in texts.values():
        yield from _leaves(text) if isinstance(text, dict) else (text,)


def _fillings(template: str, text: str) -> tuple[str, ...]:
    """Return what a text has in the places of a template; nothing if it is no such text."""
    if "{0}" not in template:
        return ()
    found = re.fullmatch(re.sub(r"\\\{\d\\\}", "(.+?)", re.escape(template)), text)
    return found.groups() if found else ()
