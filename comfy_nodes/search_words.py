"""The words that find a node in the page's search, in every language.

The English ones are those of the spec (`Spec.search_words`) or of the node's file; `locales/LANGUAGE/search.json` has those
of a further language, by the node's id.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from .node import Node


def search_words(node: Node) -> tuple[str, ...]:
    """Return the words of a node in all languages."""
    return (*node.search_words, *_translated().get(node.id, ()))


@cache
def _translated() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted((Path(__file__).parent / "locales").glob("*/search.json")):
        for id, words in json.loads(file.read_text("utf-8")).items():
            found.setdefault(id, []).extend(words)
    return found
