"""Configurations of other trainers as people have them, and projects to import them into."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tiny
from PIL import Image

from lorapipe.config_import.translation import Imported, import_files
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.stages import Stage

BASH = r"""#!/usr/bin/env bash
# Settings of the training
network_module="networks.lora"
pretrained_model="./base"
train_dir="./train"
reg_dir="./reg"
output_dir="./out"
output_name="penny"
batch_size=2
learning_rate=1e-5
unet_lr=$(echo "0.0001 * $batch_size" | bc -l)
text_encoder_lr=5e-5
resolution=512
max_train_epochs=10
network_dim=128
network_alpha=64

accelerate launch --num_cpu_threads_per_process 8 train_network.py \
  --network_module="$network_module" --pretrained_model_name_or_path="$pretrained_model" \
  --train_data_dir="$train_dir" --reg_data_dir="$reg_dir" \
  --output_dir="$output_dir" --output_name="$output_name" \
  --caption_extension=".txt" --shuffle_caption --keep_tokens=1 --prior_loss_weight=1 \
  --resolution=$resolution --enable_bucket --min_bucket_reso=320 --max_bucket_reso=960 \
  --train_batch_size=$batch_size --learning_rate=$learning_rate --unet_lr=$unet_lr --text_encoder_lr=$text_encoder_lr \
  --max_train_epochs=$max_train_epochs --mixed_precision="fp16" --save_precision="fp16" --use_8bit_adam --xformers \
  --save_every_n_epochs=1 --save_model_as="safetensors" --clip_skip=2 --seed=420 --flip_aug \
  --network_dim=$network_dim --network_alpha=$network_alpha --max_token_length=225 --cache_latents \
  --lr_scheduler="cosine_with_restarts" --noise_offset=0.0 --training_comment="mine"
"""
"""The first of the guide's two scripts (§11), in bash."""
POWERSHELL = r"""# Settings of the training
$pretrained_model = ".\base"
$train_dir = ".\train"
$reg_dir = ".\reg"
$output_dir = ".\out"
$batch_size = 2
$unet_lr = 1e-4 * $batch_size
$text_encoder_lr = 5e-5
$ErrorActionPreference = "Stop"
.\venv\Scripts\activate

accelerate launch --num_cpu_threads_per_process 8 train_network.py `
  --network_module="networks.lora" --pretrained_model_name_or_path="$pretrained_model" `
  --train_data_dir="$train_dir" --reg_data_dir="$reg_dir" --output_dir="$output_dir" --output_name="penny" `
  --caption_extension=".txt" --shuffle_caption --keep_tokens=1 --prior_loss_weight=1 `
  --resolution=512 --enable_bucket --min_bucket_reso=320 --max_bucket_reso=768 `
  --train_batch_size=$batch_size --unet_lr=$unet_lr --text_encoder_lr=$text_encoder_lr `
  --max_train_epochs=10 --mixed_precision="fp16" --save_precision="fp16" --optimizer_type="AdamW" --xformers `
  --save_every_n_epochs=2 --save_model_as="safetensors" --clip_skip=2 --seed=420 `
  --flip_aug --color_aug --face_crop_aug_range="2.0,4.0" `
  --network_dim=160 --network_alpha=128 --max_token_length=150 --cache_latents `
  --lr_scheduler="cosine_with_restarts" --noise_offset=0.0 --training_comment="mine"
"""
"""The second of them, in PowerShell: its augmentation cannot work together with its buckets and cached latents."""


def project(folder: Path) -> Path:
    """A tiny base, and two folders of pictures by kohya's convention."""
    SD15.tiny(folder / "base")
    for name, words in (("train/2_penny", "penny, hat"), ("reg/1_woman", "")):
        below = folder / name
        below.parent.mkdir(exist_ok=True)
        tiny.draw(below)
        for caption in below.glob("*.txt"):
            caption.write_text(f"{words}, {caption.stem}", encoding="utf-8")
    return folder


def pictures(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Path:
    """A folder with pictures of these sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        Image.new("RGB", size, "white").save(folder / f"{name}.png")
    return folder


def imported(text: str, folder: Path, name: str = "train.sh") -> Imported:
    """Write a configuration into a folder and import it for a pipeline there."""
    (folder / name).write_text(text, encoding="utf-8")
    return import_files([folder / name], folder)


def loaded(found: Imported, folder: Path) -> Pipeline:
    """Load an imported pipeline, as `lorapipe check` does."""
    (folder / "pipeline.yaml").write_text(found.pipeline, encoding="utf-8")
    return loader.load(folder / "pipeline.yaml")


def stage_of(found: Imported, folder: Path, name: str = "lora") -> Any:
    """A stage of an imported pipeline."""
    stage: Stage = loaded(found, folder).stages[name]
    return stage


def outcomes(found: Imported) -> dict[str, str]:
    """What became of each key, by its name in the file: the kind of the last of that name."""
    return {entry.option.written: entry.outcome.kind for entry in found.report.entries}


def command(*options: str, script: str = "train_network.py") -> str:
    """A bash script with one command line, for the project's base and pictures unless the options name others."""
    usual = {"--pretrained_model_name_or_path": "./base", "--train_data_dir": "./train", "--network_module": "networks.lora",
             "--resolution": "64", "--caption_extension": ".txt", "--output_dir": "./out"}  # fmt: skip
    given = [f"{name}={value}" for name, value in usual.items() if not any(each.startswith(name) for each in options)]
    return f"accelerate launch {script} {' '.join([*given, *options])}\n"


def with_metadata(path: Path, metadata: Mapping[str, str], keys: tuple[str, ...] = ("lora_unet_a.alpha",)) -> Path:
    """A safetensors file with this metadata and small tensors."""
    tensors = {key: {"dtype": "F32", "shape": [1], "data_offsets": [4 * place, 4 * place + 4]}
               for place, key in enumerate(keys)}  # fmt: skip
    header = json.dumps({"__metadata__": dict(metadata), **tensors}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4 * len(keys))
    return path


def loaded_text(text: str, folder: Path) -> Pipeline:
    """Load a pipeline's text."""
    (folder / "again.yaml").write_text(text, encoding="utf-8")
    return loader.load(folder / "again.yaml")
