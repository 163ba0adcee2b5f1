"""Random bases of a few million parameters that lorapipe trains and ComfyUI samples: SD1.x, SD2 and SDXL.

ComfyUI fixes more than lorapipe does: normalisation over 32 groups, 8 heads (SD1.x) or heads of 64, CLIP's whole
vocabulary, and a VAE that is either 84 million parameters wide or a TAESD. So the single file has a TAESD, the folder a
small VAE of the usual kind; U-Net and text encoders are the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ldm_layout
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorapipe.models import Checkpoint, Family, Model
from lorapipe.models._tiny import SCHEDULE, VAE
from lorapipe.models.sd2 import SD2
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL

WIDTH, LAYERS = 64, 3
PROMPT, SEED = "penny, red", 5
"""The prompt of `graph`."""
SD15_UNET: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
}
SD2_UNET: dict[str, Any] = {
    **SD15_UNET,
    "block_out_channels": (64, 128),
    "attention_head_dim": (1, 2),
    "use_linear_projection": True,
}
SDXL_UNET: dict[str, Any] = {
    "block_out_channels": (64, 128),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "cross_attention_dim": 2 * WIDTH,
    "attention_head_dim": (1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": WIDTH + 6 * 256,
}


def sd15(folder: Path, vocabulary: Path) -> SD15:
    """Create an SD1.x as a diffusers folder; `vocabulary` has CLIP's `vocab.json` and `merges.txt`."""
    _save(folder, SD15_UNET, {"text_encoder": _text(CLIPTextModel, "quick_gelu")}, vocabulary)
    return SD15(checkpoint=Checkpoint(folder))


def sd2(folder: Path, vocabulary: Path) -> SD2:
    """Create an SD2 with ε-prediction as a diffusers folder."""
    _save(folder, SD2_UNET, {"text_encoder": _text(CLIPTextModel, "gelu")}, vocabulary, pads_with="!")
    return SD2(checkpoint=Checkpoint(folder))


def sdxl(folder: Path, vocabulary: Path) -> SDXL:
    """Create an SDXL as a diffusers folder."""
    texts = {
        "text_encoder": _text(CLIPTextModel, "quick_gelu"),
        "text_encoder_2": _text(CLIPTextModelWithProjection, "gelu"),
    }
    _save(folder, SDXL_UNET, texts, vocabulary)
    return SDXL(checkpoint=Checkpoint(folder))


def _text(kind: Any, activation: str) -> Any:
    torch.manual_seed(1)
    return kind(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS,
            num_attention_heads=WIDTH // 32, max_position_embeddings=77, hidden_act=activation, projection_dim=WIDTH,
            bos_token_id=49406, eos_token_id=49407,
        )
    )  # fmt: skip


def _save(folder: Path, unet: dict[str, Any], texts: dict[str, Any], vocabulary: Path, pads_with: str = "") -> None:
    torch.manual_seed(0)
    UNet2DConditionModel(sample_size=8, norm_num_groups=32, **unet).save_pretrained(folder / "unet")
    AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    DDPMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    for name, text in texts.items():
        text.save_pretrained(folder / name)
        tokenizer = folder / name.replace("text_encoder", "tokenizer")
        tokenizer.mkdir()
        for file in ("vocab.json", "merges.txt"):
            shutil.copyfile(vocabulary / file, tokenizer / file)
        pad = "!" if name == "text_encoder_2" else pads_with
        padding = {"pad_token": pad} if pad else {}
        config = json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **padding})
        (tokenizer / "tokenizer_config.json").write_text(config, encoding="utf-8")


def single_file(model: Model, path: Path) -> Path:
    """Save the model with its current weights as one file for ComfyUI."""
    if "text_encoder_2" in model.trainable:
        texts = ldm_layout.clip(model.part("text_encoder"), "conditioner.embedders.0.transformer.")
        texts |= ldm_layout.open_clip(model.part("text_encoder_2"), "conditioner.embedders.1.model.")
    elif model.part("text_encoder").config.hidden_act == "gelu":
        texts = ldm_layout.open_clip(model.part("text_encoder"), "cond_stage_model.model.")
        last = [key for key in texts if f".resblocks.{LAYERS - 1}." in key]
        # SD2 reads the last layer but one, and its diffusers folders have none after that.
        texts |= {key.replace(f".{LAYERS - 1}.", f".{LAYERS}."): texts[key].clone() for key in last}
    else:
        texts = ldm_layout.clip(model.part("text_encoder"), "cond_stage_model.transformer.")
    tensors = ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts)
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith("first_stage_model.")}
    save_file({**kept, **_taesd()}, path)
    return path


def _taesd() -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        state = AutoencoderTiny().state_dict()
    # The original code begins its decoder with a clamp, which diffusers has outside.
    found = {}
    for key, tensor in state.items():
        half, _, rest = key.partition(".layers.")
        place, _, inner = rest.partition(".")
        found[f"first_stage_model.taesd_{half}.{int(place) + (half == 'decoder')}.{inner}"] = tensor
    return found


BASES = {"sd15": sd15, "sd2": sd2, "sdxl": sdxl}


def base(family: str, folder: Path, vocabulary: Path) -> Family:
    """Create a base of a family below `folder`."""
    with torch.random.fork_rng(devices=[]):
        return BASES[family](folder, vocabulary)


def graph(checkpoint: str, lora: str = "", strength: float = 1.0, steps: int = 1, cfg: float = 1.0) -> dict[str, Any]:
    """Return a graph of stock nodes: load, optionally with a LoRA, sample a picture of 64 px, save picture and latent."""

    def node(kind: str, **inputs: Any) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs}

    nodes = {
        "model": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
    }
    source = "model"
    if lora:
        source, loader = "lora", {"lora_name": lora, "strength_model": strength, "strength_clip": strength}
        nodes["lora"] = node("LoraLoader", model=["model", 0], clip=["model", 1], **loader)
    for name, text in (("positive", PROMPT), ("negative", "")):
        nodes[name] = node("CLIPTextEncode", text=text, clip=[source, 1])
    nodes["sample"] = node(
        "KSampler", model=[source, 0], positive=["positive", 0], negative=["negative", 0], latent_image=["empty", 0],
        seed=SEED, steps=steps, cfg=cfg, sampler_name="euler", scheduler="normal", denoise=1.0,
    )  # fmt: skip
    nodes["decode"] = node("VAEDecode", samples=["sample", 0], vae=["model", 2])
    nodes["picture"] = node("SaveImage", images=["decode", 0], filename_prefix="picture")
    nodes["latent"] = node("SaveLatent", samples=["sample", 0], filename_prefix="latent")
    return nodes
