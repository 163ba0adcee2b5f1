"""Interprets batch files of Windows (cmd) without executing them."""

from __future__ import annotations

import re
from contextlib import suppress

from lorapipe.config_import.shells import (
    MOST_STEPS,
    MOST_TURNS,
    Command,
    Ended,
    Script,
    ShellSyntaxError,
    Word,
    is_training,
    refused,
)
from lorapipe.config_import.shells._arithmetic import evaluate, spelled
from lorapipe.config_import.shells._cmd_conditions import condition
from lorapipe.config_import.shells._cmd_words import Expansion

SET = re.compile(r"set\s+(/a\s+|/p\s+)?\"?([^=\"+*/-]+?)\s*([-+*/]?)=(.*?)\"?\s*", re.IGNORECASE | re.DOTALL)
FOR = re.compile(r"for\s+(/l\s+|/\w\s+)?%%(\w)\s+in\s*\(([^()]*)\)\s*do\s*(.*)", re.IGNORECASE | re.DOTALL)
PASSED_OVER = (
    "echo",
    "cd",
    "pushd",
    "popd",
    "pause",
    "title",
    "setlocal",
    "endlocal",
    "chcp",
    "pip",
    "color",
    "mkdir",
    "md",
)
HERE = re.compile(r"(?:/d\s+)?\"?(?:%~dp0[\\.]*|\.)?\"?", re.IGNORECASE)
"""Where `cd` leads nowhere else."""


