"""Identifies a file by keys that no format here reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lorapipe.errors import Problem

KINDS: tuple[tuple[str, str], ...] = (
    (r"lora_magnitude_vector", "is a DoRA of PEFT's, whose magnitudes are not read"),
    (r"\.hada_|\.lokr_|\.oft_|\.boft_|\.vera_lambda|\.ia3_", "holds tensors of a kind that is not known here"),
    (r"\.bias$", "holds trained biases"),
    (r"^bundle_emb\.|^emb_params$|^string_to_param|^clip_[gl]$|^\*$", "holds embeddings (textual inversion)"),
    (r"\.(lora_A|lora_B)\.|\.lora\.(down|up)\.|lora_linear_layer|_lora\.(down|up)\.|^base_model\.", "is in PEFT's keys"),
    (r"^(transformer|diffusion_model|lycoris|lora_transformer|lora_prior)|(double|single)_blocks", "is for another base"),
)  # fmt: skip
"""(pattern of an unread key, what the file is); the first match counts."""

BASES: tuple[tuple[str, str], ...] = (
    (r"^(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner|model_ema)\.", "is a base model"),
    (r"^(?:unet\.)?(?:down_blocks|up_blocks|mid_block|time_embedding|input_blocks|output_blocks)\.", "is a base's U-Net"),
    (r"^(?:encoder|decoder)\.(?:conv_in|down|up|mid)", "is a VAE"),
    (r"^(?:text_model\.)?(?:encoder\.layers|embeddings|final_layer_norm)\.", "is a text encoder"),
)  # fmt: skip
"""(pattern, what the file is) for keys of a base or its parts; checked first, since adapters' patterns match them too."""
OF_AN_ADAPTER = re.compile(r"lora|hada_|lokr_|oft|dora|ia3|diff|magnitude")

SHOWN = 3


def problems(keys: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each kind of unread key, which says what the file is and shows some keys."""
    keys = list(keys)
    plain = [key for key in keys if not OF_AN_ADAPTER.search(key.removeprefix("model.diffusion_model"))]
    for pattern, words in BASES:
        if found := [key for key in plain if re.search(pattern, key)]:
            what = f"{words}, not a LoRA: it holds {first_few(found)}."
            yield Problem(what, cure="Name a LoRA's file; a base is named as checkpoint, a VAE as vae.")
            return
    by_kind: dict[str, list[str]] = {}
    for key in keys:
        kind = next((words for pattern, words in KINDS if re.search(pattern, key)), "holds what is not known here")
        by_kind.setdefault(kind, []).append(key)
    for kind, found in by_kind.items():
        cure = "LoRA and LyCORIS' kinds are read in kohya's keys, LoRA in diffusers' and PEFT's too."
        yield Problem(f"{kind}: {first_few(found)}.", cure=cure)


def first_few(names: Sequence[str]) -> str:
    """List the first names, and count the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
