"""Apply weights to a model and a text encoder of the graph, without a file in a list of ComfyUI's.

What ComfyUI's own loader reads rightly, it reads. Modules that it ignores or misreads (see `lorapipe inspect --for comfyui`)
get lorapipe's ΔW, computed on the weights of the loaded checkpoint. So every kind acts as in lorapipe's evaluation:

    W' = W + strength · ΔW

An embedding's vectors stand in the prompt for its word; strengths have no effect on them.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError, listed
from lorapipe.pipeline.artifacts import Snapshot, Weights

from ..graph_call import GraphCall, Shown
from ..node import Input, Node, Output
from ..widgets import Widget

if TYPE_CHECKING:
    from lorapipe.inspection.adapter_updates import AdapterUpdates, ModuleUpdate

NODE = Node(
    id="LorapipeApply",
    title="Apply weights (lorapipe)",
    category="lorapipe",
    help="Apply weights to a loaded model at once: of a training, of any of its snapshots, or the best that Evaluate found. "
    "All kinds act as in lorapipe's evaluation: LoRA, LyCORIS, embeddings, hypernetworks.",
    role="graph",
    search_words=("load lora", "apply lora", "lora loader"),
    inputs=(
        Input("weights", "the weights: of Train, or `best` of Evaluate", True, "LORAPIPE_WEIGHTS"),
        Input(
            "model", "the model that a checkpoint loader has loaded; without it, only the text encoder", False, "MODEL"
        ),
        Input("clip", "its text encoder; without it, only the model", False, "CLIP"),
        Input(
            "strength_model",
            "Strength in the U-Net; the same as strength_model of a LoRA loader.",
            widget=Widget("number", 1.0, low=-20, high=20, step=0.01),
        ),
        Input(
            "strength_clip",
            "Strength in the text encoders.",
            widget=Widget("number", 1.0, low=-20, high=20, step=0.01),
        ),
        Input(
            "snapshot",
            "The snapshot after so many steps: 600. Empty: the last one, or the one that Evaluate has chosen.",
            widget=Widget("text", ""),
        ),
    ),
    outputs=(
        Output("model", "MODEL", "The model with the weights."),
        Output("clip", "CLIP", "The text encoder with the weights; words that were learnt work in its prompts."),
    ),
)
LOADER = "comfyui"
"""The registered reader whose rules say what ComfyUI loads rightly."""


async def execute(call: GraphCall) -> Shown:
    """Apply the weights."""
    from lorapipe.inspection.adapter_updates import adapter_updates

    if call.given.get("model") is None and call.given.get("clip") is None:
        raise InputError("link a model, or a clip, or both.", where="model")
    weights = await call.artifact("weights", Weights)
    snapshot = _chosen(weights, call.text("snapshot"))
    found = adapter_updates(snapshot.path, LOADER)
    at_model, at_clip = call.number("strength_model", 1), call.number("strength_clip", 1)
    model, clip, left_out = _patched(
        call.given.get("model"), call.given.get("clip"), found, snapshot, at_model, at_clip
    )
    if found.words and clip is not None:
        clip = _with_words(clip, found.words)
    if found.hypernetwork is not None and model is not None:
        model = _with_networks(model, found.hypernetwork.a1111("lorapipe"), at_model)
    call.say(_told(snapshot, found, left_out))
    return Shown({"model": model, "clip": clip})


def _chosen(weights: Weights, step: str) -> Snapshot:
    """Return the snapshot after so many steps; without a number the last. `InputError` names those that exist."""
    if not step:
        return weights.snapshots[-1]
    found = next((each for each in weights.snapshots if str(each.step) == step), None)
    if found is None:
        steps = listed([str(each.step) for each in weights.snapshots])
        raise InputError(f"there is no snapshot after {step} steps.", where="snapshot", cure=f"There are {steps}.")
    return found


def _told(snapshot: Snapshot, found: AdapterUpdates, left_out: int) -> str:
    words = [f"the word{'s' if len(found.words) > 1 else ''} {', '.join(found.words)}"] if found.words else []
    nets = ["a hypernetwork"] if found.hypernetwork else []
    modules = [f"{len(found.modules)} modules"] if found.modules else []
    missing = f"; {left_out} modules have no place in this model" if left_out else ""
    return f"step {snapshot.step}: {', '.join([*modules, *words, *nets])}{missing}"


# ------------------------------------------------------------------------------------------------------------- modules


def _patched(
    model: Any, clip: Any, found: AdapterUpdates, snapshot: Snapshot, at_model: float, at_clip: float
) -> tuple[Any, Any, int]:
    """Return clones of both with the modules' updates, and how many modules neither has a place for."""
    names, new_model, new_clip = _names(model, clip), _clone(model), _clone(clip)
    patches = _read_by_comfyui(found, snapshot, names)
    wrong = [each for each in found.modules if each.why and each.name in names]
    bases = _bases(new_model, new_clip) if wrong else {}
    for each in wrong:
        patches |= _differences(each, names[each.name], bases)
    for new, strength in ((new_model, at_model), (new_clip, at_clip)):
        if new is not None:
            new.add_patches(patches, strength)
    left_out = [each for each in found.modules if each.name not in names and _is_of(each.name, model, clip)]
    return new_model, new_clip, len(left_out)


