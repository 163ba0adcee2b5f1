"""A base model of whatever family: the file says which it is."""

from __future__ import annotations

from pathlib import Path

from lorapipe.errors import InputError

from ..graph_call import GraphCall, Shown
from ..node import Input, Node, Output, Prompt
from ..widgets import ABSENT, Widget

CHECKPOINT = "ckpt_name"
"""The input of ComfyUI's checkpoint loaders that names a file."""
NODE = Node(
    id="LorapipeBaseModel",
    title="Base model, checkpoint (lorapipe)",
    category="lorapipe",
    help="The base model to train on, from any checkpoint that lorapipe trains: the file says whether it is SD1.x, SD2 or "
    "SDXL. With a model that another node has loaded, its file is taken. Family nodes have rarer settings.",
    role="graph",
    search_words=("checkpoint", "load checkpoint", "stable diffusion"),
    inputs=(
        Input(
            "checkpoint",
            "The checkpoint: a file of ComfyUI's list, a diffusers folder, or pocket, which comes with lorapipe.",
            widget=Widget("shelf", ABSENT, choices=("pocket",), shelf="checkpoints"),
            path="read",
        ),
        Input(
            "model",
            "a MODEL of a checkpoint loader in this graph: its file, in place of the checkpoint",
            False,
            "MODEL",
        ),
        Input(
            "vae",
            "Another VAE, as a file; default: the checkpoint's own.",
            widget=Widget("shelf", None, optional=True, shelf="vae"),
            path="read",
        ),
    ),
    outputs=(
        Output("family", "LORAPIPE_FAMILY", "The base model, for `base` of Prepare and other stages."),
        Output("name", "STRING", "Its family: sd15, sd2 or sdxl."),
    ),
)


async def execute(call: GraphCall) -> Shown:
    """Find the family."""
    from lorapipe.models import Checkpoint
    from lorapipe.starting_settings.base_facts import base_of

    text = call.text("checkpoint")
    if call.given.get("model") is not None:
        text = _loaded(call.prompt, call.unique_id)
    given = text if text == "pocket" else call.where.found(NODE.input("checkpoint"), text)
    base = base_of(Checkpoint.parse(given, Path()))
    document: dict[str, object] = {"family": base.name, "checkpoint": given}
    if (vae := call.text("vae")) not in ("", "default"):
        document["vae"] = call.where.found(NODE.input("vae"), vae)
    call.say(f"{text}: {base.name}")
    return Shown({"family": {"stages": {}, "value": document}, "name": base.name})


def _loaded(prompt: Prompt, unique_id: str) -> str:
    """Return the name of the checkpoint that a linked model was loaded from. `InputError` if the graph does not tell."""
    link, seen = prompt[unique_id]["inputs"].get("model"), set[str]()
    while isinstance(link, list) and str(link[0]) not in seen:
        seen.add(str(link[0]))
        inputs = prompt[str(link[0])].get("inputs", {})
        if isinstance(inputs.get(CHECKPOINT), str):
            return str(inputs[CHECKPOINT])
        link = inputs.get("model")
    what = "comes from no checkpoint loader, so its file is not known."
    raise InputError(what, where="model", cure="Link a loader of checkpoints, or choose the checkpoint here.")
