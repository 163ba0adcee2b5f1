"""What a base model's folder is, told from its configurations."""

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
"""What the class of a folder's pipeline or network begins with → which model it is."""
NETWORKS = {
    "ControlNet": ("a ControlNet, not a base model", "Name the base that it was made for."),
    "AutoencoderKL": ("a VAE, not a base model", AS_VAE),
    "UNet2DConditionModel": ("a bare U-Net", "Name the folder that holds it, with vae and text_encoder in it."),
    "CLIPTextModel": ("a CLIP text encoder, not a base model", "Name the folder that holds it."),
    "MotionAdapter": ("an AnimateDiff motion module, not a base model", "Name a base model."),
}
"""What the class of a single network begins with, where a folder holds nothing else."""


def of_folder(folder: Path) -> Kind:
    """The kind of a diffusers folder by its configurations; of any other, what it seems to be."""
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
    """What the folders of a base say of their parts, {} where they say nothing; and `model_index`, if it is there.

    A denoiser that says nothing is left out. `InputError` where its configuration, or the index, cannot be read.
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
    """A part's configuration; {} where it has none, or a damaged one, which is told when the parts are looked at."""
    try:
        return read_json(file) if file.is_file() else {}
    except InputError:
        return {}


def _family(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What the family of a folder is called, of those that are registered; None where it is none's."""
    assert Family.registry is not None
    families = map(Family.registry.get, Family.registry.names())
    return next((each.kind.removesuffix(" checkpoint") for each in families if each.recognises_folder(parts)), None)


def _of_no_family(folder: Path, parts: Mapping[str, Mapping[str, Any]]) -> Kind:
    named = other_model(parts)
    if named is None and "transformer" in parts:
        named = _named(str(parts["transformer"].get("_class_name", ""))) or "a diffusion-transformer"
    return Kind(f"{named} folder; it is not trained yet", NOT_YET) if named else _no_base(folder)


def has_unet_alone(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a folder's denoiser is a U-Net of the Stable Diffusion families, and not of other models that have one."""
    return "unet" in parts and "transformer" not in parts and other_model(parts) is None


def is_refiner(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a folder is SDXL's refiner: it has the second text encoder alone, and a narrower context."""
    if not has_unet_alone(parts) or parts["unet"].get("addition_embed_type") != "text_time":
        return False
    alone = "text_encoder" not in parts and "text_encoder_2" in parts
    return alone or parts["unet"].get("cross_attention_dim", 1280) == 1280


def other_model(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Which model a folder says that it is, of those that are not trained yet."""
    return _named(_pipeline(parts))


def _pipeline(parts: Mapping[str, Mapping[str, Any]]) -> str:
    return str(parts.get("model_index", {}).get("_class_name", ""))


def _named(name: str) -> str | None:
    return next((what for start, what in PIPELINES.items() if name.startswith(start)), None)


def _no_base(folder: Path) -> Kind:
    """What a folder is that holds no U-Net's configuration."""
    parts = [name for name in ("vae", "text_encoder", "scheduler", "unet", "tokenizer") if (folder / name).is_dir()]
    if len(parts) >= 2:
        return Kind(
            "a diffusers folder of which unet/config.json is missing", "Copy the model again, with all its files."
        )
    return _of_network(folder) or _of_files(folder)


def _of_network(folder: Path) -> Kind | None:
    """What the configuration in a folder says that it is; None where there is none, or it says nothing known."""
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
    """What a folder is by the files of weights in it."""
    names = sorted(entry.name for entry in folder.iterdir())
    models = [name for name in names if name.lower().endswith((".safetensors", ".ckpt")) and (folder / name).is_file()]
    if any("lora" in name.lower() for name in models) and len(models) == 1:
        return Kind("a folder with a LoRA file, not a base model", "Name the base that it was made for.")
    if models:
        named = f"Name it: {models[0]}." if len(models) == 1 else f"Name one of them: {_some(models)}."
        return Kind(
            f"no diffusers folder, but one that holds {'single files' if models[1:] else 'a single file'}", named
        )
    inner = _inner(folder)
    cure = (
        f"Name the folder in it: {inner}."
        if inner
        else "Give the folder that holds unet, vae and text_encoder, or a file."
    )
    return Kind("no diffusers folder: unet/config.json is missing", cure)


def _inner(folder: Path) -> str | None:
    """A diffusers folder inside this one, as Hugging Face's cache and unpacked archives have it."""
    for pattern in ("*", "snapshots/*", "*/snapshots/*", "*/*"):
        for number, place in enumerate(folder.glob(f"{pattern}/unet/config.json")):
            if number < 100:
                return place.parent.parent.relative_to(folder).as_posix()
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def of_vae(folder: Path) -> Mapping[str, Any]:
    """The configuration of a VAE's folder, {} where it has none; `InputError` where it is none."""
    where = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (where / "config.json").is_file():
        keys_in(weights_in(where))
        return {}
    config = read_json(where / "config.json")
    network = str(config.get("_class_name", "AutoencoderKL"))
    if network != "AutoencoderKL":
        raise InputError(f"is a folder of {network}, not a VAE.", cure="Name a VAE (AutoencoderKL).")
    return config
