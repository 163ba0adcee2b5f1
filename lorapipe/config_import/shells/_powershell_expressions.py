"""PowerShell's expressions: texts with variables, numbers, arrays, comparisons, arithmetic."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lorapipe.config_import.shells import LONGEST, MOST_WORDS, Word
from lorapipe.config_import.shells._arithmetic import evaluate, spelled
from lorapipe.config_import.shells._powershell_scanner import Scanner, unescaped

Value = Word | list[Word]
"""A text, a number or $true as a word; or an array."""

NAME = re.compile(r"\$(?:\{([^}\n]+)\}|((?:env:|global:|script:)?\w+)|([?^$]))", re.IGNORECASE)
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(?![\w.])", re.IGNORECASE)
TYPE = re.compile(r"\[[\w.\[\]`, ]+\]")
NEW_LIST = re.compile(r"(?:\[[\w.]*(?:ArrayList|List\[[\w.]+\])\]\s*::\s*new\s*\([^()]*\)|"
                      r"New-Object\s+(?:-TypeName\s+)?[\"']?[\w.]*(?:ArrayList|List\[[\w.]+\])[\"']?)", re.I)  # fmt: skip
MATH = re.compile(r"\[math\]\s*::\s*(ceiling|floor|round|truncate|max|min|abs)\s*(?=\()", re.IGNORECASE)
MEMBER = re.compile(r"\.(\w+)(\s*\()?|\[(-?\d+)\]", re.IGNORECASE)
OPERATOR = re.compile(
    r"-(?:[ic]?(?:eq|ne|gt|lt|ge|le|like|match|notlike|notmatch)|and|or|contains|join|f)\b|[-+*/%,](?=[\s$(\d\"'@\[.-])",
    re.IGNORECASE,
)
NOT = re.compile(r"!|-not\b", re.IGNORECASE)
STRENGTH = {"-or": 1, "-and": 1, ",": 6, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5}
COMPARING = 3
DEEPEST = 40
TRUE, FALSE = "True", "False"


def as_words(value: Value) -> list[Word]:
    """Return the words that a value gives as arguments."""
    if isinstance(value, list):
        return value
    return [value] if value.text or value.unknown else []


def is_true(value: Value) -> bool | None:
    """Return whether PowerShell takes a value as true; None if it is unknown."""
    if isinstance(value, list):
        return len(value) > 0
    if value.unknown:
        return None
    return value.text.lower() not in ("", "false", "0", "$null")


class Expressions:
    """Evaluates expressions with the variables of a script."""

    def __init__(self, variables: Mapping[str, Value]) -> None:
        self.variables = variables
        self.deep = 0

    def value(self, scanner: Scanner, least: int = 0) -> Value:
        """Read an expression up to the end of the statement; operators weaker than `least` are left."""
        self.deep += 1
        try:
            if self.deep > DEEPEST:
                return Word("", scanner.line, "an expression that is nested too deeply")
            return self._operations(scanner, least)
        finally:
            self.deep -= 1

    def _operations(self, scanner: Scanner, least: int) -> Value:
        scanner.skip()
        left = self.operand(scanner)
        while True:
            scanner.skip()
            place = scanner.place
            found = scanner.take(OPERATOR)
            sign = found[0].lower() if found else ""
            strength = STRENGTH.get(sign, COMPARING)
            if not sign or strength < least or (strength == least and least):
                scanner.place = place
                return left
            scanner.skip(ends=sign == ",")
            left = self.combined(left, sign, self.value(scanner, strength))

    def operand(self, scanner: Scanner) -> Value:
        """Read one operand: a text, a number, a variable with members, an array, something in parentheses."""
        line, rest = scanner.line, scanner.rest
        if not rest:
            return Word("", line)
        if scanner.take(NOT):
            scanner.skip()
            truth = is_true(self.operand(scanner))
            return Word("", line, "a condition") if truth is None else _truth(not truth, line)
        if rest[0] in "\"'" or rest.startswith(('@"', "@'")):
            return self._members(self.string(scanner), scanner)
        if scanner.take(NEW_LIST):
            return []
        if found := scanner.take(MATH):
            return self._calculated(f"[math]::{found[1].lower()}", scanner)
        if rest.startswith(("@(", "$(", "(")):
            return self._in_parentheses(scanner, is_array=rest.startswith("@("))
        return self._named(scanner, line)

    def _named(self, scanner: Scanner, line: int) -> Value:
        """Read a variable, a number, or something with a type before it."""
        if found := scanner.take(NAME):
            return self._members(self._variable(found, line), scanner)
        if found := scanner.take(NUMBER):
            return Word(found[0], line)
        if scanner.take(TYPE):
            scanner.skip()
            return self.operand(scanner) if scanner.rest[:1] not in (":", "") else self._rest(scanner)
        return self._rest(scanner)

    def _in_parentheses(self, scanner: Scanner, is_array: bool) -> Value:
        scanner.place += scanner.rest[0] != "("
        inner, line = scanner.block()
        parts: list[Word] = []
        inside = Scanner(inner, line)
        value: Value = []
        while True:
            inside.skip(ends=True)
            if inside.is_over() or len(parts) > MOST_WORDS:
                break
            before = inside.place
            value = self.value(inside)
            parts += as_words(value)
            if inside.place == before:
                inside.place += 1
        return parts if is_array else self._members(value if len(parts) < 2 else parts, scanner)

    def _calculated(self, function: str, scanner: Scanner) -> Value:
        inner, line = scanner.block()
        value = self.value(Scanner(inner, line))
        words = as_words(value)
        if missing := next((word.unknown for word in words if word.unknown), ""):
            return Word("", line, missing)
        numbers = [float(word.text) for word in words if NUMBER.fullmatch(word.text)]
        if function.endswith(("max", "min")) and numbers:
            return Word(spelled(max(numbers) if function.endswith("max") else min(numbers)), line)
        result = evaluate(f"{function}({','.join(word.text for word in words)})")
        return Word(
            "" if result is None else spelled(result), line, "" if result is not None else f"{function}({inner})"
        )

    def _variable(self, found: re.Match[str], line: int) -> Value:
        name = (found[1] or found[2] or found[3]).lower()
        constants = {"true": TRUE, "false": FALSE, "null": ""}
        if name in constants:
            return Word(constants[name], line)
        if name not in self.variables:
            return Word("", line, f"${name}, which the script does not set")
        return self.variables[name]

    def _members(self, value: Value, scanner: Scanner) -> Value:
        """Read `.Length`, `[0]` and the like after a value; other members are unknown."""
        while found := scanner.take(MEMBER):
            if found[2]:
                scanner.place = found.end() - 1
                scanner.block()
            value = _member(value, found, scanner.line)
        return value

    def _rest(self, scanner: Scanner) -> Word:
        """Pass over a command whose output is unknown."""
        line, start = scanner.line, scanner.place
        scanner.to_end()
        text = " ".join(scanner.text[start : scanner.place].split())
        return Word("", line, f"the output of `{text[:80]}`" if text else "an empty value")

    def string(self, scanner: Scanner) -> Word:
        """Read a text in quotes, with its variables expanded."""
        line = scanner.line
        inner, expanded = scanner.string()
        if not expanded:
            return Word(inner[:LONGEST], line)
        inside, parts, unknown = Scanner(inner, line), list[str](), ""
        while not inside.is_over():
            char = inside.rest[0]
            if inside.rest.startswith("$("):
                value = self._in_parentheses(inside, is_array=False)
            elif char == "$" and (found := inside.take(NAME)):
                value = self._variable(found, line)
            else:
                width = 2 if char == "`" else 1
                parts.append(unescaped(inside.text[inside.place : inside.place + width]))
                inside.place += width
                continue
            words = as_words(value)
            parts.append(" ".join(word.text for word in words))
            unknown = unknown or next((word.unknown for word in words if word.unknown), "")
        return Word("".join(parts)[:LONGEST], line, unknown)

    def combined(self, left: Value, sign: str, right: Value) -> Value:
        """Return the value of `left sign right`."""
        if sign == ",":
            return [*as_words(left), *as_words(right)]
        if isinstance(left, list):
            return _of_array(left, sign, right)
        words = as_words(right)
        unknown = left.unknown or next((word.unknown for word in words if word.unknown), "")
        other = " ".join(word.text for word in words)
        if sign in ("-and", "-or"):
            return _both(is_true(left), sign, is_true(right), left.line)
        if sign in "+-*/%":
            return _calculated(left, sign, other, unknown)
        if unknown and not unknown.endswith("does not set"):
            return Word("", left.line, unknown)
        holds = _compared(left.text, sign.lstrip("-").removeprefix("i").removeprefix("c"), other)
        return Word("", left.line, "a comparison") if holds is None else _truth(holds, left.line)


def _member(value: Value, found: re.Match[str], line: int) -> Value:
    """Return an element of an array, the length of a value, or a text in other letters."""
    name = (found[1] or "").lower()
    if found[3] is not None:
        words, at = as_words(value), int(found[3])
        return words[at] if -len(words) <= at < len(words) else Word("", line)
    if isinstance(value, list):
        return Word(str(len(value)), line) if name in ("length", "count") else Word("", line, f"a value's .{found[1]}")
    changed = {"length": str(len(value.text)), "count": str(len(value.text)), "trim": value.text.strip(),
               "tostring": value.text, "tolower": value.text.lower(), "toupper": value.text.upper()}  # fmt: skip
    if name not in changed:
        return Word("", line, f"a value's .{found[1]}")
    return Word(changed[name], line, value.unknown)


def _of_array(left: Sequence[Word], sign: str, right: Value) -> Value:
    words = as_words(right)
    line = left[0].line if left else 0
    if sign == "+":
        return [*left, *words][:MOST_WORDS]
    if sign == "-join":
        joined = (words[0].text if words else "").join(word.text for word in left)
        return Word(joined[:LONGEST], line, next((word.unknown for word in left if word.unknown), ""))
    if sign == "-contains":
        return _truth(any(word.text.lower() == words[0].text.lower() for word in left) if words else False, line)
    return Word("", line, f"an array and {sign}")


def _calculated(left: Word, sign: str, other: str, unknown: str) -> Word:
    if unknown:
        return Word("", left.line, unknown)
    numbers = NUMBER.fullmatch(left.text) and NUMBER.fullmatch(other)
    result = evaluate(f"{left.text}{sign}({other})") if numbers else None
    if result is not None:
        return Word(spelled(result), left.line)
    if sign == "+":
        return Word((left.text + other)[:LONGEST], left.line)
    return Word("", left.line, f"{left.text!r} {sign} {other!r}")


def _both(left: bool | None, sign: str, right: bool | None, line: int) -> Word:
    decisive = sign == "-or"
    if left is decisive or right is decisive:
        return _truth(decisive, line)
    return Word("", line, "a condition") if left is None or right is None else _truth(not decisive, line)


def _truth(holds: bool, line: int) -> Word:
    return Word(TRUE if holds else FALSE, line)


def _compared(left: str, sign: str, right: str) -> bool | None:
    if sign in ("like", "match", "notlike", "notmatch"):
        pattern = re.escape(right).replace(r"\*", ".*") if sign.endswith("like") else re.escape(right)
        found = re.fullmatch(pattern, left, re.I) if sign.endswith("like") else re.search(pattern, left, re.I)
        return bool(found) != sign.startswith("not")
    one, other = evaluate(left) if left else None, evaluate(right) if right else None
    first, second = left.lower().lstrip("$"), right.lower().lstrip("$")
    if one is None or other is None:
        return {"eq": first == second, "ne": first != second}.get(sign, False if not left else None)
    return {"eq": one == other, "ne": one != other, "gt": one > other, "lt": one < other,
            "ge": one >= other, "le": one <= other}.get(sign)  # fmt: skip
