"""Adapter files as other trainers and tools write them, and as accidents leave them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
SHAPES = {
    "lora_unet_down_blocks_0_attentions_0_proj_in": (8, 8, 1, 1),
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (8, 8),
    "lora_unet_down_blocks_0_resnets_0_conv1": (8, 6, 3, 3),
    "lora_te_text_model_encoder_layers_0_mlp_fc1": (12, 8),
}
"""kohya's name of a module → the shape of its weight: Linear layers, a 1x1 convolution, a larger one."""
PATHS = {
    "lora_unet_down_blocks_0_attentions_0_proj_in": ("unet", "down_blocks.0.attentions.0.proj_in"),
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (
        "unet", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
    ),
    "lora_unet_down_blocks_0_resnets_0_conv1": ("unet", "down_blocks.0.resnets.0.conv1"),
    "lora_te_text_model_encoder_layers_0_mlp_fc1": ("text_encoder", "text_model.encoder.layers.0.mlp.fc1"),
}  # fmt: skip
"""The table of a small base: what `Model.kohya_names` gives."""
RANK, ALPHA = 4, 2.0


def lora(shapes: Mapping[str, tuple[int, ...]] = SHAPES, seed: int = 0) -> Tensors:
    """A LoRA that is right, in kohya's keys."""
    draw = torch.Generator().manual_seed(seed)
    found: Tensors = {}
    for name, (out, *inside) in shapes.items():
        ones = (1,) * len(inside[1:])
        found[f"{name}.lora_down.weight"] = torch.randn(RANK, *inside, generator=draw)
        found[f"{name}.lora_up.weight"] = torch.randn(out, RANK, *ones, generator=draw)
        found[f"{name}.alpha"] = torch.tensor(ALPHA)
    return found


def renamed(tensors: Tensors, spell: Callable[[str, str, str], str]) -> Tensors:
    """The same without alpha under keys of diffusers': `spell(part, path, "down" or "up")`."""
    found: Tensors = {}
    for key, tensor in tensors.items():
        name, _, end = key.partition(".")
        if end != "alpha":
            found[spell(*PATHS[name], end.removeprefix("lora_").removesuffix(".weight"))] = tensor
    return found


def peft(part: str, path: str, way: str) -> str:
    return f"{part}.{path}.lora_{'A' if way == 'down' else 'B'}.weight"


def peft_default(part: str, path: str, way: str) -> str:
    return f"base_model.model.{part}.{path}.lora_{'A' if way == 'down' else 'B'}.default.weight"


def diffusers(part: str, path: str, way: str) -> str:
    return f"{part}.{path}.lora.{way}.weight"


def older_diffusers(part: str, path: str, way: str) -> str:
    if path.endswith(".to_q"):
        return f"{part}.{path.removesuffix('.to_q')}.processor.to_q_lora.{way}.weight"
    return f"{part}.{path}.lora_linear_layer.{way}.weight"


SPELLINGS = (peft, peft_default, diffusers, older_diffusers)

NAME = next(iter(SHAPES))
ONE = torch.ones(4, 4)
STRANGE: dict[str, tuple[Tensors, str]] = {
    "DoRA of PEFT": ({"unet.down_blocks.0.attentions.0.proj_in.lora_magnitude_vector": ONE[0]}, "is a DoRA of PEFT"),
    "biases": ({f"{NAME}.lora_up.bias": ONE[0]}, "trained biases"),
    "an embedding of another base": ({"bundle_emb.penny.t5xxl": ONE}, "holds embeddings"),
    "embeddings of two kinds": ({"emb_params": ONE, "clip_l": ONE}, "holds embeddings"),
    "a base": ({"model.diffusion_model.input_blocks.0.0.weight": ONE}, "is a base model"),
    "Flux": ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": ONE}, "not in this base model"),
    "something": ({"something": ONE, "another": ONE}, "is not known"),
    "a part": ({f"{NAME}.lora_middle.weight": ONE}, "is not known"),
    "no weight": ({f"{NAME}.lora_down": ONE}, "is not known"),
}
"""What a file may hold besides (or in place of) a LoRA, and what has to be said of it."""

WRONG: dict[str, tuple[Tensors, str]] = {
    "DoRA alone": ({f"{NAME}.dora_scale": torch.ones(8, 1)}, "has dora_scale and no"),
    "half a LoHa": ({f"{NAME}.hada_w{i}_{x}": ONE for i, x in ("1a", "1b", "2a")}, "and no hada_w2_b"),
    "half a LoKr": ({f"{NAME}.lokr_w1": ONE, f"{NAME}.lokr_w2_a": ONE}, "and no lokr_w2_b"),
    "LoKr without w1": ({f"{NAME}.lokr_w2": ONE}, "and no lokr_w1"),
    "half an IA3": ({f"{NAME}.on_input": torch.tensor(True)}, "and no weight"),
    "BOFT": ({f"{NAME}.oft_blocks": torch.ones(2, 2, 4, 4)}, "a BOFT's, 2x2x4x4"),
    "half an OFT": ({f"{NAME}.oft_blocks": torch.ones(2, 4, 3)}, "blocks are 2x4x3"),
    "half a GLoRA": ({f"{NAME}.{x}.weight": ONE for x in ("a1", "a2", "b1")}, "and no b2.weight"),
    "a bias alone": ({f"{NAME}.diff_b": ONE[0]}, "and no diff"),
    "half a Tucker LoHa": (
        {f"{NAME}.hada_{x}": ONE for x in ("w1_a", "w1_b", "w2_a", "w2_b", "t1")},
        "and no hada_t2",
    ),
    "LoKr twice": ({f"{NAME}.lokr_{x}": ONE for x in ("w1", "w2", "w2_a", "w2_b")}, "as a whole and in two factors"),
    "two kinds": ({f"{NAME}.lokr_w1": ONE, f"{NAME}.hada_w1_a": ONE}, "and no"),
    "NaN": ({f"{NAME}.diff": ONE * float("nan")}, f"holds what is no number .*{NAME}.diff"),
    "whole numbers": ({f"{NAME}.diff": ONE.to(torch.int8)}, f"holds whole numbers .*{NAME}.diff"),
}
"""Modules of other kinds than LoRA that make no update, and what has to be said of them."""


def write(
    folder: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None, name: str = "a.safetensors"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: tensor.clone().contiguous() for key, tensor in tensors.items()}, folder / name, dict(metadata or {})
    )
    return folder / name


PLAIN_WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "web page": (b"<!DOCTYPE html><html>Sign in</html>" + b" " * 200, "is a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer"),
    "pickle": (b"\x80\x02}q\x00." + b"\0" * 90, "is a pickle"),
    "zip": (b"PK\x03\x04" + b"\0" * 90, "PyTorch"),
    "zeros": (b"\0" * 4096, "zeros"),
    "half a header": (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "not a whole safetensors file"),
    "endless header": (b"\xff" * 7 + b"\x7f{}", "not a whole safetensors file"),
    "list": ((2).to_bytes(8, "little") + b"[]" + b"\0" * 90, "not a whole safetensors file"),
    "deep": ((60_000).to_bytes(8, "little") + b"[" * 60_000, "not a whole safetensors file"),
    "number": ((8).to_bytes(8, "little") + json.dumps({"a": 1}).encode() + b"   ", "not a whole safetensors file"),
}
"""Files that are no safetensors files at all, and what has to be said of them."""
