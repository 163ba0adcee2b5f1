"""Detection of the kind of a base model's folder, from its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.models import Family
from lorapipe.models._diffusers_folder import keys_in, read_json, weights_in
from lorapipe.models._model_detection import AS_VAE, BASE, NOT_YET, REFINER, Kind, odd

DENOISERS = ("unet", "transformer")
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


def of_folder(folder: Path) -> Kind:
    """Return the kind of a diffusers folder from its configurations; of other folders, what they seem to be."""
    try:
        return _of_folder(folder)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(folder)) from None


def _of_folder(folder: Path) -> Kind:
    parts = configurations(folder)
    found = REFINER if is_refiner(parts) else _family(parts)
    if found is None:
        return _of_no_family(folder, parts)
    reads = parts.get("unet", {}).get("in_channels", 4)
    if reads != 4:
        return odd(found, reads)
    if "controlnet" in _pipeline(parts).lower() and "vae" not in parts:
        return Kind("a ControlNet, not a base model", "Name the base that it was made for.")
    return Kind(f"{found} folder", BASE if found == REFINER else "")


def configurations(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the configuration of each subfolder, {} for one without, and `model_index` if it exists.

    A denoiser without a configuration is left out. `InputError` if its configuration or the index cannot be read.
    """
    index = folder / "model_index.json"
    found: dict[str, Mapping[str, Any]] = {"model_index": read_json(index)} if index.is_file() else {}
    for part in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        file = part / "config.json"
        if part.name in DENOISERS:
            found |= {part.name: read_json(file)} if file.is_file() else {}
        else:
            found[part.name] = _readable(file)
    return found


def _readable(file: Path) -> Mapping[str, Any]:
    """Return a part's configuration; {} if it has none or a damaged one, which the check of the parts reports."""
    try:
        return read_json(file) if file.is_file() else {}
    except InputError:
        return {}


def _family(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the registered family that a folder belongs to; None if there is none."""
    assert Family.registry is not None
    families = map(Family.registry.get, Family.registry.names())
    return next((each.kind.removesuffix(" checkpoint") for each in families if each.recognises_folder(parts)), None)


def _of_no_family(folder: Path, parts: Mapping[str, Mapping[str, Any]]) -> Kind:
    named = other_model(parts)
    if named is None and "transformer" in parts:
        named = _named(str(parts["transformer"].get("_class_name", ""))) or "a diffusion-transformer"
    return Kind(f"{named} folder; it is not trained yet", NOT_YET) if named else _no_base(folder)


def has_unet_alone(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a folder's denoiser is a U-Net of a Stable Diffusion family, rather than of another model with a U-Net."""
    return "unet" in parts and "transformer" not in parts and other_model(parts) is None


def text_width(parts: Mapping[str, Mapping[str, Any]]) -> tuple[int, bool] | None:
    """The text width of an SD1.x or SD2 U-Net, and whether its projections are Linear; None for any other denoiser."""
    if not has_unet_alone(parts) or parts["unet"].get("addition_embed_type") == "text_time":
        return None
    return parts["unet"].get("cross_attention_dim", 1280), bool(parts["unet"].get("use_linear_projection"))


def is_refiner(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a folder is SDXL's refiner: it has only the second text encoder, or a narrower text width."""
    if not has_unet_alone(parts) or parts["unet"].get("addition_embed_type") != "text_time":
        return False
    alone = "text_encoder" not in parts and "text_encoder_2" in parts
    return alone or parts["unet"].get("cross_attention_dim", 1280) == 1280


def other_model(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the model that the index names, if it is one that cannot be trained yet."""
    return _named(_pipeline(parts))


def _pipeline(parts: Mapping[str, Mapping[str, Any]]) -> str:
    return str(parts.get("model_index", {}).get("_class_name", ""))


def _named(name: str) -> str | None:
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
    """Return the kind that the folder's `config.json` names; None if there is none, or an unknown one."""
    if not (folder / "config.json").is_file():
        return None
    network = str(read_json(folder / "config.json").get("_class_name", ""))
    for start, (what, cure) in NETWORKS.items():
        if network.startswith(start):
            return Kind(what, cure)
    if named := _named(network):
        return Kind(f"{named} folder; it is not trained yet", NOT_YET)
    return None


def _of_files(folder: Path) -> Kind:
    """Return the kind of a folder from the weight files in it."""
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
    """Return a diffusers folder inside this one, as in Hugging Face's cache and in unpacked archives."""
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
