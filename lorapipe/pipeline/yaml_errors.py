"""Readable messages for YAML syntax errors: the line of the cause, and what to type instead.

A parser stops where it cannot continue, which may be lines below the cause. So the lines up to there are searched for
common typing errors (`TYPOS`); if none is found, the message is made from the parser's state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lorapipe.errors import Problem
from lorapipe.pipeline.yaml_typos import FLOW_HINT, IN_QUOTES, NAME, ODD, SEEN, Typo, marked, odd_name

WIDE_MARKS = {"，": ",", "、": ",", "｛": "{", "｝": "}", "［": "[", "］": "]", "【": "[", "】": "]"}
"""Full-width punctuation of Chinese and Japanese keyboards, and what is meant."""
WIDE = f"[{''.join(WIDE_MARKS)}]"
NEAR = 40
"""Lines above the parser's that are searched."""
COLON_IN_TEXT = "Put text that contains ': ' in quotes, and check the indentation."


class Mark(NamedTuple):
    """Line and column in the text, both from 0, as in the parser."""

    line: int
    column: int


TYPOS = (
    Typo(r"^\s*(```|~~~)", "this line is a code fence from a web page or chat.",
    "Remove the line.", 1),
    Typo(r"^ *(\t)", "a tab at the beginning of a line.", "Indent with spaces, not with tabs.", 1),
    Typo(rf"(?:^[ -]*|[:\[{{,-] *)([{ODD}])", "a {character}.",
         "Replace it by a plain space, or remove it.", 1),
    Typo(rf"^\s*{NAME}\s*(：)", "a full-width colon.", "Type ':' and a space.", 1),
    Typo(r"(?:^|[:\[{,-])\s*([“”„‘’«»])", "typographic quotes, which YAML does not treat as quotes.",
         "Type straight ones: \" or '.", 1),
    Typo(rf"^\s*{NAME}:\s+([｛［【])", "a full-width bracket.", "Type the plain one: { or [.", 1),
    Typo(r"^\s*([–—−•·*])\s", "this mark does not begin an entry of a list.", "Type '-' and a space.", 1),
    Typo(rf"^\s*{NAME}(:)(?![\s/\\]|$)", "a space is missing after ':'.", "Write `name: value`.", 1),
    Typo(rf"^\s*{NAME}\s*(=)(?!=)", "a setting is written with ':', not with '='.", "Write `name: value`.", 1),
    Typo(r"^\s*(-)[^\s\d.-]", "a space is missing after '-'.", "Write `- value`.", 1),
    Typo(r"(?:^|[:\[{,-])\s+((?P<q>[\"'])(?:(?!(?P=q)).)*)$", "this quote is not closed.",
         "Close it in its line.", 1),
)  # fmt: skip


def problem(text: str, name: str, context: str, begin: Mark | None, said: str, end: Mark) -> Problem:
    """Return the problem of a text: the parser read `context` since `begin`, and reported `said` at `end`."""
    lines = text.splitlines()
    found = _typo(lines, min(end.line, len(lines) - 1), begin) or _state(lines, context, begin or end, said, end)
    at, what, cure = found
    if at.line >= len(lines):  # the parser's end is after the last line
        at = Mark(max(0, len(lines) - 1), len(lines[-1]) if lines else 0)
    excerpt = marked(lines[at.line], at.column + 1) if lines else ""
    return Problem(f"this is not YAML: {what}", f"{name}:{at.line + 1}:{at.column + 1}", cure, excerpt=excerpt)


Found = tuple[Mark, str, str]


def _typo(lines: Sequence[str], last: int, begin: Mark | None) -> Found | None:
    """Find the nearest typing error at or above the parser's line."""
    above = max(0, last - NEAR, last - 2 if begin is None else begin.line - 1)
    for number in range(last, above - 1, -1):
        line = without_quoted(lines[number][:SEEN])
        for typo in TYPOS:
            if found := typo.search(line):
                if "{" in typo.what:
                    return _pasted(lines, typo)
                return Mark(number, found.start(typo.at)), typo.what, typo.cure
    return None


def _pasted(lines: Sequence[str], typo: Typo) -> Found:
    """Explain a typo that came with pasted text: the first occurrence, and the number of other lines with it."""
    every = (typo.search(without_quoted(line[:SEEN])) for line in lines)
    first, *more = [(number, found) for number, found in enumerate(every) if found]
    number, found = first
    what = typo.what.format(character=odd_name(found[typo.at]))
    others = f" {len(more)} more line{'s have' if more[1:] else ' has'} one." if more else ""
    return Mark(number, found.start(typo.at)), what, f"{typo.cure}{others}"


