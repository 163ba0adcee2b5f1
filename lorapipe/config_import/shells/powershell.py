"""Interprets PowerShell scripts without executing them: variables, arrays that are built up, simple conditions."""

from __future__ import annotations

import re

from lorapipe.config_import.shells import MOST_STEPS, MOST_WORDS, Command, Script, ShellSyntaxError, Word, is_training
from lorapipe.config_import.shells._powershell_expressions import Expressions, Value, as_words, is_true
from lorapipe.config_import.shells._powershell_scanner import Scanner

ASSIGNMENT = re.compile(r"(?:\[[\w.\[\]]+\]\s*)*\$((?:env:|global:|script:)?\w+)\s*([-+*/]?)=(?!=)", re.IGNORECASE)
CALL = re.compile(r"(?:\[void\]\s*|\$null\s*=\s*)?\$(\w+)\s*\.\s*(Add|AddRange)\s*(?=\()", re.IGNORECASE)
IF = re.compile(r"if\s*(?=\()", re.IGNORECASE)
ELSEIF = re.compile(r"elseif\s*(?=\()", re.IGNORECASE)
ELSE = re.compile(r"else\s*(?=\{)", re.IGNORECASE)
BLOCK = re.compile(r"(?:try|finally|begin|process)\s*(?=\{)|&\s*(?=\{)", re.IGNORECASE)
LOOP = re.compile(r"(foreach|for|while|do|function|filter|switch|param|catch|trap)\b[^\n{(]*(?=[({])", re.IGNORECASE)
END = re.compile(r"[\n;]|$")
BARE = re.compile(r"(?:`[^\n]|[^\s;`\"'$@(){}|&])(?:`[^\n]|[^\s;`\"'$(){}|])*")
DEEPEST = 40


def run(text: str) -> Script:
    """Interpret a script. `ShellSyntaxError` where it cannot be read."""
    shell = _PowerShell()
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
            self._pass_over(scanner)
            if found[1].lower() != "catch":
                self.script.remarks.append((line, f"a block of {found[1].lower()!r} is not interpreted"))
        elif scanner.rest[0] in "})":
            raise ShellSyntaxError(line, f"{scanner.rest[0]!r} is in an odd place")
        else:
            self._command(scanner)

    def _pass_over(self, scanner: Scanner) -> None:
        while not scanner.is_over() and scanner.rest[0] in "({":
            scanner.block()
            scanner.skip(ends=True)

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
