"""Translate names of modules and tensors from diffusers to the original LDM code and to OpenCLIP."""

from __future__ import annotations

from collections.abc import Sequence

RESNET = {
    "norm1": "in_layers.0",
    "norm2": "out_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}

OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""Modules outside the U-Net's blocks."""
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OLDER_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Names of the VAE's attention in diffusers before 0.17, in folders that are still in use."""
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def unet_name(name: str, layers: int, attentions: Sequence[bool]) -> str:
    """Return the LDM name of a U-Net tensor; see `ldm_path`."""
    path, _, kind = name.rpartition(".")
    return f"{OUTSIDE.get(path) or ldm_path(path, layers, attentions)}.{kind}"


def vae_name(name: str, levels: int) -> str:
    """Return the LDM name of a VAE tensor; `levels` is the VAE's. LDM numbers the decoder's levels in reverse."""
    half, _, inside = name.partition(".")
    block, _, rest = inside.partition(".")
    if block in ("down_blocks", "up_blocks"):
        level, kind, place, rest = rest.split(".", 3)
        start = f"{half}.down.{level}" if block == "down_blocks" else f"{half}.up.{levels - 1 - int(level)}"
        if kind != "resnets":  # downsamplers, upsamplers
            return f"{start}.{kind.removesuffix('rs')}.{rest}"
        return f"{start}.block.{place}.{rest.replace('conv_shortcut', 'nin_shortcut')}"
    if block == "mid_block":
        kind, place, rest = rest.split(".", 2)
        if kind == "resnets":
            return f"{half}.mid.block_{int(place) + 1}.{rest}"
        path, _, last = rest.rpartition(".")
        return f"{half}.mid.attn_1.{VAE_ATTENTION[path]}.{last}"
    return name.replace("conv_norm_out", "norm_out")


def older_vae_name(name: str) -> str:
    """Return the name of a VAE tensor in diffusers before 0.17."""
    start, attention, rest = name.partition("mid_block.attentions.0.")
    path, _, last = rest.rpartition(".")
    return f"{start}{attention}{OLDER_ATTENTION.get(path, path)}.{last}" if attention else name


def open_clip_name(name: str) -> str:
    """Return the OpenCLIP name of a text encoder's tensor; OpenCLIP has q, k and v in one tensor."""
    if name == "embeddings.position_embedding.weight":
        return "positional_embedding"
    if name == "text_projection.weight":
        return "text_projection"
    path, _, kind = name.rpartition(".")
    if not path.startswith("encoder.layers."):
        return f"{path.removeprefix('embeddings.').replace('final_layer_norm', 'ln_final')}.{kind}"
    number, _, inside = path.removeprefix("encoder.layers.").partition(".")
    if inside in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
        return f"transformer.resblocks.{number}.attn.in_proj_{kind}"
    return f"transformer.resblocks.{number}.{OPEN_CLIP[inside]}.{kind}"


def ldm_path(path: str, layers: int, attentions: Sequence[bool]) -> str:
    """Return the LDM path of a module in a block: `down_blocks.1.attentions.0.proj_in` → `input_blocks.4.1.proj_in`.

    `layers` is the number of resnets per level (`layers_per_block`); `attentions` says for each up block whether it has
    attention. LDM numbers blocks through all levels, including those that change the size.
    """
    half, _, rest = path.partition(".")
    if half == "mid_block":
        kind, _, rest = rest.partition(".")
        place, _, inside = rest.partition(".")
        return f"middle_block.{MIDDLE[f'{kind}.{place}']}.{_inside(kind, inside)}"
    level_name, kind, place, inside = rest.split(".", 3)
    level = int(level_name)
    if half == "down_blocks":
        block = 1 + level * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{block + layers}.0.op"
        return f"input_blocks.{block + int(place)}.{_slot(kind)}.{_inside(kind, inside)}"
    block = level * (layers + 1)
    if kind == "upsamplers":
        return f"output_blocks.{block + layers}.{2 if attentions[level] else 1}.conv"
    return f"output_blocks.{block + int(place)}.{_slot(kind)}.{_inside(kind, inside)}"


def _slot(kind: str) -> int:
    return 1 if kind == "attentions" else 0


def _inside(kind: str, inside: str) -> str:
    return RESNET[inside] if kind == "resnets" else inside
