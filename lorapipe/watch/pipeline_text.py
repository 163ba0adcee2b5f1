"""The text of a dropped folder's pipeline: YAML that extends the layers below it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.pipeline.extends import EXTENDS
from lorapipe.pipeline.tune_options import TUNE
from lorapipe.pipeline.variables import literal
from lorapipe.pipeline.yaml_text import escaped


def pipeline_text(
    name: str,
    layers: Sequence[Path],
    variables: Mapping[str, object],
    stages: Mapping[str, Mapping[str, object]],
    tune: bool,
) -> str:
    """Return the pipeline of a folder by its name; `layers` are the files that it extends, `stages` settings of stages."""
    lines = [
        f"# The pipeline of the folder {_plain(name)}. It is rewritten for each version of the folder. To try",
        "# something else, copy this file, change the copy, and `lorapipe run` it: unchanged stages are reused.",
        f"{EXTENDS}:",
        *(f"  - {quoted(layer.absolute().as_posix())}" for layer in layers),
        "vars:",
        *(f"  {variable}: {quoted(meant(value))}" for variable, value in variables.items()),
        *([f"{TUNE}: {{}}"] if tune else []),
        *(["stages:"] if stages else []),
    ]
    for stage, settings in stages.items():
        lines += [f"  {quoted(stage)}:", *(f"    {knob}: {quoted(value)}" for knob, value in settings.items())]
    return "\n".join(lines) + "\n"


def meant(value: object) -> object:
    """Escape `${` in a value: names may contain it literally."""
    return literal(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else "?" for letter in text.encode("utf-8", "replace").decode("utf-8")
    )


def quoted(value: object) -> str:
    """Return a value as YAML in JSON syntax; unprintable characters are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the name {_plain(text)} is not valid text.", cure="Rename it.") from None
    return escaped(text)
