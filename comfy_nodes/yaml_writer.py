"""Write the documents of a graph's stages as a readable pipeline file."""

from __future__ import annotations

from collections.abc import Mapping

from lorapipe.pipeline.yaml_text import stages_text

HEAD = "# Written from a graph of ComfyUI. Run it with `lorapipe run`: the same settings give the same results.\n\n"


def yaml_text(stages: Mapping[str, Mapping[str, object]]) -> str:
    """Return the text of a pipeline file with these stages."""
    return HEAD + stages_text(stages)
