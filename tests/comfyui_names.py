"""ComfyUI's names of a LoRA's modules in SD1.x, SD2 and SDXL, generated from the architectures.

This table uses neither lorapipe's code nor diffusers' module names, so that a renaming in either is noticed. The tests in
`comfyui/` compare it with ComfyUI itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

ATTENTION = ("to_q", "to_k", "to_v", "to_out_0")
INSIDE = (*(f"{kind}_{leaf}" for kind in ("attn1", "attn2") for leaf in ATTENTION), "ff_net_0_proj", "ff_net_2")
TEXT = (*(f"self_attn_{leaf}_proj" for leaf in ("q", "k", "v", "out")), "mlp_fc1", "mlp_fc2")


def transformer(block: str, depth: int = 1) -> Iterator[str]:
    """Yield the modules of an attention block."""
    yield from (f"{block}_proj_in", f"{block}_proj_out")
    for place in range(depth):
        yield from (f"{block}_transformer_blocks_{place}_{leaf}" for leaf in INSIDE)


def text(prefix: str, layers: int) -> Iterator[str]:
    """Yield the modules of a CLIP text encoder."""
    for layer in range(layers):
        yield from (f"{prefix}_text_model_encoder_layers_{layer}_{leaf}" for leaf in TEXT)


def stable_diffusion(convolutions: bool) -> Iterator[str]:
    """Yield the modules of the U-Net of SD1.x and SD2: four levels of two layers, down and up, in diffusers' names."""

    def resnet(block: str, shortcut: bool) -> Iterator[str]:
        yield from (f"{block}_{leaf}" for leaf in ("conv1", "conv2", "time_emb_proj"))
        if shortcut:
            yield f"{block}_conv_shortcut"

    for level in range(4):
        if level < 3:
            yield from chain(*(transformer(f"down_blocks_{level}_attentions_{layer}") for layer in range(2)))
        if level > 0:
            yield from chain(*(transformer(f"up_blocks_{level}_attentions_{layer}") for layer in range(3)))
    yield from transformer("mid_block_attentions_0")
    if not convolutions:
        return
    for level in range(4):
        for layer in range(2):
            yield from resnet(f"down_blocks_{level}_resnets_{layer}", shortcut=layer == 0 and level in (1, 2))
        yield from chain(*(resnet(f"up_blocks_{level}_resnets_{layer}", shortcut=True) for layer in range(3)))
        if level < 3:
            yield from (f"down_blocks_{level}_downsamplers_0_conv", f"up_blocks_{level}_upsamplers_0_conv")
    yield from chain(*(resnet(f"mid_block_resnets_{place}", shortcut=False) for place in range(2)))


def sdxl(convolutions: bool) -> Iterator[str]:
    """Yield the modules of the U-Net of SDXL: three levels of two layers, in the original code's names."""
    depths = (0, 2, 10)

    def resnet(block: str, shortcut: bool) -> Iterator[str]:
        yield from (f"{block}_{leaf}" for leaf in ("in_layers_2", "emb_layers_1", "out_layers_3"))
        if shortcut:
            yield f"{block}_skip_connection"

    for level, depth in enumerate(depths):
        for layer in range(2):
            block = f"input_blocks_{1 + 3 * level + layer}"
            yield from transformer(f"{block}_1", depth) if depth else ()
            yield from resnet(f"{block}_0", shortcut=layer == 0 and level > 0) if convolutions else ()
    for level, depth in enumerate(reversed(depths)):
        for layer in range(3):
            block = f"output_blocks_{3 * level + layer}"
            yield from transformer(f"{block}_1", depth) if depth else ()
            yield from resnet(f"{block}_0", shortcut=True) if convolutions else ()
    yield from transformer("middle_block_1", depths[-1])
    if convolutions:
        yield from ("input_blocks_3_0_op", "input_blocks_6_0_op", "output_blocks_2_2_conv", "output_blocks_5_2_conv")
        for place in (0, 2):
            yield from resnet(f"middle_block_{place}", shortcut=False)


def of_family(family: str, convolutions: bool) -> set[str]:
    """Return all modules of a family's published base, as in kohya's LoRA, or with convolutions as in its C3Lier."""
    unet = sdxl(convolutions) if family == "sdxl" else stable_diffusion(convolutions)
    texts = {
        "sd15": [("lora_te", 12)],
        "sd2": [("lora_te", 23)],
        "sdxl": [("lora_te1", 12), ("lora_te2", 32)],
    }[family]
    return {f"lora_unet_{name}" for name in unet} | {name for encoder in texts for name in text(*encoder)}
