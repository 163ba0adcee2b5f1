"""Detect what kind of model a file or folder is, from the names and shapes of its tensors, or from its configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.models import Family
from lorapipe.models._diffusers_folder import keys_in, read_json, weights_in
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
TEXTS = ("cond_stage_model.", "conditioner.embedders.")
CHANNELS = {
    9: "inpainting model", 8: "model for editing by instruction (InstructPix2Pix)", 5: "depth model", 7: "upscaler",
}  # fmt: skip
"""Input channels of a U-Net → kind of model; a plain model has 4."""
PLAIN = "Use the plain model of this family: in most cases its LoRAs work with such models too."
NOT_YET = "Families that can be trained: sd15, sd2 and sdxl."
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
    (("double_blocks.", "single_transformer_blocks."), "a FLUX model; it is not trained yet", NOT_YET),
    (("joint_blocks.", ".add_q_proj."), "an SD3 model; it is not trained yet", NOT_YET),
    (("y_embedder.", "caption_projection."), "a PixArt model; it is not trained yet", NOT_YET),
    (("clip_txt_mapper.", "clip_txt_pooled_mapper."), "a Stable Cascade model; it is not trained yet", NOT_YET),
    (("double_layers.", "joint_transformer_blocks."), "an AuraFlow model; it is not trained yet", NOT_YET),
    ((".img_mod.",), "a Qwen-Image model; it is not trained yet", NOT_YET),
    (("cap_embedder.",), "a Lumina or Z-Image model; it is not trained yet", NOT_YET),
    (("head.modulation",), "a Wan model; it is not trained yet", NOT_YET),
    (("mlp_t5.",), "a Hunyuan-DiT model; it is not trained yet", NOT_YET),
    (("edm_mean", "edm_vpred."), "a model of another noise schedule (EDM); it is not trained yet", NOT_YET),
    (("noise_augmentor.",), "an SD2 unCLIP model; it is not trained yet", NOT_YET),
)  # fmt: skip
"""Parts of keys → what a file with such keys is, and what to do."""
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
PIPELINES = {
    "Flux": "a FLUX", "StableDiffusion3": "an SD3", "PixArt": "a PixArt", "StableCascade": "a Stable Cascade",
    "Wuerstchen": "a Würstchen", "Kandinsky": "a Kandinsky", "HunyuanDiT": "a Hunyuan-DiT", "AuraFlow": "an AuraFlow",
    "Kolors": "a Kolors", "Sana": "a Sana", "Lumina": "a Lumina", "QwenImage": "a Qwen-Image", "ZImage": "a Z-Image",
    "Wan": "a Wan", "AltDiffusion": "an AltDiffusion", "StableUnCLIP": "an SD2 unCLIP", "UnCLIP": "an unCLIP",
    "IF": "a DeepFloyd IF", "CogVideo": "a CogVideoX", "LTX": "an LTX-Video", "Chroma": "a Chroma",
    "SD3": "an SD3", "LDMTextToImage": "a Latent Diffusion", "AudioLDM": "an AudioLDM", "OmniGen": "an OmniGen",
}  # fmt: skip
"""Prefixes of the pipeline's or network's class name → model."""
NETWORKS = {
    "ControlNet": ("a ControlNet, not a base model", "Name the base that it was made for."),
    "AutoencoderKL": ("a VAE, not a base model", AS_VAE),
    "UNet2DConditionModel": ("a bare U-Net", "Name the folder that contains it, beside vae and text_encoder."),
    "CLIPTextModel": ("a CLIP text encoder, not a base model", "Name the folder that contains it."),
    "MotionAdapter": ("an AnimateDiff motion module, not a base model", "Name a base model."),
}
"""Prefixes of a network's class name, for folders that contain one network → what it is, and what to do."""


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
        return _odd(family, reads)
    return Kind(f"{family} checkpoint", BASE if family == REFINER else "")


def _channels_read(keys: Mapping[str, Shape]) -> int:
    """Return the U-Net's input channels; 4 if they cannot be determined."""
    shape = keys.get(f"{UNET}input_blocks.0.0.weight", ())
    return shape[1] if shape[1:] else 4


def _of_other_keys(keys: Mapping[str, Shape]) -> Kind:
    """Return the kind of a file without the U-Net of a known family."""
    if not _starts(keys, UNET) and _starts(keys, TEXTS):
        return Kind("a checkpoint without U-Net", "Name the whole checkpoint.")
    for telling, what, cure in ALONE:
        if _starts(keys, telling):
            return Kind(what, cure)
    if len(keys) <= 3 and all(shape[-1:] in ((768,), (1024,)) for shape in keys.values()):
        return Kind("an embedding (textual inversion), not a base model", "Name the base that it was made for.")
    return Kind("not a Stable Diffusion checkpoint")


def _starts(keys: Iterable[str], prefix: str | tuple[str, ...]) -> bool:
    """Whether any key begins with the prefix, or with one of them."""
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
    """Whether a single file contains a U-Net in LDM's layout."""
    return _starts(keys, UNET)


