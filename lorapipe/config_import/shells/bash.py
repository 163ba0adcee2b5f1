"""Interprets bash and sh scripts without executing them."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from lorapipe.config_import.shells._bash_conditions import CONDITIONS, holds, joined
from lorapipe.config_import.shells._bash_loops import ENDS, LEAVING, end_of_block, values_of_loop
from lorapipe.config_import.shells._bash_words import Expansion, Token, tokens_of

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
DECLARING = ("export", "local", "declare", "readonly", "typeset")
REDIRECTIONS = (">", ">>", "<", "<<", "<<<", "2>&1")
PLAIN = ("echo", "printf", "set", "pip", "pip3", "mkdir", "rm", "ls", "sleep", "trap", "shopt", "ulimit")
"""Commands that change no variable and start no training."""
HERE = re.compile(r"\.?/?|.*\$\(dirname .*|.*BASH_SOURCE.*|.*activate")
"""Where `cd` leads nowhere else, and files that `source` reads for another purpose."""
DEEPEST = 40


def run(text: str) -> Script:
    """Interpret a script. `ShellSyntaxError` where it cannot be read."""
    shell = _Bash(tokens_of(text.replace("\r\n", "\n")))
    with suppress(Ended):
        shell.block((), 0)
    shell.finish()
    return shell.script


class _Bash:
    """The state of an interpretation: the tokens, the place in them, and the variables."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.steps = 0
        self.variables: dict[str, list[Word]] = {}
        self.functions: dict[str, int] = {}
        self.called: list[str] = []
        self.expansion = Expansion(self.variables)
        self.script = Script()

    def block(self, ends: tuple[str, ...], depth: int, live: bool = True) -> str:
        """Interpret statements up to one of the words `ends`, and return it; empty at the end of the script."""
        if depth > DEEPEST:
            raise ShellSyntaxError(self._line, "blocks are nested too deeply")
        while self.place < len(self.tokens):
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise ShellSyntaxError(self._line, "the script is too long")
            token = self.tokens[self.place]
            if token.operator and token.raw not in "()":
                self.place += 1
            elif not token.operator and token.raw in ends:
                self.place += 1
                return token.raw
            else:
                self._statement(depth, live)
        if ends:
            raise ShellSyntaxError(self._line, f"{ends[-1]!r} is missing")
        return ""

    @property
    def _line(self) -> int:
        return self.tokens[min(self.place, len(self.tokens) - 1)].line if self.tokens else 1

    def _statement(self, depth: int, live: bool) -> None:
        word = self.tokens[self.place].raw
        if word == "if":
            self.place += 1
            self._if(depth, live)
        elif self._is_function():
            self._define()
        elif word == "for":
            self._for(depth, live)
        elif word in ENDS and word != "{":
            self._skip(word, live)
        elif word in ("then", "fi", "do", "done", "else", "elif", "esac"):
            raise ShellSyntaxError(self._line, f"{word!r} is in an odd place")
        elif word in ("{", "}", "(", ")", "!"):
            self.place += 1
        else:
            self._and_or(live)

    def _if(self, depth: int, live: bool) -> None:
        """Interpret the branch whose condition holds; where that is unknown, none."""
        taken = False
        while True:
            holds = self._condition_list("then", live and not taken)
            end = self.block(("elif", "else", "fi"), depth + 1, live and not taken and bool(holds))
            taken = taken or bool(holds)
            if end == "else":
                self.block(("fi",), depth + 1, live and not taken)
            if end != "elif":
                return

    def _condition_list(self, end: str, live: bool) -> bool | None:
        """Return whether the commands up to `end` succeed."""
        line, result, joint = self._line, None, ""
        value: bool | None = None
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            if not token.operator and token.raw == end:
                self.place += 1
                if result is None and live:
                    self._remark(line, "whether this condition holds is not known without running it: taken as false")
                return result
            if token.operator:
                joint = token.raw if token.raw in ("&&", "||") else joint
                self.place += 1
                continue
            value = holds(self._simple(), self.expansion)
            result = joined(result, joint, value) if joint else value
            joint = ""
        raise ShellSyntaxError(line, f"{end!r} is missing")

    def _skip(self, word: str, live: bool, place: int | None = None) -> None:
        """Pass over a block, such as a loop; what it would set is unknown from then on."""
        line, start = self._line, self.place if place is None else place
        self.place = end_of_block(self.tokens, start)
        if live:
            self._refuse(line, f"a block of {word!r}", self.tokens[start : self.place])

    def _refuse(self, line: int, what: str, tokens: Sequence[Token]) -> None:
        """Name tokens that are not interpreted, and make unknown what they set."""
        assigned = [found[1] for token in tokens if (found := ASSIGNMENT.fullmatch(token.raw))]
        for name in assigned:
            self.variables[name] = [Word("", line, f"{what} in line {line}")]
        training = any(token.raw.strip("\"'").endswith(".py") for token in tokens)
        self._remark(line, refused(what, assigned, training))

    def _for(self, depth: int, live: bool) -> None:
        """Interpret a loop over known words, turn by turn."""
        start, end = self.place, end_of_block(self.tokens, self.place)
        body = next((at for at in range(start, end) if self.tokens[at].raw == "do"), end)
        leaves = LEAVING & {token.raw for token in self.tokens[body:end]}
        found = values_of_loop(self.tokens[start + 1 : body], self.expansion) if live and not leaves else None
        if found is None:
            self._skip("for", live)
            return
        for value in found[1]:
            self.variables[found[0]] = [value]
            self.place = body + 1
            self.block(("done",), depth + 1, live)
        self.place = end

    def _is_function(self) -> bool:
        """Whether a function is defined here: `name() {` or `function name {`."""
        raws = [token.raw for token in self.tokens[self.place : self.place + 3]]
        return raws[0] == "function" or raws[1:] == ["(", ")"]

    def _define(self) -> None:
        self.place += self.tokens[self.place].raw == "function"
        name, line = self.tokens[self.place].raw, self._line
        self.place += 1
        while self.place < len(self.tokens) and self.tokens[self.place].raw in ("(", ")", "\n"):
            self.place += 1
        if self.place >= len(self.tokens) or self.tokens[self.place].raw != "{":
            raise ShellSyntaxError(line, f"the function {name!r} has no {{")
        self.functions[name] = self.place
        self.place = end_of_block(self.tokens, self.place)

    def _call(self, name: str, arguments: Sequence[Word], line: int) -> None:
        """Interpret a function with its arguments."""
        start, back = self.functions[name], self.place
        inside = self.tokens[start : end_of_block(self.tokens, start)]
        self.called.append(name)
        if LEAVING & {token.raw for token in inside} or self.called.count(name) > MOST_TURNS:
            self._refuse(line, f"the function {name!r}", inside)
            return
        known = {"@": [*arguments], "*": [*arguments], "#": [Word(str(len(arguments)), line)]}
        self.variables |= known | {str(place): [word] for place, word in enumerate(arguments, 1)}
        self.place = start + 1
        self.block(("}",), len(self.called) if len(self.called) < 10 else 10)
        self.place = back

    def finish(self) -> None:
        """Name functions with trainings that nothing calls."""
        for name, start in self.functions.items():
            inside = self.tokens[start : end_of_block(self.tokens, start)]
            if name not in self.called and any(token.raw.endswith(".py") for token in inside):
                self._remark(self.tokens[start].line, refused(f"the function {name!r}, which nothing calls,", (), True))

    def _and_or(self, live: bool) -> None:
        """Interpret commands joined by && and ||; what follows an unknown condition is passed over."""
        before: bool | None = True
        due = live
        while True:
            words = self._simple()
            if words and words[0].raw in CONDITIONS:
                before = holds(words, self.expansion)
            elif due:
                before = self._execute(words)
            joint = self._joint()
            if not joint:
                return
            if before is None and live:
                self._remark(self._line, "whether this condition holds is not known without running it")
            due = live and before is not None and before == (joint == "&&")

    def _joint(self) -> str:
        """Read && or || and the line ends after it; empty if the command ends here."""
        if self.place >= len(self.tokens) or self.tokens[self.place].raw not in ("&&", "||"):
            return ""
        joint = self.tokens[self.place].raw
        self.place += 1
        while self.place < len(self.tokens) and self.tokens[self.place].raw == "\n":
            self.place += 1
        return joint

    def _simple(self) -> list[Token]:
        """Return the tokens of a simple command, without redirections; what follows a pipe is passed over."""
        if self.place < len(self.tokens) and self.tokens[self.place].raw == "[[":
            return self._double_brackets()
        found: list[Token] = []
        piped = False
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            if not token.operator:
                found += [] if piped else [token]
            elif token.raw in REDIRECTIONS:
                if token.raw == "<<":
                    self._remark(token.line, refused("a text of several lines (<<)"))
                self.place += token.raw != "2>&1"
            elif token.raw == "|":
                piped = True
            else:
                self.place += not found and token.raw in ("(", ")", "&", ";;")
                break
            self.place += 1
        return found

    def _double_brackets(self) -> list[Token]:
        """Return the tokens of `[[ … ]]`, in which operators are part of the condition."""
        found: list[Token] = []
        while self.place < len(self.tokens) and self.tokens[self.place].raw != "\n":
            found.append(self.tokens[self.place])
            self.place += 1
            if found[-1].raw == "]]":
                break
        return found

    def _execute(self, tokens: list[Token]) -> bool | None:
        """Interpret a simple command: assignments, or a training."""
        while tokens and tokens[0].raw in DECLARING:
            tokens = [token for token in tokens[1:] if not token.raw.startswith("-")]
        rest = list(tokens)
        while rest and (found := ASSIGNMENT.fullmatch(rest[0].raw)):
            self._assign(found, rest[0])
            rest.pop(0)
        if rest and rest[0].raw not in PLAIN:
            self._command(rest)
        return True

    def _command(self, tokens: Sequence[Token]) -> None:
        """Interpret a command that is no assignment: keep a training, and name what changes what follows."""
        name, line = tokens[0].raw, tokens[0].line
        if name in ("exit", "return"):
            raise Ended
        words = tuple(word for token in tokens for word in self.expansion.words(token))
        if name in self.functions:
            self._call(name, words[1:], line)
        elif is_training(words):
            self.script.commands.append(Command(words, words[0].line))
        else:
            self._other(tokens)

    def _other(self, tokens: Sequence[Token]) -> None:
        """Name a command that changes variables or the folder."""
        name, line = tokens[0].raw, tokens[0].line
        said = " ".join(token.raw for token in tokens)[:80]
        if name in ("source", ".", "eval") and not HERE.fullmatch(said):
            self._remark(line, refused(f"`{said}`, which may set anything,"))
        elif name in ("cd", "pushd") and not HERE.fullmatch(said.partition(" ")[2].strip("\"'")):
            self._remark(line, f"`{said}`: relative paths after it start there; here they start at the script")
        elif name == "read":
            self._refuse(line, "`read`", [Token(f"{token.raw}=", line) for token in tokens[1:] if token.raw[:1] != "-"])

    def _assign(self, found: re.Match[str], token: Token) -> None:
        name, added, raw = found[1], found[2], found[3]
        if raw.startswith("(") and raw.endswith(")"):
            inner = tokens_of(raw[1:-1])
            offset = token.line - 1
            shifted = [Token(each.raw, each.line + offset) for each in inner if not each.operator]
            value = [word for each in shifted for word in self.expansion.words(each)]
            self.variables[name] = [*self.variables.get(name, []), *value] if added else value
            return
        word = self.expansion.text(Token(raw, token.line))
        if added and (before := self.variables.get(name)):
            word = Word(before[0].text + word.text, word.line, before[0].unknown or word.unknown)
        self.variables[name] = [word]

    def _remark(self, line: int, text: str) -> None:
        self.script.remarks.append((line, text))
