"""Interprets PowerShell scripts without executing them: variables, arrays that are built up, simple conditions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from lorapipe.config_import.shells import (
    MOST_STEPS,
    MOST_TURNS,
    MOST_WORDS,
    Command,
    Ended,
    Script,
    ShellSyntaxError,
    Word,
    is_training,
    refused,
)
from lorapipe.config_import.shells._powershell_expressions import Expressions, Value, as_words, is_true
from lorapipe.config_import.shells._powershell_scanner import Scanner

ASSIGNMENT = re.compile(r"(?:\[[\w.\[\]]+\]\s*)*\$((?:env:|global:|script:)?\w+)\s*([-+*/]?)=(?!=)", re.IGNORECASE)
CALL = re.compile(r"(?:\[void\]\s*|\$null\s*=\s*)?\$(\w+)\s*\.\s*(Add|AddRange)\s*(?=\()", re.IGNORECASE)
IF = re.compile(r"if\s*(?=\()", re.IGNORECASE)
ELSEIF = re.compile(r"elseif\s*(?=\()", re.IGNORECASE)
ELSE = re.compile(r"else\s*(?=\{)", re.IGNORECASE)
BLOCK = re.compile(r"(?:try|finally|begin|process)\s*(?=\{)|&\s*(?=\{)", re.IGNORECASE)
LOOP = re.compile(r"(foreach|for|while|do|function|filter|switch|param|catch|trap)\b[^\n{(]*(?=[({])", re.IGNORECASE)
EACH = re.compile(r"\s*\$(\w+)\s+in\s+", re.IGNORECASE)
COUNTED = re.compile(
    r"\s*\$(\w+)\s*=\s*([^;]+);\s*\$\1\s*-(lt|le)\s*([^;]+);\s*\$\1\s*(?:\+\+|\+=\s*(\d+))\s*", re.IGNORECASE
)
UNTIL = re.compile(r"(?:while|until)\s*(?=\()", re.IGNORECASE)
LEAVING = re.compile(r"(?i)\b(break|continue|return|exit|throw)\b")
ENDING = re.compile(r"(?:exit|return|throw)\b", re.IGNORECASE)
SETTING = re.compile(r"\$(\w+)\s*(?:[-+*/]?=(?!=)|\.\s*Add)", re.IGNORECASE)
ELSEWHERE = re.compile(
    r"(?:cd|set-location|push-location|sl)\s+(?!.*(?:PSScriptRoot|MyInvocation|PSCommandPath))([^\n;]+)", re.I
)
SOURCED = re.compile(r"\.\s+(?!.*activate)([^\n;]+)|(?:invoke-expression|iex)\b[^\n;]*", re.IGNORECASE)
END = re.compile(r"[\n;]|$")
BARE = re.compile(r"(?:`[^\n]|[^\s;`\"'$@(){}|&])(?:`[^\n]|[^\s;`\"'$(){}|])*")
DEEPEST = 40


def run(text: str) -> Script:
    """Interpret a script. `ShellSyntaxError` where it cannot be read."""
    shell = _PowerShell()
    with suppress(Ended):
        shell.statements(Scanner(text), 0)
    return shell.script


class _PowerShell:
    """The state of an interpretation: the variables by their names in small letters."""

    def __init__(self) -> None:
        self.variables: dict[str, Value] = {}
        self.expressions = Expressions(self.variables)
        self.script = Script()
        self.steps = 0

    def statements(self, scanner: Scanner, depth: int) -> None:
        """Interpret everything that the scanner has."""
        if depth > DEEPEST:
            raise ShellSyntaxError(scanner.line, "blocks are nested too deeply")
        while True:
            scanner.skip(ends=True)
            if scanner.is_over():
                return
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise ShellSyntaxError(scanner.line, "the script is too long")
            before = scanner.place
            self._statement(scanner, depth)
            if scanner.place == before:
                scanner.place += 1

    def _statement(self, scanner: Scanner, depth: int) -> None:
        line = scanner.line
        if found := scanner.take(CALL):
            self._added(found[1].lower(), *scanner.block())
            self._to_end(scanner)
        elif found := scanner.take(ASSIGNMENT):
            self._assign(found, scanner)
            self._to_end(scanner)
        elif scanner.take(IF):
            self._if(scanner, depth)
        elif scanner.take(BLOCK):
            inner, at = scanner.block()
            self.statements(Scanner(inner, at), depth + 1)
        elif found := scanner.take(LOOP):
            self._loop(found[1].lower(), scanner, depth)
        elif scanner.rest[0] in "})":
            raise ShellSyntaxError(line, f"{scanner.rest[0]!r} is in an odd place")
        elif scanner.take(ENDING):
            raise Ended
        else:
            if found := SOURCED.match(scanner.text, scanner.place):
                self.script.remarks.append((line, refused(f"`{found[0].strip()[:80]}`, which may set anything,")))
            elif found := ELSEWHERE.match(scanner.text, scanner.place):
                what = f"`{found[0].strip()[:80]}`: relative paths after it start there; here they start at the script"
                self.script.remarks.append((line, what))
            self._command(scanner)

    def _loop(self, kind: str, scanner: Scanner, depth: int) -> None:
        """Interpret a loop over known values, turn by turn; any other block is refused."""
        line, start = scanner.line, scanner.place
        parts: list[tuple[str, int]] = []
        while not scanner.is_over() and scanner.rest[0] in "({":
            parts.append(scanner.block())
            scanner.skip(ends=True)
        if kind == "do" and scanner.take(UNTIL):
            parts.append(scanner.block())
        found = self._turns(kind, *parts[0]) if kind in ("for", "foreach") and len(parts) == 2 else None
        if found is None or LEAVING.search(parts[1][0]):
            if kind not in ("catch", "param"):
                self._refuse(line, f"a block of {kind!r}", scanner.text[start : scanner.place])
            elif kind == "param":
                self.script.remarks.append(
                    (line, refused("what is given to the script (param)", SETTING.findall(parts[0][0])))
                )
            return
        for value in found[1]:
            self.variables[found[0]] = value
            self.statements(Scanner(*parts[1]), depth + 1)

    def _turns(self, kind: str, head: str, line: int) -> tuple[str, Sequence[Word]] | None:
        """Return the variable of a loop and its values; None if they are not known, or too many."""
        each, counted = EACH.match(head), COUNTED.fullmatch(head)
        words: Sequence[Word]
        if kind == "foreach" and each:
            name, words = each[1], as_words(self.expressions.value(Scanner(head[each.end() :], line)))
        elif kind == "for" and counted:
            name, words = counted[1], self._numbers(counted, line)
        else:
            return None
        known = len(words) <= MOST_TURNS and not any(word.unknown for word in words)
        return (name.lower(), words) if known else None

    def _numbers(self, found: re.Match[str], line: int) -> Sequence[Word]:
        """Return the numbers of a counted loop; an unknown one where its ends are not known."""
        ends = [as_words(self.expressions.value(Scanner(text, line))) for text in (found[2], found[4])]
        texts = [words[0].text if len(words) == 1 and not words[0].unknown else "" for words in ends]
        if not all(text.isdigit() for text in texts):
            return [Word("", line, "the ends of a loop")]
        numbers = range(int(texts[0]), int(texts[1]) + (found[3].lower() == "le"), int(found[5] or 1) or 1)
        return [Word(str(number), line) for number in numbers[: MOST_TURNS + 1]]

    def _refuse(self, line: int, what: str, text: str) -> None:
        """Name a text that is not interpreted, and make unknown what it sets."""
        names = SETTING.findall(text)
        for name in names:
            self.variables[name.lower()] = Word("", line, f"{what} in line {line}")
        self.script.remarks.append((line, refused(what, names, ".py" in text)))

    def _if(self, scanner: Scanner, depth: int) -> None:
        """Interpret the branch whose condition holds; where that is unknown, none."""
        taken = False
        while True:
            line = scanner.line
            condition, at = scanner.block()
            holds = is_true(self.expressions.value(Scanner(condition, at)))
            if holds is None and not taken:
                what = "whether this condition holds is not known without running it: taken as false"
                self.script.remarks.append((line, what))
            taken = self._branch(scanner, depth, not taken and bool(holds)) or taken
            place = scanner.place
            scanner.skip(ends=True)
            if scanner.take(ELSEIF):
                continue
            if scanner.take(ELSE):
                self._branch(scanner, depth, not taken)
            else:
                scanner.place = place
            return

    def _branch(self, scanner: Scanner, depth: int, live: bool) -> bool:
        scanner.skip(ends=True)
        if scanner.is_over() or scanner.rest[0] != "{":
            raise ShellSyntaxError(scanner.line, "'{' is missing after a condition")
        inner, at = scanner.block()
        if live:
            self.statements(Scanner(inner, at), depth + 1)
        return live

    def _assign(self, found: re.Match[str], scanner: Scanner) -> None:
        name, sign = found[1].lower(), found[2]
        scanner.skip()
        if scanner.take(IF):  # $x = if (…) { … } else { … }
            self.variables[name] = self._chosen(scanner)
            return
        value = self.expressions.value(scanner)
        before = self.variables.get(name)
        if sign == "+" and isinstance(before, list):
            self.variables[name] = [*before, *as_words(value)][:MOST_WORDS]
        elif sign and before is not None:
            self.variables[name] = self.expressions.combined(before, sign, value)
        else:
            self.variables[name] = value

    def _chosen(self, scanner: Scanner) -> Value:
        condition, at = scanner.block()
        holds = is_true(self.expressions.value(Scanner(condition, at)))
        scanner.skip(ends=True)
        then, line = scanner.block()
        scanner.skip(ends=True)
        other = scanner.block() if scanner.take(ELSE) else ("", line)
        text, at = (then, line) if holds else other
        return Word("", line, "a condition") if holds is None else self.expressions.value(Scanner(text.strip(), at))

    def _added(self, name: str, inner: str, line: int) -> None:
        value = self.expressions.value(Scanner(inner.strip(), line))
        before = self.variables.get(name)
        known = before if isinstance(before, list) else ([] if before is None else [before])
        self.variables[name] = [*known, *as_words(value)][:MOST_WORDS]

    def _to_end(self, scanner: Scanner) -> None:
        """Pass over the rest of a statement, such as `| Out-Null`."""
        scanner.skip()
        scanner.to_end()

    def _command(self, scanner: Scanner) -> None:
        """Read a command's words, with arrays spread out, and keep it if it may be a training."""
        words: list[Word] = []
        line = scanner.line
        while not scanner.is_over() and scanner.rest[0] not in "\n;|":
            words += self._argument(scanner)
            scanner.skip()
        self._to_end(scanner)
        if is_training(tuple(words)):
            self.script.commands.append(Command(tuple(words), line))

    def _argument(self, scanner: Scanner) -> list[Word]:
        """Return the words of one argument: pieces without a space between them are one word."""
        parts: list[Word] = []
        while not scanner.is_over() and scanner.rest[0] not in " \t\r\n;|" and not scanner.rest.startswith("`\n"):
            found = self._piece(scanner)
            if parts and found:
                last = parts.pop()
                joined = Word(last.text + found[0].text, last.line, last.unknown or found[0].unknown)
                found = [joined, *found[1:]]
            parts += found
        return parts

    def _piece(self, scanner: Scanner) -> list[Word]:
        """Return what one text, variable, array or bare piece of an argument gives."""
        line, char = scanner.line, scanner.rest[0]
        if char in "\"'" or scanner.rest.startswith(('@"', "@'")):
            return as_words(self.expressions.string(scanner))
        if char in "$(" or scanner.rest.startswith(("@(", "@{")):
            return as_words(self.expressions.operand(scanner))
        if char == "@":
            scanner.place += 1
            name = scanner.take(re.compile(r"\w+"))
            return as_words(self.variables.get(name[0].lower() if name else "", []))
        if bare := scanner.take(BARE):
            return [Word(re.sub(r"`(.)", r"\1", bare[0]), line)]
        scanner.place += 1
        return [Word(char, line)] if char not in "&{}" else []
