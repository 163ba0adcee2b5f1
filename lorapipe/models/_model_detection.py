"""Detect what kind of model a file or folder is, from the names and shapes of its tensors, or from its configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lorapipe.models import Family
from lorapipe.models._tensor_index import Shape

SD1, SD2, SDXL = "an SD1.x", "an SD2", "an SDXL"
"""Prefixes of each family's `kind`."""
REFINER = "an SDXL refiner"
SD2_TEXT, SDXL_TEXT, REFINER_TEXT = (
    "cond_stage_model.model.", "conditioner.embedders.1.model.", "conditioner.embedders.0.model."
)  # fmt: skip
OPEN_CLIP_TEXTS = (SDXL_TEXT, REFINER_TEXT, SD2_TEXT)
SD2_WIDTH, SDXL_WIDTH, REFINER_WIDTH = 1024, 2048, 1280
"""Single files of the families differ in the prefix of OpenCLIP's text encoder, else in the U-Net's text width."""
BASE = "Use the SDXL base model: the refiner has only one text encoder, and LoRAs are not made for it."
UNET, VAE = "model.diffusion_model.", "first_stage_model."
LDM_BLOCKS = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
"""Prefixes of a U-Net's tensors after `UNET`; other denoisers in single files have other blocks."""
TEXTS = ("cond_stage_model.", "conditioner.embedders.")
CHANNELS = {
    9: "inpainting model", 8: "model for editing by instruction (InstructPix2Pix)", 5: "depth model", 7: "upscaler",
}  # fmt: skip
"""Input channels of a U-Net → kind of model; a plain model has 4."""
PLAIN = "Use the plain model of this family: in most cases its LoRAs work with such models too."
TRAINED = Family.registry.names() if Family.registry else []
NOT_YET = f"Families that can be trained: {', '.join(TRAINED[:-1])} and {TRAINED[-1]}."
AS_VAE = "Write it as vae, beside a checkpoint."

BESIDE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((".lora_", ".hada_", ".lokr_", ".oft_", ".lora_A", "lora_unet_", "lora_te"), "a LoRA file, not a base model",
     "Name the base that it was made for; to continue training a LoRA, use start_from."),
    ((".absmax", ".quant_state."), "a model in 4 bits (bitsandbytes), whose weights cannot be trained on",
     "Take the model in fp16 or fp32."),
    (("control_model.", "controlnet_cond_embedding.", "controlnet_down_blocks.", "input_hint_block."),
     "a ControlNet, not a base model", "Name the base that it was made for."),
    (("ip_adapter.", "image_proj."), "an IP-Adapter, not a base model", "Name the base that it was made for."),
    (("motion_modules.",), "an AnimateDiff motion module, not a base model", "Name a base model."),
    (("adapter.body.", "body.0.resnets."), "a T2I-Adapter, not a base model", "Name the base that it was made for."),
    (("edm_mean", "edm_vpred."), "a model of another noise schedule (EDM); it is not trained yet", NOT_YET),
    (("noise_augmentor.",), "an SD2 unCLIP model; it is not trained yet", NOT_YET),
)  # fmt: skip
"""Parts of keys → what a file with such keys is, and what to do."""
OTHER_ARCHITECTURES: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("double_blocks.", "single_transformer_blocks."), "a FLUX model; it is not trained yet", NOT_YET),
    (("joint_blocks.", ".add_q_proj."), "an SD3 model; it is not trained yet", NOT_YET),
    (("y_embedder.", "caption_projection."), "a PixArt model; it is not trained yet", NOT_YET),
    (("clip_txt_mapper.", "clip_txt_pooled_mapper."), "a Stable Cascade model; it is not trained yet", NOT_YET),
    (("double_layers.", "joint_transformer_blocks."), "an AuraFlow model; it is not trained yet", NOT_YET),
    ((".img_mod.",), "a Qwen-Image model; it is not trained yet", NOT_YET),
    (("cap_embedder.",), "a Lumina or Z-Image model; it is not trained yet", NOT_YET),
    (("head.modulation",), "a Wan model; it is not trained yet", NOT_YET),
    (("mlp_t5.",), "a Hunyuan-DiT model; it is not trained yet", NOT_YET),
)  # fmt: skip
"""Parts of keys → model, if the file belongs to no family that can be trained."""
ALONE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("input_blocks.", "diffusion_model.input_blocks."), "a bare U-Net", "Name the whole checkpoint."),
    (("down_blocks.", "unet.down_blocks."), "a bare diffusers U-Net",
     "Name the folder that contains unet, vae and text_encoder."),
    (("encoder.down", "decoder.up", VAE), "a VAE, not a base model", AS_VAE),
    (("taesd_", "encoder.layers.1.conv", "decoder.layers.1.conv"), "a TAESD, not a base model", "Name a base model."),
    (("encoder.block.", "shared.weight"), "a T5 text encoder, not a base model", "Name a base model."),
    (("text_model.", "text_projection", "transformer.resblocks.", "encoder.layers.", "vision_model."),
     "a CLIP model, not a base model", "Name a base model."),
    (("emb_params", "string_to_param", "clip_l", "clip_g"), "an embedding (textual inversion), not a base model",
     "Name the base that it was made for."),
    (("model.1.sub.", "conv_first.", "body.0.rdb1."), "an upscaler, not a base model", "Name a base model."),
)  # fmt: skip
"""Prefixes of keys → what a file is that contains a single part or something smaller, and what to do."""


