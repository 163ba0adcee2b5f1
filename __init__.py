"""For a clone of this repository in ComfyUI's custom_nodes: its nodes are those of the folder `comfy_nodes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import comfy_nodes

__all__ = ["comfy_entrypoint"]
WEB_DIRECTORY = "./comfy_nodes/web"


async def comfy_entrypoint() -> Any:
    """Return the extension with the nodes; ComfyUI's entry point."""
    from .comfy_nodes.installation import lay_out

    lay_out(Path(__file__).parent)
    return await comfy_nodes.comfy_entrypoint()
