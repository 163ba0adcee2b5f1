"""Writes the bundled folders from trained parts: `base/`, a Stable Diffusion pipeline, and `clip/`; both in fp16."""

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPModel

from tools.pocket.clip import new_image_processor
from tools.pocket.tokenizer import write_tokenizer
from tools.pocket.unet import Denoiser, new_scheduler


def publish_base(folder: Path, vae: AutoencoderKL, denoiser: Denoiser) -> None:
    """Replace `folder` with a diffusers folder of these parts."""
    with replacing(folder) as fresh:
        tokenizer = write_tokenizer(fresh / "tokenizer")
        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(vae).cpu(),
            text_encoder=copy.deepcopy(denoiser.text).cpu(),
            tokenizer=tokenizer,
            unet=copy.deepcopy(denoiser.unet).cpu(),
            scheduler=new_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        halved(pipeline).save_pretrained(fresh)
        (fresh / "tokenizer" / "tokenizer.json").unlink()  # repeats vocab.json and merges.txt
        prefix_text_model(fresh / "text_encoder" / "model.safetensors")
        _tidy(fresh)


def publish_clip(folder: Path, model: CLIPModel) -> None:
    """Replace `folder` with a transformers CLIP folder."""
    with replacing(folder) as fresh:
        copy.deepcopy(model).cpu().to(torch.float16).save_pretrained(fresh)
        new_image_processor().save_pretrained(fresh)
        write_tokenizer(fresh)
        _tidy(fresh)


def halved(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """Convert the pipeline to fp16, with contiguous tensors as safetensors requires."""
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        part.to(dtype=torch.float16, memory_format=torch.contiguous_format)
    return pipeline


def prefix_text_model(file: Path) -> None:
    """Add the prefix `text_model.` of every published Stable Diffusion to the text encoder's keys.

    transformers 5 writes CLIPTextModel without it and reads either; transformers 4 and single-file converters read only
    the published names.
    """
    tensors: dict[str, Tensor] = load_file(file)
    named = {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in tensors.items()}
    save_file(named, file, metadata={"format": "pt"})


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` when it is complete; until then the old one stays."""
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Set fp32 in transformers' configurations, which diffusers assumes; otherwise a plain load mixes fp16 and fp32."""
    for file in folder.rglob("config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        if config.pop("dtype", None):
            config["torch_dtype"] = "float32"
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
