"""What the keys of adapter files are called, whoever wrote them: to read one, or to say what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem

if TYPE_CHECKING:
    import torch

    from lorapipe.formats import Names

KINDS: tuple[tuple[str, str], ...] = (
    (r"dora_scale$|lora_magnitude_vector", "is a DoRA, whose magnitudes are not read"),
    (r"\.hada_", "is a LoHa"),
    (r"\.lokr_", "is a LoKr"),
    (r"\.oft_|\.boft_|\.vera_lambda", "is an OFT or its kin"),
    (r"\.on_input$|\.ia3_|(?<=[a-z]_[kv])\.weight$", "is an IA3"),
    (r"\.[ab][12]\.weight$", "is a GLoRA"),
    (r"\.(w_norm|b_norm|diff|diff_b)$", "holds trained norms, biases or whole layers"),
    (r"\.bias$", "holds trained biases"),
    (r"^bundle_emb\.|^emb_params$|^string_to_param|^clip_[gl]$|^\*$", "holds embeddings (textual inversion)"),
    (r"\.(lora_A|lora_B)\.|\.lora\.(down|up)\.|lora_linear_layer|_lora\.(down|up)\.|^base_model\.", "is in PEFT's keys"),
    (r"^(transformer|diffusion_model|lycoris|lora_transformer|lora_prior)|(double|single)_blocks", "is for another base"),
)  # fmt: skip
"""How a key looks that is not read, and what a file is that has it; the first that fits counts."""

BASES: tuple[tuple[str, str], ...] = (
    (r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner|model_ema)\.", "is a base model"),
    (r"^(?:unet\.)?(?:down_blocks|up_blocks|mid_block|time_embedding|input_blocks|output_blocks)\.", "is a base's U-Net"),
    (r"^(?:encoder|decoder)\.(?:conv_in|down|up|mid)", "is a VAE"),
    (r"^(?:text_model\.)?(?:encoder\.layers|embeddings|final_layer_norm)\.", "is a text encoder"),
)  # fmt: skip
"""The same of keys of a base or its parts. Most look like an adapter's too: the file is called this alone."""
OF_AN_ADAPTER = re.compile(r"lora|hada_|lokr_|oft|dora|ia3|diff|magnitude")

DIFFUSERS = re.compile(
    r"(?:base_model\.model\.)?(?P<part>unet|text_encoder(?:_2)?)\.(?P<path>.+?)"
    r"(?:\.processor\.(?P<old>to_[qkv]|to_out)_lora\.|\.lora_linear_layer\.|\.lora\.|\.lora_(?=[AB]\.))"
    r"(?P<way>down|up|A|B)(?:\.default)?\.weight"
)
"""`unet.….lora_A.weight`, `.lora.down.weight`, `.lora_linear_layer.down.weight`, `.processor.to_q_lora.down.weight`."""
WAYS = {"A": "lora_down", "B": "lora_up", "down": "lora_down", "up": "lora_up"}
SHOWN = 3
ONCE = "Save it with one name for each module."


def in_kohyas_keys(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], names: Names
) -> dict[str, torch.Tensor]:
    """The tensors with kohya's keys in place of diffusers' and PEFT's; what is neither keeps its name.

    `InputError` where one is there twice, or the file has a scale that is not in its tensors.
    """
    written: dict[tuple[str, str], str] = {}
    for name, (part, path) in names.items():
        written.setdefault((part, path.removeprefix("text_model.")), name)
    found: dict[str, torch.Tensor] = {}
    spelled: dict[str, str] = {}
    for key, tensor in tensors.items():
        new = _translated(key, written)
        if (other := spelled.setdefault(new, key)) != key:
            raise InputError(f"holds one thing twice: {key} and {other} are the same.", cure=ONCE)
        found[new] = tensor
    if found.keys() != tensors.keys():
        _without_a_scale_of_its_own(metadata)
    return found


def _translated(key: str, written: Mapping[tuple[str, str], str]) -> str:
    if (match := DIFFUSERS.fullmatch(key)) is None:
        return key
    old = match["old"]
    path = match["path"] + ("" if old is None else f".{old}.0" if old == "to_out" else f".{old}")
    name = written.get((match["part"], path.removeprefix("text_model.")))
    return key if name is None else f"{name}.{WAYS[match['way']]}.weight"


def _without_a_scale_of_its_own(metadata: Mapping[str, str]) -> None:
    """PEFT writes alpha beside the tensors, if at all: where it is not the rank, another ΔW is meant than one would read."""
    try:
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        odd = sorted(
            name
            for name, value in told.items()
            if (name.endswith("lora_alpha") and value != told.get(f"{name.removesuffix('lora_alpha')}r"))
            or (name.endswith(("alpha_pattern", "rank_pattern", "use_rslora", "use_dora", "lora_bias")) and value)
        )
    except (ValueError, AttributeError):
        odd = ["lora_adapter_metadata"]
    if odd:
        cure = "Save it in kohya's format, where each module has its alpha."
        raise InputError(f"is in PEFT's format with settings that are not read: {some(odd)}.", cure=cure)


def described(keys: Iterable[str]) -> Iterator[Problem]:
    """What a file is, by the keys in it that are not read: a problem for each kind, with some of its keys."""
    keys = list(keys)
    plain = [key for key in keys if not OF_AN_ADAPTER.search(key.removeprefix("model.diffusion_model"))]
    for pattern, words in BASES:
        if found := [key for key in plain if re.search(pattern, key)]:
            what = f"{words}, not a LoRA: it holds {some(found)}."
            yield Problem(what, cure="Name a LoRA's file; a base is named as checkpoint, a VAE as vae.")
            return
    by_kind: dict[str, list[str]] = {}
    for key in keys:
        kind = next((words for pattern, words in KINDS if re.search(pattern, key)), "holds what is not known here")
        by_kind.setdefault(kind, []).append(key)
    for kind, found in by_kind.items():
        yield Problem(f"{kind}: {some(found)}.", cure="Only LoRA and LoCon are read, in kohya's keys or diffusers'.")


def some(names: Sequence[str]) -> str:
    """A few of many names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
