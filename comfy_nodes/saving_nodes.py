"""Wait until other nodes of a graph have saved their pictures, which have no outputs to link to.

It uses `comfy_execution.progress` and `nodes` of ComfyUI, imported inside functions.
"""

from __future__ import annotations

import asyncio

from .link_values import WAIT_FOR
from .node import Prompt

POLL_SECONDS = 0.1
PATIENCE = 20
"""After so many polls in which nothing runs, nodes that have not begun are taken for ones that ComfyUI has cached."""


def savers(prompt: Prompt, unique_id: str, ends: set[str]) -> set[str]:
    """Return the nodes of these classes (`ends`) that take the same output as `wait_for` of a node."""
    link = prompt.get(unique_id, {}).get("inputs", {}).get(WAIT_FOR)
    return {
        id
        for id, each in prompt.items()
        if link and id != unique_id and each.get("class_type") in ends and link in each.get("inputs", {}).values()
    }


async def wait_until_saved(prompt: Prompt, unique_id: str) -> None:
    """Wait for the nodes that save what `wait_for` of a node is linked to. Raises what ComfyUI's Cancel does."""
    import nodes
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy_execution.progress import get_progress_state

    known = nodes.NODE_CLASS_MAPPINGS
    ends = {
        name for name, cls in known.items() if getattr(cls, "OUTPUT_NODE", False) and not name.startswith("Lorapipe")
    }
    waiting, idle = savers(prompt, unique_id, ends), 0
    while waiting and idle < PATIENCE:
        await asyncio.sleep(POLL_SECONDS)
        throw_exception_if_processing_interrupted()
        states = {id: str(getattr(each["state"], "value", "")) for id, each in get_progress_state().nodes.items()}
        waiting = {id for id in waiting if states.get(id) not in ("finished", "error")}
        runs = any(state == "running" for id, state in states.items() if id != unique_id)
        idle = 0 if runs else idle + 1