@dataclass(frozen=True)
class Kind:
    """A kind of model, as text that follows "is"; and what to do if it cannot be used."""

    what: str
    cure: str = ""


def of_keys(keys: Mapping[str, Shape]) -> Kind:
    """Return the kind of a single file."""
    if not keys:
        return Kind("a file without weights: settings, or an embedding", "Name a base model.")
    for telling, what, cure in BESIDE:
        if any(part in key for key in keys for part in telling):
            return Kind(what, cure)
    if not _starts(keys, UNET) and _starts(keys, "model_ema."):
        return Kind("a checkpoint whose U-Net exists only as an EMA copy", "Use the pruned file of this model.")
    if (family := _family(keys)) is None:
        return _of_other_keys(keys)
    if (reads := _channels_read(keys)) != 4:
        return odd(family, reads)
    return Kind(f"{family} checkpoint", BASE if family == REFINER else "")


def _channels_read(keys: Mapping[str, Shape]) -> int:
    """Return the U-Net's input channels; 4 if they cannot be determined."""
    shape = keys.get(f"{UNET}input_blocks.0.0.weight", ())
    return shape[1] if shape[1:] else 4


def _of_other_keys(keys: Mapping[str, Shape]) -> Kind:
    """Return the kind of a file that belongs to no family."""
    for telling, what, cure in OTHER_ARCHITECTURES:
        if any(part in key for key in keys for part in telling):
            return Kind(what, cure)
    if not _starts(keys, UNET) and _starts(keys, TEXTS):
        return Kind("a checkpoint without U-Net", "Name the whole checkpoint.")
    for telling, what, cure in ALONE:
        if _starts(keys, telling):
            return Kind(what, cure)
    if len(keys) <= 3 and all(shape[-1:] in ((768,), (1024,)) for shape in keys.values()):
        return Kind("an embedding (textual inversion), not a base model", "Name the base that it was made for.")
    return Kind("not a Stable Diffusion checkpoint")


def _starts(keys: Iterable[str], prefix: str | tuple[str, ...]) -> bool:
    """Return whether any key begins with the prefix, or with one of them."""
    return any(key.startswith(prefix) for key in keys)


def lacking(keys: Mapping[str, Shape]) -> list[str]:
    """Return the parts that a single file lacks completely."""
    parts = {"VAE": (VAE,), "text encoder": TEXTS}
    return [name for name, starts in parts.items() if not any(key.startswith(starts) for key in keys)]


def _family(keys: Mapping[str, Shape]) -> str | None:
    """Return the name of the registered family that recognises a file; None if there is none."""
    if text_layout(keys) == REFINER_TEXT or context_width(keys) == REFINER_WIDTH:
        return REFINER
    assert Family.registry is not None
    families = map(Family.registry.get, Family.registry.names())
    return next((family.kind.removesuffix(" checkpoint") for family in families if family.recognises(keys)), None)


def text_layout(keys: Mapping[str, Shape]) -> str:
    """Return the prefix of a single file's OpenCLIP text encoder, which differs by family; "" if there is none."""
    return next((prefix for prefix in OPEN_CLIP_TEXTS if _starts(keys, prefix)), "")


def context_width(keys: Mapping[str, Shape]) -> int:
    """Return the text width of the U-Net in a single file without OpenCLIP; 0 if there is no U-Net or it is unknown."""
    if text_layout(keys) or not has_unet(keys):
        return 0
    return next((shape[1] for key, shape in keys.items() if key.endswith("attn2.to_k.weight") and shape[1:]), 0)


def has_unet(keys: Mapping[str, Shape]) -> bool:
    """Return whether a single file contains a U-Net in LDM's layout."""
    return _starts(keys, tuple(f"{UNET}{block}" for block in LDM_BLOCKS))


def odd(family: str, channels: int) -> Kind:
    purpose = CHANNELS.get(channels, f"model whose U-Net has {channels} input channels instead of 4")
    return Kind(f"{family} {purpose}" if family else purpose, PLAIN)
