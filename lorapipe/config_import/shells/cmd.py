"""Interprets batch files of Windows (cmd) without executing them."""

from __future__ import annotations

import re

from lorapipe.config_import.shells import LONGEST, MOST_STEPS, Command, Script, ShellSyntaxError, Word, is_training
from lorapipe.config_import.shells._arithmetic import evaluate, spelled

VARIABLE = re.compile(r"%(\w+)%|!(\w+)!|%([0-9*])|%~?(dp0|0)")
SET = re.compile(r"set\s+(/a\s+|/p\s+)?\"?([^=\"+*/-]+?)\s*([-+*/]?)=(.*?)\"?\s*", re.IGNORECASE | re.DOTALL)
IF = re.compile(r"if\s+(/i\s+)?(not\s+)?(.*)", re.IGNORECASE | re.DOTALL)
COMPARISON = re.compile(
    r"(\"[^\"]*\"|\S*?)\s*(==|\s(?:equ|neq|gtr|lss|geq|leq)\s)\s*(\"[^\"]*\"|\S+)(.*)", re.I | re.DOTALL
)
PASSED_OVER = ("echo", "cd", "call", "pause", "title", "setlocal", "endlocal", "chcp", "exit", "goto", "pip", "color")


def run(text: str) -> Script:
    """Interpret a batch file. `ShellSyntaxError` where it cannot be read."""
    shell = _Cmd(_logical_lines(text))
    shell.block(closing=False, live=True)
    return shell.script


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return lines, joined where `^` ends one, with the numbers of their first and all their line ends kept."""
    found: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        start = start if pending else number
        if line.rstrip().endswith("^") and not re.match(r"\s*(rem\b|::)", line, re.IGNORECASE):
            pending += line.rstrip()[:-1] + "\n"
            continue
        found.append((start, pending + line))
        pending = ""
    return [*found, (start, pending)] if pending else found


class _Cmd:
    """The state of an interpretation: the lines left, and the variables by their names in small letters."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines[::-1]
        self.variables: dict[str, Word] = {}
        self.script = Script()
        self.steps = 0

    def block(self, closing: bool, live: bool) -> str:
        """Interpret lines up to the `)` of a block, and return what follows it."""
        while self.lines:
            line, text = self.lines.pop()
            stripped = text.strip()
            if closing and stripped.startswith(")"):
                return stripped[1:].strip()
            self.statement(line, text, live)
        if closing:
            raise ShellSyntaxError(self.steps, "a block is not closed: ')' is missing")
        return ""

    def statement(self, line: int, text: str, live: bool) -> None:
        """Interpret one line."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise ShellSyntaxError(line, "the file is too long")
        stripped = text.strip().lstrip("@")
        first = re.split(r"[\s/:=(]", stripped.lower(), maxsplit=1)[0]
        if not stripped or first == "rem" or stripped.startswith((":", "(")):
            return
        if first == "if":
            self._if(line, stripped, live)
        elif first == "for":
            self._for(line, stripped, live)
        elif not live:
            return
        elif first == "set":
            self._set(line, stripped)
        elif first not in PASSED_OVER or ".py" in stripped:
            words = self._words(line, text)
            if is_training(words):
                self.script.commands.append(Command(words, line))

    def _for(self, line: int, text: str, live: bool) -> None:
        if live:
            self.script.remarks.append((line, "a loop (for) is not interpreted"))
        if text.rstrip().endswith("("):
            self.block(closing=True, live=False)

    def _set(self, line: int, text: str) -> None:
        found = SET.fullmatch(text)
        if found is None:
            return
        kind, name, sign, raw = (found[1] or "").strip().lower(), found[2].strip().lower(), found[3], found[4]
        value = self._expanded(raw, line)
        if kind == "/p":
            value = Word("", line, f"%{name}%, which is asked for")
        elif kind == "/a":
            before = self.variables.get(name, Word("0", line)).text
            formula = re.sub(
                r"[A-Za-z_]\w*", lambda at: self.variables.get(at[0].lower(), Word("0", 0)).text, value.text
            )
            result = evaluate(f"{before}{sign}({formula})" if sign else formula, whole=True)
            value = Word(
                "" if result is None else spelled(result), line, value.unknown or ("set /a" if result is None else "")
            )
        self.variables[name] = value

    def _if(self, line: int, text: str, live: bool) -> None:
        holds, rest = self._condition(text)
        if holds is None and live:
            what = "whether this condition holds is not known without running it: taken as false"
            self.script.remarks.append((line, what))
        rest = rest.strip()
        inline = re.fullmatch(r"\((.*?)\)\s*(?:else\s*\(?(.*?)\)?)?\s*", rest, re.DOTALL | re.IGNORECASE)
        if not rest.startswith("("):
            then, _, other = re.sub(r"\s+else\s+", "\0", rest, count=1, flags=re.IGNORECASE).partition("\0")
            self.statement(line, then if holds else other, live)
        elif inline and inline[1].strip():
            self.statement(line, inline[1], live and bool(holds))
            self.statement(line, inline[2] or "", live and not holds)
        else:
            after = self.block(closing=True, live=live and bool(holds))
            self._else(line, after, live and not holds)

    def _else(self, line: int, after: str, live: bool) -> None:
        """Interpret what follows the block of an `if`."""
        if not after.lower().startswith("else"):
            return
        rest = after[4:].strip()
        if rest.lower().startswith("if"):
            self._if(line, rest, live)
        elif rest == "(":
            self.block(closing=True, live=live)
        else:
            self.statement(line, rest, live)

    def _condition(self, text: str) -> tuple[bool | None, str]:
        """Return whether a condition holds (None: unknown), and the text after it."""
        found = IF.fullmatch(text)
        if found is None:
            return None, ""
        ignoring, negated, rest = bool(found[1]), bool(found[2]), found[3]
        holds: bool | None = None
        if defined := re.match(r"defined\s+(\S+)(.*)", rest, re.IGNORECASE | re.DOTALL):
            value = self.variables.get(defined[1].lower())
            holds, rest = bool(value and value.text), defined[2]
        elif other := re.match(r"(?:exist|errorlevel)\s+(\"[^\"]*\"|\S+)(.*)", rest, re.IGNORECASE | re.DOTALL):
            rest = other[2]
        elif compared := COMPARISON.match(rest):
            left, right = self._expanded(compared[1], 0), self._expanded(compared[3], 0)
            rest = compared[4]
            if not (left.unknown or right.unknown) or {left.text, right.text} & {'""'}:
                holds = _compared(left.text, compared[2].strip().lower(), right.text, ignoring)
        return (not holds if negated and holds is not None else holds), rest

    def _expanded(self, raw: str, line: int) -> Word:
        unknown = ""

        def value(found: re.Match[str]) -> str:
            nonlocal unknown
            name = (found[1] or found[2] or "").lower()
            if name in self.variables:
                unknown = unknown or self.variables[name].unknown
                return self.variables[name].text
            if found[4]:
                return ""
            unknown = unknown or f"{found[0]}, which the script does not set"
            return ""

        return Word(VARIABLE.sub(value, raw)[:LONGEST], line, unknown)

    def _words(self, line: int, text: str) -> tuple[Word, ...]:
        """Return the words of a command: separated by spaces outside quotes, each with its line."""
        found: list[Word] = []
        for offset, row in enumerate(text.split("\n")):
            for raw in re.findall(r"(?:\"[^\"]*\"?|\^.|[^\s\"^])+", row.lstrip("@ \t")):
                for part in self._split(self._expanded(raw, line + offset), quoted=raw.startswith('"')):
                    found.append(part)
        for place, word in enumerate(found):
            if word.text in (">", ">>", "|", "&", "&&"):
                return tuple(found[:place])
        return tuple(found)

    def _split(self, word: Word, quoted: bool) -> list[Word]:
        """Return the words that an expansion gives: a variable may hold several options."""
        parts = [word.text] if quoted else re.findall(r"(?:\"[^\"]*\"?|[^\s\"])+", word.text)
        plain = [re.sub(r"\^(.)", r"\1", part).replace('"', "") for part in parts]
        return [Word(part, word.line, word.unknown) for part in plain] or ([word] if word.unknown else [])


def _compared(left: str, sign: str, right: str, ignoring: bool) -> bool | None:
    first, second = left.strip('"'), right.strip('"')
    if ignoring:
        first, second = first.casefold(), second.casefold()
    if sign == "==":
        return first == second
    one, other = evaluate(first), evaluate(second)
    if one is None or other is None:
        return {"equ": first == second, "neq": first != second}.get(sign)
    return {"equ": one == other, "neq": one != other, "gtr": one > other, "lss": one < other,
            "geq": one >= other, "leq": one <= other}[sign]  # fmt: skip