QUOTED = re.compile(r"""(?<![\w)\]}])("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")
COMMENT = re.compile(r"(^|\s)#.*$")


def without_quoted(line: str) -> str:
    """Return a line with quoted text replaced by spaces, and without its comment."""
    return COMMENT.sub("", QUOTED.sub(lambda found: " " * len(found[0]), line))


def _state(lines: Sequence[str], context: str, begin: Mark, said: str, end: Mark) -> Found:
    """Explain the error by the first entry of `STATES` that matches the parser's state."""
    line = lines[end.line] if end.line < len(lines) else ""
    for words, explain in STATES:
        if words in f"{context}: {said}":
            return explain(lines, line, begin, end, said)
    return end, f"{said}.", ""


Explanation = Callable[[Sequence[str], str, Mark, Mark, str], Found]


def _escape(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return end, "in double quotes \\ begins an escape such as \\n, but this is not a valid one.", IN_QUOTES


def _open_quote(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return begin, "this quote is not closed.", "Close it in its line."


def _brackets(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    """Explain an error inside [ ] or { }."""
    before = line[: end.column + 1][begin.column if begin.line == end.line else 0 :]
    if re.search(r"\$\{", before):
        return end, "a ${name} without quotes inside { } or [ ].", FLOW_HINT
    if wide := re.search(WIDE, without_quoted(line)[: end.column]):
        plain = WIDE_MARKS[wide[0]]
        return Mark(end.line, wide.start()), f"a full-width {wide[0]}.", f"Type the plain one: {plain}"
    bracket = lines[begin.line][begin.column : begin.column + 1] if begin.line < len(lines) else ""
    if end.line > begin.line:
        return begin, f"this {bracket} is not closed.", f"Close it with {']' if bracket == '[' else '}'}."
    return end, "a comma is missing.", "Put one between entries, and quotes around text with , [ ] { } or ': '."


def _no_colon(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    """Explain a line that is neither `name: value` nor an entry of a list."""
    dash = any(each.strip().startswith("- ") for each in lines[max(0, begin.line - 1) : begin.line])
    what = "'- ' is missing before it, as in the entry above." if dash else "this line is not `name: value`."
    return begin, what, "Write `- value`." if dash else "Write a ':' and a space after the name."


def _colon(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    """Explain a second colon in a line, or a colon below a line with a value."""
    if re.search(r":\s", without_quoted(line[: end.column])):
        return end, "a second ': ' in one line.", COLON_IN_TEXT
    above = next((number for number in range(end.line - 1, -1, -1) if lines[number].strip()), None)
    if above is None:
        return end, "a ':' without a name before it.", COLON_IN_TEXT
    indent, wanted = _indent(line), _indent(lines[above])
    at = Mark(end.line, indent)
    if indent > wanted and re.search(r":\s+\S", lines[above]):
        cure = f"Indent it with {wanted} spaces, like line {above + 1}."
        return at, f"it is indented more than line {above + 1}, which already has a value.", cure
    if re.search(r":(\s|$)", lines[above]):
        return at, "its indentation matches no line above.", "Indent lines that belong together equally."
    return Mark(above, wanted), "this line is not `name: value`.", "Write a ':' and a space after the name."


def _no_key(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    """Explain an error where a name is expected."""
    before = line[: end.column].rstrip()
    if before.endswith(("'", '"', "]", "}")):
        return end, "there is text after the closing quote or bracket.", "Put quotes around all of it, or remove it."
    if line.strip().startswith("- "):
        return end, "an entry of a list among settings.", "Write the name of the list above it, and indent the entries."
    if before:
        return end, "a name is missing here.", "Write `name: value`."
    above = next((each for each in range(end.line - 1, -1, -1) if lines[each].strip()), begin.line)
    indents = {begin.column: begin.line, _indent(lines[above]): above}
    cure = " or ".join(f"{indent} spaces, like line {number + 1}" for indent, number in indents.items())
    return end, f"its indentation, {end.column} spaces, matches no line above.", f"Indent it with {cure}."


def _no_dash(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return end, f"'- ' is missing before it, as in line {begin.line + 1}.", "Write `- value`, or indent it less."


def _mark(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    at = begin if begin.line == end.line else end
    return at, f"{line[at.column : at.column + 1]!r} cannot begin a text.", "Put the text in quotes: '…'."


def _block(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return begin, "after | or > the text begins on the next line.", "Put the text in quotes, or on the next line."


def _after_end(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return end, "there is text after the end of the document.", "A pipeline is one mapping: `vars:` and `stages:`."


def _second(lines: Sequence[str], line: str, begin: Mark, end: Mark, said: str) -> Found:
    return end, "expected a single document.", "Keep one document: remove the '---' lines."


STATES: tuple[tuple[str, Explanation], ...] = (
    ("quoted scalar: found unexpected end", _open_quote),
    ("quoted scalar: found unexpected document", _open_quote),
    ("while parsing a quoted scalar", _escape),
    ("single document", _second),
    ("while parsing a flow", _brackets),
    ("could not find expected ':'", _no_colon),
    ("mapping values are not allowed", _colon),
    ("block mapping: did not find expected key", _no_key),
    ("expected '-' indicator", _no_dash),
    ("cannot start any token", _mark),
    ("scanning an alias", _mark),
    ("scanning an anchor", _mark),
    ("scanning a tag", _mark),
    ("scanning a directive", _mark),
    ("expected node content", _mark),
    ("mapping keys are not allowed", _mark),
    ("block sequence entries are not allowed", _mark),
    ("block scalar", _block),
    ("expected <document start>", _after_end),
)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
