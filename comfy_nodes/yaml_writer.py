"""Write the documents of a graph's stages as a readable pipeline file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from lorapipe.pipeline.yaml_values import scalar

HEAD = "# Written from a graph of ComfyUI. Run it with `lorapipe run`: the same settings give the same results.\n\n"
PLAIN = re.compile(r"[A-Za-z_/.$][\w/.$ +-]*(?<! )")
WIDTH = 100


def yaml_text(stages: Mapping[str, Mapping[str, object]]) -> str:
    """Return the text of a pipeline file with these stages."""
    return HEAD + "stages:\n" + "\n".join("\n".join(_stage(name, document)) + "\n" for name, document in stages.items())


def _stage(name: str, document: Mapping[str, object]) -> Iterator[str]:
    yield f"  {_flow(name)}:"
    for key, value in document.items():
        flow = _flow(value)
        if isinstance(value, list) and value and len(flow) > WIDTH - 8:
            yield f"    {_flow(key)}:"
            yield from (f"      - {_flow(item)}" for item in value)
        else:
            yield f"    {_flow(key)}: {flow}"


def _flow(value: object) -> str:
    """Return a value on one line; text is quoted unless it is certain to be parsed unchanged."""
    if isinstance(value, str):
        return (
            value
            if PLAIN.fullmatch(value) and isinstance(scalar(value), str)
            else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
