"""Names and shapes of Stable Diffusion's tensors, computed from its configurations without torch, in diffusers' names.

With them, a file's header shows whether a part is complete and fits. For configurations with features not supported here
the result is None, and the part is only checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

UNET: Mapping[str, Any] = {
    "in_channels": 4, "out_channels": 4, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "cross_attention_dim": 1280, "transformer_layers_per_block": 1, "use_linear_projection": False,
    "addition_embed_type": None, "projection_class_embeddings_input_dim": None, "time_cond_proj_dim": None,
}  # fmt: skip
"""diffusers' defaults of the supported settings."""
UNET_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "mid_block_type": ("UNetMidBlock2DCrossAttn",), "class_embed_type": (None,), "num_class_embeds": (None,),
    "encoder_hid_dim": (None,), "encoder_hid_dim_type": (None,), "only_cross_attention": (False,),
    "dual_cross_attention": (False,), "time_embedding_dim": (None,), "time_embedding_type": ("positional",),
    "resnet_time_scale_shift": ("default",), "conv_in_kernel": (3,), "conv_out_kernel": (3,), "attention_type": ("default",),
    "cross_attention_norm": (None,), "reverse_transformer_layers_per_block": (None,),
}  # fmt: skip
"""Settings, and the values with which they do not change the tensors."""
VAE: Mapping[str, Any] = {
    "in_channels": 3, "out_channels": 3, "block_out_channels": (64,), "layers_per_block": 1, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",), "use_quant_conv": True,
    "use_post_quant_conv": True, "mid_block_add_attention": True,
}  # fmt: skip
TEXT: Mapping[str, Any] = {
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "max_position_embeddings": 77, "projection_dim": 512,
}  # fmt: skip


MOST = {
    "layers_per_block": 16,
    "transformer_layers_per_block": 64,
    "num_hidden_layers": 128,
    "block_out_channels": 65_536,
}
LARGEST = 1 << 20
"""Upper limits of numbers in a configuration: larger ones come from damaged files and would take for ever."""


