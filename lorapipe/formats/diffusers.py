"""diffusers' keys: `pytorch_lora_weights.safetensors`, which `load_lora_weights` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lorapipe.formats import Format, NameTable, Place, Stored
from lorapipe.formats._embeddings import kohya_keys
from lorapipe.formats._key_scheme import suffix_table
from lorapipe.formats._peft_config import alpha_of, of_header
from lorapipe.formats._peft_modules import ADAPTER_NAME, WRAPPER
from lorapipe.formats.algorithms import Algorithm
from lorapipe.models._weight_files import TOP

OLDER = (
    (re.compile(r"\.processor\.(to_[qkv])_lora\.(down|up)\.weight$"), r".\1.lora.\2.weight"),
    (re.compile(r"\.processor\.to_out_lora\.(down|up)\.weight$"), r".to_out.0.lora.\1.weight"),
    (re.compile(r"\.processor\.(to_[qkv])\.(hada|lokr)_"), r".\1.\2_"),
    (re.compile(r"\.processor\.to_out\.(hada|lokr)_"), r".to_out.0.\1_"),
    (re.compile(r"\.lora_linear_layer\.(down|up)\.weight$"), r".lora.\1.weight"),
    (re.compile(r"\.lora\.down\.weight$"), ".lora_A.weight"),
    (re.compile(r"\.lora\.up\.weight$"), ".lora_B.weight"),
)
"""(key pattern of earlier diffusers, its newer spelling), applied in this order."""
OF_A_U_NET = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding)\b")
OF_A_TEXT_ENCODER = re.compile(r"encoder\.layers\.")


@dataclass(frozen=True)
class Diffusers(Format):
    """`unet.….lora_A.weight`, `unet.….lora_B.weight`; older spellings and PEFT's `base_model.model.` are read too.

    Keys of a U-Net are written in the spelling before diffusers 0.20 (`….attn1.processor.to_q_lora.down.weight`), those
    of a text encoder with `text_model.`: all releases of diffusers read that, and so do ComfyUI and Forge (`comfy/lora.py`).
    LoHa and LoKr, which diffusers does not load, have `processor` in attention's names as ComfyUI reads them.

    Files have no alpha tensors: the scale is multiplied into the tensors. An alpha in the header
    (`lora_adapter_metadata`, diffusers 0.34) is read.
    """

    alphas: ClassVar[Literal["tensors", "settings", "folded"]] = "folded"

    def split(self, key: str) -> tuple[str, str] | None:
        key = ADAPTER_NAME.sub("", key.removeprefix(WRAPPER))
        for pattern, newer in OLDER:
            key = pattern.sub(newer, key)
        for theirs, suffix in suffix_table("peft_keys").items():
            if key.endswith(f".{theirs}") and "." in (module := key.removesuffix(f".{theirs}")):
                return module, suffix
        return None

    def place(self, module: str, table: NameTable) -> Place | None:
        part, _, path = module.partition(".")
        return table.find(part, path)

    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        part, path = place
        if OF_A_TEXT_ENCODER.match(path):
            path = f"{TOP}{path}"
        key = f"{part}.{path}.{suffix}"
        return _older(key) if OF_A_U_NET.match(path) else key

    def suffixes(self, algorithm: Algorithm) -> Mapping[str, str]:
        return algorithm.peft_keys

    def embedding_keys(self, word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
        """Return the keys that `load_textual_inversion` reads: one word per file, one tensor per text encoder."""
        if bundled:
            return super().embedding_keys(word, encoders, bundled)
        return {encoders[0]: word} if len(encoders) == 1 else kohya_keys(word, encoders, bundled)

    def alpha(self, module: str, usual: float, stored: Stored) -> float:
        part, _, path = module.partition(".")
        return alpha_of(of_header(stored.metadata, part), path, usual)


def _older(key: str) -> str:
    """Return a U-Net's key in diffusers' spelling before it adopted PEFT's."""
    key = re.sub(r"\.(to_[qkv]|to_out)(?:\.0)?\.(hada|lokr)_", r".processor.\1.\2_", key)
    older = key.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up.")
    return re.sub(r"\.(to_[qkv]|to_out)(?:\.0)?\.lora\.", r".processor.\1_lora.", older)
