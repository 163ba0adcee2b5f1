"""For a clone of this repository in ComfyUI's custom_nodes: its nodes are those of the folder `comfy_nodes`."""

from .comfy_nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
WEB_DIRECTORY = "./comfy_nodes/web"
