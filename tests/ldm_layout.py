"""A diffusers model's tensors under the names of the original LDM code, written from the published layout.

The inverse of what loading a single file does, and made apart from it, so that the two check each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.", "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
OUTSIDE = {
    "conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.", "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
}  # fmt: skip
VAE = (
    ("mid_block.resnets.0.", "mid.block_1."), ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."), ("mid_block.attentions.0.to_q.", "mid.attn_1.q."),
    ("mid_block.attentions.0.to_k.", "mid.attn_1.k."), ("mid_block.attentions.0.to_v.", "mid.attn_1.v."),
    ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."), ("conv_shortcut", "nin_shortcut"),
    ("conv_norm_out", "norm_out"), (".downsamplers.0.", ".downsample."), (".upsamplers.0.", ".upsample."),
    (".resnets.", ".block."),
)  # fmt: skip


def unet_blocks(levels: int, layers: int) -> Iterator[tuple[str, str]]:
    """(diffusers prefix, LDM prefix) of every block of the U-Net's two halves."""
    place = 1
    for level in range(levels):
        for layer in range(layers):
            yield f"down_blocks.{level}.resnets.{layer}.", f"input_blocks.{place}.0."
            yield f"down_blocks.{level}.attentions.{layer}.", f"input_blocks.{place}.1."
            place += 1
        if level < levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv.", f"input_blocks.{place}.0.op."
            place += 1
    for place in range(levels * (layers + 1)):
        level, layer = divmod(place, layers + 1)
        yield f"up_blocks.{level}.resnets.{layer}.", f"output_blocks.{place}.0."
        yield f"up_blocks.{level}.attentions.{layer}.", f"output_blocks.{place}.1."


def unet_key(key: str, levels: int, layers: int, attention: Callable[[int], bool]) -> str:
    """The LDM name of a U-Net tensor; `attention(level)` says whether an up block has attentions."""
    if ".upsamplers." in key:
        level = int(key.split(".")[1])
        place = level * (layers + 1) + layers
        return f"output_blocks.{place}.{2 if attention(level) else 1}.conv.{key.rpartition('.')[2]}"
    blocks = {**OUTSIDE, **dict(unet_blocks(levels, layers))}
    start = next(start for start in blocks if key.startswith(start))
    rest = key.removeprefix(start)
    if ".resnets." in start:
        inner = next(name for name in RESNET if rest.startswith(name))
        rest = RESNET[inner] + rest.removeprefix(inner)
    return blocks[start] + rest


def vae_key(key: str, levels: int) -> str:
    """The LDM name of a VAE tensor."""
    for ours, theirs in VAE:
        key = key.replace(ours, theirs)
    for level in range(levels):
        key = key.replace(f"down_blocks.{level}.", f"down.{level}.")
        key = key.replace(f"up_blocks.{level}.", f"up.{levels - 1 - level}.")
    return key


OPEN_CLIP = (
    ("encoder.layers.", "transformer.resblocks."), (".layer_norm1.", ".ln_1."), (".layer_norm2.", ".ln_2."),
    (".self_attn.out_proj.", ".attn.out_proj."), (".mlp.fc1.", ".mlp.c_fc."), (".mlp.fc2.", ".mlp.c_proj."),
    ("embeddings.token_embedding.", "token_embedding."), ("final_layer_norm.", "ln_final."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
)  # fmt: skip


def clip(text_encoder: Any, prefix: str) -> dict[str, Any]:
    """CLIP's text encoder as SD1.x and SDXL have it: transformers' names of before version 5."""
    state = text_encoder.state_dict().items()
    return {f"{prefix}text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in state}


def open_clip(text_encoder: Any, prefix: str) -> dict[str, Any]:
    """OpenCLIP's text encoder: q, k and v stacked in one tensor, the projection the other way round."""
    import torch

    tensors: dict[str, Any] = {}
    state = {key.removeprefix("text_model."): tensor for key, tensor in text_encoder.state_dict().items()}
    for key, tensor in state.items():
        if ".q_proj." in key:
            kinds = [state[key.replace(".q_proj.", f".{kind}_proj.")] for kind in "qkv"]
            place = key.split(".")[2]
            name = f"transformer.resblocks.{place}.attn.in_proj_{key.rpartition('.')[2]}"
            tensors[prefix + name] = torch.cat(kinds)
        elif key == "text_projection.weight":
            tensors[f"{prefix}text_projection"] = tensor.T.contiguous()
        elif ".k_proj." not in key and ".v_proj." not in key:
            for ours, theirs in OPEN_CLIP:
                key = key.replace(ours, theirs)
            tensors[prefix + key] = tensor
    return tensors


def checkpoint(unet: Any, vae: Any, texts: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a single-file checkpoint made of these modules; `texts` are those of its text encoders."""
    config, tensors = unet.config, dict(texts)
    attentions = ["Attn" in kind for kind in config.up_block_types]
    for key, tensor in unet.state_dict().items():
        name = unet_key(key, len(config.block_out_channels), config.layers_per_block, attentions.__getitem__)
        tensors[f"model.diffusion_model.{name}"] = tensor
    for key, tensor in vae.state_dict().items():
        name = vae_key(key, len(vae.config.block_out_channels))
        pointwise = "attn_1" in name and tensor.ndim == 2  # LDM has 1×1 convolutions here
        tensors[f"first_stage_model.{name}"] = tensor[:, :, None, None] if pointwise else tensor
    return {key: tensor.clone() for key, tensor in tensors.items()}
