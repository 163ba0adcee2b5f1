"""The text of a pipeline file, from its stages in document form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from lorapipe.pipeline.yaml_values import scalar

PLAIN = re.compile(r"[A-Za-z_/.$][\w/.$ +-]*(?<! )")
WIDTH = 100


def stages_text(stages: Mapping[str, Mapping[str, object]]) -> str:
    """Return the YAML of a pipeline with these stages: a line for each knob, deeper values in flow style."""
    return "stages:\n" + "\n".join("\n".join(_stage(name, document)) + "\n" for name, document in stages.items())


def _stage(name: str, document: Mapping[str, object]) -> Iterator[str]:
    yield f"  {flow(name)}:"
    for key, value in document.items():
        text = flow(value)
        if isinstance(value, list) and value and len(text) > WIDTH - 8:
            yield f"    {flow(key)}:"
            yield from (f"      - {flow(item)}" for item in value)
        else:
            yield f"    {flow(key)}: {text}"


def flow(value: object) -> str:
    """Return a value on one line; text is quoted unless it is certain to be parsed unchanged."""
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and isinstance(scalar(value), str) else quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return number(value) if isinstance(value, float) and math.isfinite(value) else json.dumps(value)


def quoted(text: str) -> str:
    """Return a text in quotes, with unprintable characters escaped."""
    return escaped(json.dumps(text, ensure_ascii=False))


def escaped(said: str) -> str:
    """Return what is in quotes with unprintable characters escaped."""
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in said)


def number(value: float) -> str:
    """Return a number as people write it: 1e-4, 0.06."""
    if isinstance(value, int):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}"
    if abs(value) < 0.001:
        short = f"{value:.15e}".partition("e")
        return (
            f"{float(short[0]):g}e{int(short[2])}" if float(f"{float(short[0]):g}e{int(short[2])}") == value else text
        )
    return text
