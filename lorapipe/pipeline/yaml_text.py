"""The text of a pipeline file, from its stages in document form."""

from __future__ import annotations

import json
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
        return (
            value
            if PLAIN.fullmatch(value) and isinstance(scalar(value), str)
            else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return json.dumps(value)