def run(text: str) -> Script:
    """Interpret a batch file. `ShellSyntaxError` where it cannot be read."""
    shell = _Cmd(_logical_lines(text))
    with suppress(Ended):
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
        self.jump = ""
        self.variables: dict[str, Word] = {}
        self.expansion = Expansion(self.variables)
        self.script = Script()
        self.steps = 0

    def block(self, closing: bool, live: bool) -> str:
        """Interpret lines up to the `)` of a block, and return what follows it."""
        while self.lines:
            if self.jump and closing:
                return ""
            self._jumped()
            line, text = self.lines.pop()
            stripped = text.strip()
            if closing and stripped.startswith(")"):
                return stripped[1:].strip()
            self.statement(line, text, live)
        if closing and not self.jump:
            raise ShellSyntaxError(self.steps, "a block is not closed: ')' is missing")
        return ""

    def _jumped(self) -> None:
        """Pass over the lines up to the label of a `goto`, which is there."""
        label, self.jump = self.jump, ""
        while label and not _is_label(self.lines.pop()[1], label):
            pass

    def _goto(self, line: int, text: str, is_call: bool) -> None:
        """Jump forward; to the end of the file the script ends, and any other jump is refused."""
        label = text.split()[1].lstrip(":").lower() if len(text.split()) > 1 else ""
        if label == "eof" and not is_call:
            raise Ended
        if is_call or not any(_is_label(each, label) for _, each in self.lines):
            what = f"`{text.strip()[:80]}`, {'a part that is called' if is_call else 'a jump back or nowhere'},"
            self.script.remarks.append((line, refused(what)))
        else:
            self.jump = label

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
        else:
            self._command(line, first, text)

    def _command(self, line: int, first: str, text: str) -> None:
        """Interpret a command that sets nothing: keep a training, and name what changes what follows."""
        stripped = text.strip().lstrip("@")
        if first == "exit":
            raise Ended
        if first == "goto" or re.match(r"call\s+:", stripped, re.IGNORECASE):
            self._goto(line, stripped, is_call=first == "call")
        elif first in ("cd", "pushd", "chdir") and not HERE.fullmatch(stripped[len(first) :].strip()):
            what = f"`{stripped[:80]}`: relative paths after it start there; here they start at the script"
            self.script.remarks.append((line, what))
        elif first == "call" and re.search(r"(?<!activate)\.(bat|cmd)\b", stripped, re.IGNORECASE):
            self.script.remarks.append((line, refused(f"`{stripped[:80]}`, another script,")))
        elif first not in PASSED_OVER or ".py" in stripped:
            words = self.expansion.words(line, text)
            if is_training(words):
                self.script.commands.append(Command(words, line))

    def _for(self, line: int, text: str, live: bool) -> None:
        """Interpret a loop over words or numbers, turn by turn; other loops are refused."""
        found = FOR.fullmatch(text)
        inside = self._body(line, text, found[4] if found else re.split(r"(?i)\bdo\b", text)[-1])
        values = self._values(found, line) if found and live else None
        leaves = any(re.match(r"\s*(goto|exit)\b", each, re.IGNORECASE) for _, each in inside)
        if values is None or found is None or leaves:
            if live:
                self._refuse(line, "a loop (for)", inside)
            return
        inside = [(number, self._early(each, inside)) for number, each in inside]
        rest, self.lines = self.lines, []
        for value in values:
            self.variables[f"%{found[2].lower()}"] = Word(value, line)
            self.lines = inside[::-1]
            self.block(closing=False, live=True)
        self.lines = rest

    def _body(self, line: int, text: str, rest: str) -> list[tuple[int, str]]:
        """Return the lines of a loop: in a block below it, in brackets behind it, or one command."""
        if text.rstrip().endswith("("):
            return self._inside(line)
        return [(line, rest.strip()[1:-1] if rest.startswith("(") and rest.rstrip().endswith(")") else rest)]

    def _early(self, text: str, inside: list[tuple[int, str]]) -> str:
        """Expand `%name%` of what a block sets: cmd does so before the block runs, unlike `!name!`."""
        for name in _names(inside):
            before = self.variables.get(name.lower(), Word("", 0))
            if not before.unknown:
                text = re.sub(rf"(?i)(?<!%)%{name}%", before.text.replace("\\", r"\\"), text)
        return text

    def _inside(self, line: int) -> list[tuple[int, str]]:
        """Take the lines up to the `)` of a block."""
        found: list[tuple[int, str]] = []
        deep = 1
        while self.lines:
            number, text = self.lines.pop()
            stripped = text.strip()
            deep += stripped.endswith("(") - stripped.startswith(")")
            if not deep:
                return found
            found.append((number, text))
        raise ShellSyntaxError(line, "a block is not closed: ')' is missing")

    def _values(self, found: re.Match[str], line: int) -> list[str] | None:
        """Return what a loop runs through; None if that is not known."""
        kind, word = (found[1] or "").strip().lower(), self.expansion.text(found[3], line)
        if word.unknown or kind not in ("", "/l"):
            return None
        parts = [part.strip('"') for part in re.findall(r"\"[^\"]*\"|[^\s,;=]+", word.text)]
        parts = _numbers(parts) if kind == "/l" else parts
        return None if len(parts) > MOST_TURNS or any(set(part) & set("*?") for part in parts) else parts

    def _refuse(self, line: int, what: str, inside: list[tuple[int, str]]) -> None:
        """Name lines that are not interpreted, and make unknown what they set."""
        names = _names(inside)
        for name in names:
            self.variables[name.lower()] = Word("", line, f"{what} in line {line}")
        self.script.remarks.append((line, refused(what, names, any(".py" in text for _, text in inside))))

    def _set(self, line: int, text: str) -> None:
        found = SET.fullmatch(text)
        if found is None:
            return
        kind, name, sign, raw = (found[1] or "").strip().lower(), found[2].strip().lower(), found[3], found[4]
        value = self.expansion.text(raw, line)
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
        holds, rest = condition(text, self.expansion)
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


def _names(lines: list[tuple[int, str]]) -> list[str]:
    """Return the variables that lines set."""
    return [name for _, text in lines for name in re.findall(r"(?i)\bset\s+(?:/\w\s+)?\"?(\w+)\s*[-+*/]?=", text)]


def _numbers(parts: list[str]) -> list[str]:
    """Return the numbers of `for /l` from (first, step, last); too many where these are none."""
    numbers = [int(part) for part in parts if re.fullmatch(r"-?\d+", part)]
    first, step, last = numbers if len(numbers) == 3 and numbers[1] else (0, 1, MOST_TURNS)
    return [str(each) for each in range(first, last + (1 if step > 0 else -1), step)[: MOST_TURNS + 1]]


def _is_label(text: str, label: str) -> bool:
    return bool(re.fullmatch(rf"\s*:{re.escape(label)}\b.*", text, re.IGNORECASE | re.DOTALL))