def _odd(family: str, channels: int) -> Kind:
    purpose = CHANNELS.get(channels, f"model whose U-Net has {channels} input channels instead of 4")
    return Kind(f"{family} {purpose}" if family else purpose, PLAIN)


# ------------------------------------------------------------------------------------------------------------- folders


def of_folder(folder: Path) -> Kind:
    """Return the kind of a diffusers folder from its configurations; of other folders, what they seem to be."""
    try:
        return _of_folder(folder)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(folder)) from None


def _of_folder(folder: Path) -> Kind:
    index = folder / "model_index.json"
    pipeline = str(read_json(index).get("_class_name", "")) if index.is_file() else ""
    named = _pipeline(pipeline)
    if named is None and (folder / "transformer" / "config.json").is_file():
        network = str(read_json(folder / "transformer" / "config.json").get("_class_name", ""))
        named = _pipeline(network) or "a diffusion-transformer"
    if named:
        return Kind(f"{named} folder; it is not trained yet", NOT_YET)
    if not (folder / "unet" / "config.json").is_file():
        return _no_base(folder)
    unet = read_json(folder / "unet" / "config.json")
    family, reads = _folder_family(folder, unet), unet.get("in_channels", 4)
    if reads != 4:
        return _odd(family, reads)
    if "controlnet" in pipeline.lower() and not (folder / "vae").is_dir():
        return Kind("a ControlNet, not a base model", "Name the base that it was made for.")
    return Kind(f"{family} folder", BASE if family == REFINER else "")


def _folder_family(folder: Path, unet: Mapping[str, Any]) -> str:
    seen = unet.get("cross_attention_dim", 1280)
    if unet.get("addition_embed_type") == "text_time":
        alone = not (folder / "text_encoder").exists() and (folder / "text_encoder_2").exists()
        return REFINER if seen == 1280 or alone else SDXL
    if seen in (768, 1024):
        return SD1 if seen == 768 else SD2
    return SD2 if unet.get("use_linear_projection") else SD1


def _pipeline(name: str) -> str | None:
    return next((what for start, what in PIPELINES.items() if name.startswith(start)), None)


def _no_base(folder: Path) -> Kind:
    """Return the kind of a folder without a U-Net's configuration."""
    parts = [name for name in ("vae", "text_encoder", "scheduler", "unet", "tokenizer") if (folder / name).is_dir()]
    if len(parts) >= 2:
        return Kind(
            "a diffusers folder of which unet/config.json is missing", "Copy the model again, with all its files."
        )
    return _of_network(folder) or _of_files(folder)


def _of_network(folder: Path) -> Kind | None:
    """Return the kind from a folder's config.json; None if there is none, or its class is unknown."""
    if not (folder / "config.json").is_file():
        return None
    network = str(read_json(folder / "config.json").get("_class_name", ""))
    for start, (what, cure) in NETWORKS.items():
        if network.startswith(start):
            return Kind(what, cure)
    if named := _pipeline(network):
        return Kind(f"{named} folder; it is not trained yet", NOT_YET)
    return None


def _of_files(folder: Path) -> Kind:
    """Return the kind of a folder from its weight files."""
    names = sorted(entry.name for entry in folder.iterdir())
    models = [name for name in names if name.lower().endswith((".safetensors", ".ckpt")) and (folder / name).is_file()]
    if any("lora" in name.lower() for name in models) and len(models) == 1:
        return Kind("a folder with a LoRA file, not a base model", "Name the base that it was made for.")
    if models:
        named = f"Name it: {models[0]}." if len(models) == 1 else f"Name one of them: {_some(models)}."
        return Kind(f"not a diffusers folder, but one with {'single files' if models[1:] else 'a single file'}", named)
    inner = _inner(folder)
    cure = (
        f"Name the folder in it: {inner}."
        if inner
        else "Name the folder that contains unet, vae and text_encoder, or a file."
    )
    return Kind("not a diffusers folder: unet/config.json is missing", cure)


def _inner(folder: Path) -> str | None:
    """Return a diffusers folder inside this one, as in Hugging Face's cache and unpacked archives."""
    for pattern in ("*", "snapshots/*", "*/snapshots/*", "*/*"):
        for number, place in enumerate(folder.glob(f"{pattern}/unet/config.json")):
            if number < 100:
                return place.parent.parent.relative_to(folder).as_posix()
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def of_vae(folder: Path) -> Mapping[str, Any]:
    """Return the configuration of a VAE's folder, {} if it has none. `InputError` if it is not a VAE."""
    where = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (where / "config.json").is_file():
        keys_in(weights_in(where))
        return {}
    config = read_json(where / "config.json")
    network = str(config.get("_class_name", "AutoencoderKL"))
    if network != "AutoencoderKL":
        raise InputError(f"is a folder of {network}, not a VAE.", cure="Name a VAE (AutoencoderKL).")
    return config
