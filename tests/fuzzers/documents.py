"""Randomly changed pipelines: in their values, in their text, and by the command line.

`check` and `plan` must accept or refuse each with a message, within the documented CPU time.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from lorapipe.cli import main

CASES = 100
SECONDS = 4.0
MOST_LETTERS = 500_000
EXAMPLES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, -(2**70), 10**29, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "\t",
    "\n", "x",
    "~", "~nobody", "~nobody/x", "..", "../" * 50, "/", "//", "/dev/zero", "/dev/null", "CON", "C:\\x", "\\\\nas\\x",
    "x" * 300,
    "x" * 5000, "가" * 200, "a/" * 3000, "$", "$$", "$x", "$dataset", "$dataset.base", "$penny.x.y.z", "$grid.best",
    "$subject",
    "${", "${}", "${x}", "${images}", "${images}${images}", "$${x}", "${cell}", "${" * 100, "10 epochs", "-5 steps",
    "1e999 steps",
    "every 0 steps", "²", "٣", "1²", "0x", "0o9", "5%", "100 %", "[", "]", "{", "}", "\u200b", "\u202e", "\x85",
    "\ufeff", "😀",
    "<lora:a:1>", "a --n b --w 5", "((a:1.3)", "a\\(b", "#", "<<", "*a", "&a", "!a", "---", "...", "null", "yes",
    "1_000", "12:30",
    [], {}, [[]], [{}], {"": ""}, {"a": {"a": {"a": {}}}}, [None], [1, "1", 1.0], ["x"] * 2000,
    {f"k{n}": n for n in range(500)},
)  # fmt: skip
KEYS = (
    "uses", "type", "family", "matrix", "when", "retries", "timeout", "extends", "vars", "stages", "include", "exclude",
    "images",
    "checkpoint", "dataset", "weights", "prompts", "network_dim", "", "0", "²", "a.b", "adapter.rank", "x" * 300,
    "\u200bx", "$x", "${x}",
)  # fmt: skip
CONDITIONS = (
    "true",
    "${x}",
    "not not not true",
    "(" * 40 + "true" + ")" * 40,
    "1 in [1, [2]]",
    "'a' == \"a\"",
    "and",
    "true or",
    "${images} == photos",
)
SCRAPS = (
    "\t", "\u00a0", "\u3000", "\u200b", "\x00", "\x1b", "\x80", "“", "’", "–", "：", ":", ": ", "- ", "-", "=", "[",
    "]", "{", "}", "'", '"',
    "\\", "#", " #", "&a ", "*a", "!!x ", "|", ">", "%", "@", "`", "?", "? ", "<<: ", "${", "$", "```", "---\n",
    "...\n", "\n", "\r", "\r\n",
    "  ", "\u2028", "\udcff",
)  # fmt: skip


def case(seed: int, folder: Path) -> str:
    """Run one case; see tests/fuzzers/README.md."""
    chance = random.Random(seed)
    (folder / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(folder / "photos" / "a.png")
    text, sets = _changed(chance)
    (folder / "a.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder / "b.yaml").write_bytes(_changed(chance)[0].encode("utf-8", "surrogateescape"))
    with contextlib.chdir(folder):
        return "; ".join(filter(None, (_answer([command, "a.yaml", *sets]) for command in ("check", "plan"))))


def _answer(words: list[str]) -> str:
    """Return what is wrong with the output of a command."""
    told = io.StringIO()
    begun = time.process_time()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            status = main(words)
    except SystemExit as end:  # the command line itself was refused
        status = int(end.code or 0)
    except BaseException:
        return f"{words}: {traceback.format_exc()[-1500:]}"
    took = time.process_time() - begun
    if took > SECONDS:
        return f"{words}: {took:.1f} CPU s"
    if len(told.getvalue()) > MOST_LETTERS:
        return f"{words}: {len(told.getvalue())} letters"
    return "" if status in (0, 2) and told.getvalue() else f"{words}: ended with {status}, {told.getvalue()[-500:]!r}"


def _changed(chance: random.Random) -> tuple[str, list[str]]:
    """Return a pipeline after a few changes, and settings for the command line."""
    text = chance.choice(EXAMPLES).read_text("utf-8").replace("./animefull.safetensors", "pocket")
    text = (
        text.replace("./photos", "photos")
        .replace("examples/penny", "photos")
        .replace("./sd_xl_base_1.0.safetensors", "pocket")
    )
    ways: tuple[Callable[[str, random.Random], str], ...] = (_in_meaning, _in_meaning, _in_writing, _in_both)
    text = chance.choice(ways)(text, chance)
    sets = [word for _ in range(chance.choice((0, 0, 0, 1, 3))) for word in ("--set", _setting(chance))]
    return text, sets


def _in_both(text: str, chance: random.Random) -> str:
    return _in_writing(_in_meaning(text, chance), chance)


def _in_meaning(text: str, chance: random.Random) -> str:
    """Exchange, remove, duplicate, nest or add values of a document."""
    document = yaml.safe_load(text)
    for _ in range(chance.randint(1, 4)):
        holder, key = chance.choice(list(_places(document)))
        change = chance.randrange(7)
        if change == 0:
            del holder[key]
        elif change == 1:
            holder[key] = _value(chance)
        elif change == 2:
            holder[key] = [holder[key]] * chance.choice((1, 2, 30))
        elif change == 3:
            holder[key] = {chance.choice(KEYS): holder[key]}
        elif change == 4 and isinstance(holder, dict):
            holder[chance.choice(KEYS)] = chance.choice((holder[key], _value(chance)))
        elif change == 5 and isinstance(holder, dict):
            holder["matrix"] = _matrix(chance)
        elif isinstance(holder, dict):
            holder["when"] = chance.choice((*CONDITIONS, _value(chance)))
        if not list(_places(document)):
            break
    if chance.random() < 0.15 and isinstance(document, dict):
        document["extends"] = chance.choice(("b.yaml", ["b.yaml", "b.yaml"], "a.yaml", _value(chance)))
    written: str = yaml.dump(
        document, allow_unicode=True, sort_keys=False, default_flow_style=chance.choice((None, True, False))
    )
    return written


def _places(value: Any) -> Any:
    """Yield every (holder, key) of a document, some levels deep."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            if len(waiting) < 50:
                waiting.append(holder[key])