def _counted(defaults: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the supported settings of a configuration. ValueError for impossible values."""
    c = {**defaults, **{name: value for name, value in config.items() if name in defaults}}
    for name, value in c.items():
        if not _can_be(name, value, defaults[name]):
            raise ValueError(f"{name} is {str(value)[:40]}")
    levels = {len(c[name]) for name in ("block_out_channels", "down_block_types", "up_block_types") if name in c}
    if len(levels) > 1 or 0 in levels:
        raise ValueError("its lists of blocks differ in length")
    return c


def unet(config: Mapping[str, Any]) -> Shapes | None:
    """Return the tensors of a `UNet2DConditionModel`; None for unsupported features."""
    c = _counted(UNET, config)
    odd = (config.get(name, plain[0]) not in plain for name, plain in UNET_PLAIN.items())
    down, up, layers = c["down_block_types"], c["up_block_types"], c["layers_per_block"]
    kinds = {*down, *up} <= {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
    if any(odd) or not kinds or not isinstance(layers, int) or not isinstance(c["cross_attention_dim"], int):
        return None
    if c["addition_embed_type"] not in (None, "text_time"):
        return None
    return dict(_unet(c, list(c["block_out_channels"]), layers))


def _can_be(name: str, value: object, default: object) -> bool:
    """Return whether a setting may have this value: names or numbers within limits, at most one for each level."""
    if value is None:
        return default is None or name == "projection_dim"
    if isinstance(value, (list, tuple)):
        return len(value) <= MOST_LEVELS and all(_is_setting(name, each) for each in value)
    return not isinstance(default, tuple) and _is_setting(name, value)


def _is_setting(name: str, value: object) -> bool:
    if name.endswith(("_types", "_embed_type")):
        return isinstance(value, str)
    return isinstance(value, int) and 0 <= value <= MOST.get(name, LARGEST)


def _embeddings(c: Mapping[str, Any], width: int, time: int) -> Iterator[tuple[str, Shape]]:
    """Yield the embeddings of the timestep and of SDXL's size conditioning."""
    yield from _linear("time_embedding.linear_1", time, width)
    yield from _linear("time_embedding.linear_2", time, time)
    if c["time_cond_proj_dim"]:
        yield "time_embedding.cond_proj.weight", (width, c["time_cond_proj_dim"])
    if c["addition_embed_type"]:
        yield from _linear("add_embedding.linear_1", time, c["projection_class_embeddings_input_dim"])
        yield from _linear("add_embedding.linear_2", time, time)


def _unet(c: Mapping[str, Any], widths: list[int], layers: int) -> Iterator[tuple[str, Shape]]:
    time, cross, linear = widths[0] * 4, c["cross_attention_dim"], c["use_linear_projection"]
    depths = c["transformer_layers_per_block"]
    depths = [depths] * len(widths) if isinstance(depths, int) else list(depths)
    yield from _conv("conv_in", widths[0], c["in_channels"])
    yield from _embeddings(c, widths[0], time)
    skips = [widths[0]]
    for level, width in enumerate(widths):
        for layer in range(layers):
            block = f"down_blocks.{level}"
            yield from _resnet(f"{block}.resnets.{layer}", width, skips[-1], time)
            if "CrossAttn" in c["down_block_types"][level]:
                yield from _transformer(f"{block}.attentions.{layer}", width, depths[level], cross, linear)
            skips.append(width)
        if level < len(widths) - 1:
            yield from _conv(f"down_blocks.{level}.downsamplers.0.conv", width, width)
            skips.append(width)
    for number in range(2):
        yield from _resnet(f"mid_block.resnets.{number}", widths[-1], widths[-1], time)
    yield from _transformer("mid_block.attentions.0", widths[-1], depths[-1], cross, linear)
    before = widths[-1]
    for level, (width, depth) in enumerate(zip(widths[::-1], depths[::-1], strict=True)):
        for layer in range(layers + 1):
            block = f"up_blocks.{level}"
            yield from _resnet(f"{block}.resnets.{layer}", width, before + skips.pop(), time)
            if "CrossAttn" in c["up_block_types"][level]:
                yield from _transformer(f"{block}.attentions.{layer}", width, depth, cross, linear)
            before = width
        if level < len(widths) - 1:
            yield from _conv(f"up_blocks.{level}.upsamplers.0.conv", width, width)
    yield from _norm("conv_norm_out", widths[0])
    yield from _conv("conv_out", c["out_channels"], widths[0])


def vae(config: Mapping[str, Any]) -> Shapes | None:
    """Return the tensors of an `AutoencoderKL`; None for unsupported features."""
    c = _counted(VAE, config)
    if {*c["down_block_types"], *c["up_block_types"]} != {"DownEncoderBlock2D", "UpDecoderBlock2D"}:
        return None
    return dict(_vae(c, list(c["block_out_channels"]), c["layers_per_block"], c["latent_channels"]))


def _vae(c: Mapping[str, Any], widths: list[int], layers: int, latent: int) -> Iterator[tuple[str, Shape]]:
    yield from _conv("encoder.conv_in", widths[0], c["in_channels"])
    yield from _conv("decoder.conv_in", widths[-1], latent)
    yield from _vae_levels("encoder.down_blocks", "downsamplers", widths, layers)
    yield from _vae_levels("decoder.up_blocks", "upsamplers", widths[::-1], layers + 1)
    for half in ("encoder", "decoder"):
        yield from _vae_middle(f"{half}.mid_block", widths[-1], c["mid_block_add_attention"])
    yield from _norm("encoder.conv_norm_out", widths[-1])
    yield from _norm("decoder.conv_norm_out", widths[0])
    yield from _conv("encoder.conv_out", 2 * latent, widths[-1])
    yield from _conv("decoder.conv_out", c["out_channels"], widths[0])
    if c["use_quant_conv"]:
        yield from _conv("quant_conv", 2 * latent, 2 * latent, 1)
    if c["use_post_quant_conv"]:
        yield from _conv("post_quant_conv", latent, latent, 1)


def _vae_levels(blocks: str, sampler: str, widths: list[int], layers: int) -> Iterator[tuple[str, Shape]]:
    """Yield the levels of encoder or decoder, in the order of the forward pass."""
    before = widths[0]
    for level, width in enumerate(widths):
        for layer in range(layers):
            yield from _resnet(f"{blocks}.{level}.resnets.{layer}", width, before)
            before = width
        if level < len(widths) - 1:
            yield from _conv(f"{blocks}.{level}.{sampler}.0.conv", width, width)


def _vae_middle(block: str, width: int, attention: bool) -> Iterator[tuple[str, Shape]]:
    for number in range(2):
        yield from _resnet(f"{block}.resnets.{number}", width, width)
    if attention:
        yield from _norm(f"{block}.attentions.0.group_norm", width)
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            yield from _linear(f"{block}.attentions.0.{name}", width, width)


def text(config: Mapping[str, Any], projected: bool) -> Shapes:
    """Return the tensors of CLIP's text encoder, without the prefix `text_model.`; `projected`: with the projection."""
    c = _counted(TEXT, config)
    return dict(_text(c, c["hidden_size"], c["intermediate_size"], projected))


def _text(c: Mapping[str, Any], width: int, inner: int, projected: bool) -> Iterator[tuple[str, Shape]]:
    yield "embeddings.token_embedding.weight", (c["vocab_size"], width)
    yield "embeddings.position_embedding.weight", (c["max_position_embeddings"], width)
    for number in range(c["num_hidden_layers"]):
        layer = f"encoder.layers.{number}"
        for name in ("layer_norm1", "layer_norm2"):
            yield from _norm(f"{layer}.{name}", width)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{layer}.self_attn.{name}", width, width)
        yield from _linear(f"{layer}.mlp.fc1", inner, width)
        yield from _linear(f"{layer}.mlp.fc2", width, inner)
    yield from _norm("final_layer_norm", width)
    if projected:
        yield "text_projection.weight", (c["projection_dim"], width)


# -------------------------------------------------------------------------------------------------------------- layers


def _resnet(name: str, out: int, into: int, time: int = 0) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm1", into)
    yield from _conv(f"{name}.conv1", out, into)
    if time:
        yield from _linear(f"{name}.time_emb_proj", out, time)
    yield from _norm(f"{name}.norm2", out)
    yield from _conv(f"{name}.conv2", out, out)
    if into != out:
        yield from _conv(f"{name}.conv_shortcut", out, into, 1)


def _transformer(name: str, width: int, depth: int, cross: int, linear: bool) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm", width)
    for place in ("proj_in", "proj_out"):
        yield from _linear(f"{name}.{place}", width, width) if linear else _conv(f"{name}.{place}", width, width, 1)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for place in ("norm1", "norm2", "norm3"):
            yield from _norm(f"{block}.{place}", width)
        for attention, seen in (("attn1", width), ("attn2", cross)):
            yield f"{block}.{attention}.to_q.weight", (width, width)
            yield f"{block}.{attention}.to_k.weight", (width, seen)
            yield f"{block}.{attention}.to_v.weight", (width, seen)
            yield from _linear(f"{block}.{attention}.to_out.0", width, width)
        yield from _linear(f"{block}.ff.net.0.proj", 8 * width, width)
        yield from _linear(f"{block}.ff.net.2", width, 4 * width)


def _conv(name: str, out: int, into: int, side: int = 3) -> Iterator[tuple[str, Shape]]:
    yield from _weight_and_bias(name, (out, into, side, side))


def _linear(name: str, out: int, into: int) -> Iterator[tuple[str, Shape]]:
    yield from _weight_and_bias(name, (out, into))


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _weight_and_bias(name, (width,))


def _weight_and_bias(name: str, shape: Sequence[int]) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", tuple(shape)
    yield f"{name}.bias", (shape[0],)


MOST_LEVELS = 16
