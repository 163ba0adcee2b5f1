"""lorapipe's stages as nodes of ComfyUI. This folder, linked or copied to `ComfyUI/custom_nodes/lorapipe`, is the pack.

    describe    specs → nodes, as plain data           widgets      a knob as a widget, to and fro
    links       the values of a graph's links          paths        which folders a graph may use
    workflow    a pipeline → a graph                   yaml_writer  a graph → a pipeline file
    validation  what is checked before a run           run_options  device, launcher, retries of a graph's stages
    graph_runner  runs a pipeline beside ComfyUI       help_pages   help pages, texts, example graphs
    bridge, comfy_folders, node_display   the files that know ComfyUI: nodes, folders, what its page shows

Importing this imports nothing of ComfyUI's: it asks for the nodes when it is ready.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls to get the nodes."""
    from .bridge import extension

    return extension()
