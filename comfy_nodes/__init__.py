"""lorapipe's stages as nodes of ComfyUI. This folder, linked or copied to `ComfyUI/custom_nodes/lorapipe`, is a node pack.

    describe    specs → nodes, as plain data           widgets      knob values ↔ widget values
    stored_nodes  these descriptions as nodes.json, which is all that ComfyUI's start reads
    node        the description of a node              graph_nodes  nodes that join lorapipe to the rest of a graph
    links       the values of a graph's links          paths        the folders that a graph may use
    results     results as outputs of their stages     link_values  what a link is
    workflow    a pipeline → a graph                   yaml_writer  a graph → a pipeline file
    graph_layout  the places of a graph's nodes
    validation  checks before a node runs              run_options  device, launcher, retries of a graph's stages
    graph_runner  runs a pipeline beside ComfyUI       help_pages   help pages, texts, example graphs
    result_pages  serves the pages of results          saving_nodes  waits for nodes that save pictures
    translations  the texts in other languages         search_words  what finds a node in the page's search
    installation  compares the installed lorapipe with this folder's version; install.py installs it
    node_outputs  what nodes show, kept for pages that are reloaded or opened elsewhere
    bridge, node_execution, comfy_folders, node_display, node_outputs   the files that import ComfyUI: nodes and their
                execution, folders, display of progress

Importing this package does not import ComfyUI, which calls `comfy_entrypoint` when it is ready.
"""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Return the extension with the nodes; ComfyUI's entry point. `RuntimeError` says what to install, if need be."""
    from .installation import check, explained

    with explained():
        check()
        from .bridge import extension
    return extension()