def _matrix(chance: random.Random) -> Any:
    axes = {
        chance.choice((*KEYS, "steps", "adapter.rank")): [_value(chance) for _ in range(chance.randint(0, 3))]
        for _ in range(2)
    }
    more = {
        word: [{chance.choice(("steps", *KEYS)): _value(chance)}]
        for word in ("include", "exclude")
        if chance.random() < 0.5
    }
    return chance.choice(({**axes, **more}, "$penny", "$dataset", _value(chance)))


def _value(chance: random.Random) -> Any:
    return chance.choice(VALUES)


def _in_writing(text: str, chance: random.Random) -> str:
    """Change characters, lines and indentation of a text."""
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(text) + 1)
        lines = text.splitlines(keepends=True) or [""]
        line = chance.randrange(len(lines))
        change = chance.randrange(8)
        if change <= 1:
            text = text[:at] + chance.choice(SCRAPS) + text[at:]
        elif change == 2:
            text = text[:at] + text[at + chance.randint(1, 30) :]
        elif change == 3:
            text = "".join([*lines[: line + 1], *lines[line:]])
        elif change == 4:
            text = "".join([*lines[:line], " " * chance.randint(1, 3) + lines[line], *lines[line + 1 :]])
        elif change == 5:
            text = "".join(
                [
                    *lines[:line],
                    lines[line].replace(": ", chance.choice((":", "： ", " = ", ":\u00a0")), 1),
                    *lines[line + 1 :],
                ]
            )
        elif change == 6:
            text = text[:at] + chance.choice(SCRAPS) * chance.choice((10, 1000, 20_000)) + text[at:]
        else:
            text = text[:at]
    return text


def _setting(chance: random.Random) -> str:
    stage = chance.choice(("dataset", "penny", "subject", "grid", "file", "vars", "nobody", ""))
    knob = ".".join(
        chance.choice((*KEYS, "images", "adapter", "rank", "steps", "3", "²"))
        for _ in range(chance.choice((1, 1, 2, 5, 60)))
    )
    value = chance.choice(VALUES)
    return f"{stage}.{knob}={value if isinstance(value, str) else yaml.dump(value, default_flow_style=True)}".replace(
        os.linesep, " "
    )
