"""Module paths of a U-Net in diffusers → in the original LDM code."""

from __future__ import annotations

from collections.abc import Sequence

RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}


def ldm_path(path: str, layers: int, attentions: Sequence[bool]) -> str:
    """`down_blocks.1.attentions.0.proj_in` → `input_blocks.4.1.proj_in`, of a module inside a block.

    `layers` are the resnets of a level (`layers_per_block`); `attentions` says of each up block whether it has any.
    The original code counts blocks through all levels, those that change the size included.
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
