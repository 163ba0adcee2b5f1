"""Write a drafted pipeline as YAML with a comment on every line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lorapipe.pipeline.yaml_text import flow
from lorapipe.starting_settings.drafts import PipelineDraft, Setting

WIDTH = 125
COLUMN = 46
"""Column of the comments, where lines are shorter."""


def text_of(draft: PipelineDraft, command: str) -> str:
    """Return the file. `command` is how it was made, for its first lines."""
    lines = [*_head(draft, command), "", "vars:  # what differs from subject to subject"]
    lines += _settings(draft.variables, "  ")
    lines += ["", "stages:  # what happens, in this order; $name is the result of another"]
    for stage in draft.stages:
        lines += [f"  {stage.name}:  # {stage.why}"]
        lines += _line(f"    uses: {stage.uses}", f"`lorapipe show stage {stage.uses}` explains all settings")
        lines += [*_settings(stage.settings, "    "), ""]
    return "\n".join(lines).rstrip() + "\n"


def _head(draft: PipelineDraft, command: str) -> Iterator[str]:
    yield from _comment(draft.title)
    yield from _comment(f"Written by `{command}`.")
    yield "# Every value is a first guess from the pictures: run it once, read the report, then change it."
    yield "#"
    yield "#     lorapipe plan FILE    what it will do, and how much memory it takes"
    yield "#     lorapipe run FILE"
    if draft.notes:
        yield "#"
    for note in draft.notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="# - ", subsequent_indent="#   ", break_long_words=False)


def _comment(text: str) -> Iterator[str]:
    text = printable(text)
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _settings(settings: tuple[Setting, ...], indent: str) -> list[str]:
    found: list[str] = []
    for each in settings:
        written = flow(each.value)
        if isinstance(each.value, list) and len(indent) + len(each.key) + len(written) > 60 and each.value:
            found += [f"{indent}{each.key}:  # {each.why}", *(f"{indent}  - {flow(item)}" for item in each.value)]
        else:
            found += _line(f"{indent}{each.key}: {written}", each.why)
    return found


def _line(text: str, why: str) -> list[str]:
    """Return a line with its comment behind it, or above it where both are too long for one."""
    why = printable(why)
    padded = f"{text:<{COLUMN - 2}}  # {why}"
    if len(padded) <= WIDTH:
        return [padded]
    indent = text[: len(text) - len(text.lstrip())]
    return [*textwrap.wrap(why, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "), text]


def printable(text: str) -> str:
    """Return a text for a comment: in one line, without control characters."""
    text = " ".join(text.split()).encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
