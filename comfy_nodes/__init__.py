"""lorapipe's stages as nodes of ComfyUI. This folder, linked or copied to `ComfyUI/custom_nodes/lorapipe`, is the pack.

    describe   specs → nodes, as plain data           widgets   a knob as a widget, to and fro
    places     which folders a graph may use          running   how its stages are run
    engine     runs a pipeline beside ComfyUI         workflow  a pipeline → a graph
    pages      help pages, English texts              bridge    the only file that knows ComfyUI

Importing this imports nothing of ComfyUI's: it asks for the nodes when it is ready.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """What ComfyUI calls to get the nodes."""
    from .bridge import extension

    return extension()