def _clone(loaded: Any) -> Any:
    return None if loaded is None else loaded.clone()


def _names(model: Any, clip: Any) -> dict[str, Any]:
    """Return the names of modules in files → ComfyUI's keys of the weights."""
    import comfy.lora

    names: dict[str, Any] = {}
    if model is not None:
        names = comfy.lora.model_lora_keys_unet(model.model, names)
    return names if clip is None else comfy.lora.model_lora_keys_clip(clip.cond_stage_model, names)


def _read_by_comfyui(found: AdapterUpdates, snapshot: Snapshot, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patches of the modules that ComfyUI's own loader reads rightly."""
    import comfy.lora
    import comfy.lora_convert
    import comfy.utils

    tensors = comfy.utils.load_torch_file(str(snapshot.path), safe_load=True)
    right = [each for each in found.modules if not each.why and each.name in names]
    kept = {key: tensors[key] for each in right for key in each.keys}
    return dict(comfy.lora.load_lora(comfy.lora_convert.convert_lora(kept), names))


def _is_of(name: str, model: Any, clip: Any) -> bool:
    """Whether a module belongs to one of the two that are linked."""
    return (clip if name.startswith("lora_te") else model) is not None


def _bases(*loaded: Any) -> dict[str, Any]:
    """Return the weights of the loaded checkpoint by ComfyUI's keys, without any patches."""
    patchers = [getattr(each, "patcher", each) for each in loaded if each is not None]
    return {key: found[0][0] for patcher in patchers for key, found in patcher.get_key_patches().items()}


def _differences(update: ModuleUpdate, target: Any, bases: Mapping[str, Any]) -> dict[str, Any]:
    """Return lorapipe's ΔW and Δb of a module as ComfyUI's patches of the kind `diff`."""
    key = target[0] if isinstance(target, tuple) else target
    if key not in bases:
        return {}
    module, weight = update.weights(), bases[key]
    device = weight.device
    delta = module.delta(weight.cpu() if module.needs_weight else None).reshape(weight.shape)
    found: dict[str, Any] = {target: ("diff", (delta.to(device),))}
    bias_key = re.sub(r"weight$", "bias", key)
    bias = bases.get(bias_key)
    if bias is not None and (change := module.delta_bias(bias.cpu() if module.needs_bias else None)) is not None:
        found[bias_key] = ("diff", (change.to(device),))
    return found


# ------------------------------------------------------------------------------------------------- words and networks


def _with_words(clip: Any, words: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the text encoder with words in its prompts: alone, or in ComfyUI's form `embedding:WORD`."""
    names = {word: f"word-{place}" for place, word in enumerate(sorted(words))}
    folder = _folder_of_words(words, names)
    tokenizer = copy.copy(clip.tokenizer)
    for name, inner in vars(tokenizer).items():
        if hasattr(inner, "embedding_directory"):
            own = copy.copy(inner)
            others = own.embedding_directory or []
            own.embedding_directory = [str(folder), *([others] if isinstance(others, str) else others)]
            setattr(tokenizer, name, own)
    read, marked = tokenizer.tokenize_with_weights, _marker(names)
    tokenizer.tokenize_with_weights = lambda text, *more, **named: read(marked(text), *more, **named)
    clip.tokenizer = tokenizer
    return clip


def _marker(names: Mapping[str, str]) -> Any:
    """Return a function that puts the names of their files for these whole words, in upper or lower case."""
    known = {word.lower(): name for word, name in names.items()}
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w:-])(?:embedding:)?({either})(?![\w-])", re.IGNORECASE)

    def marked(text: str) -> str:
        found = pattern.sub(lambda match: f" embedding:{known[match[1].lower()]} ", text)
        return found.strip(" ") if found != text else text

    return marked


def _folder_of_words(words: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Path:
    """Write each word's vectors as a file of ComfyUI's into a folder named by their content.

    The files have names of their own, since a word comes from a file of anybody's and may hold any characters.
    """
    import comfy.utils
    import folder_paths

    keys = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    digest = hashlib.sha256()
    for word, parts in sorted(words.items()):
        digest.update(word.encode())
        for part, vectors in sorted(parts.items()):
            digest.update(part.encode() + vectors.numpy().tobytes())
    folder = Path(folder_paths.get_temp_directory()) / f"lorapipe-words-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for word, parts in words.items():
        alone = len(parts) == 1
        tensors = {"emb_params" if alone else keys[part]: vectors.contiguous() for part, vectors in parts.items()}
        comfy.utils.save_torch_file(tensors, str(folder / f"{names[word]}.safetensors"))
    return folder


def _with_networks(model: Any, contents: Mapping[int | str, object], strength: float) -> Any:
    """Return the model with a hypernetwork, read by ComfyUI's own loader from a file in A1111's form."""
    import folder_paths
    import torch
    from comfy_extras.nodes_hypernetwork import load_hypernetwork_patch

    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"lorapipe-{id(contents):x}.pt"
    torch.save(dict(contents), file)
    try:
        patch = load_hypernetwork_patch(str(file), strength)
    finally:
        file.unlink()
    model.set_model_attn1_patch(patch)
    model.set_model_attn2_patch(patch)
    return model
