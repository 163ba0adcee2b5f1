"""Stable Diffusion 1.x, and the pocket base, which has its architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe.errors import InputError
from lorapipe.spec import Source, param
from lorapipe.training.families import Checkpoint, Family

if TYPE_CHECKING:
    from lorapipe.training.families import Model
    from lorapipe.training.families._checkpoint import Folder, SingleFile

CONFIGURATION: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "sample_size": 64,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
    },
    "vae": {
        "sample_size": 512,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    },
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        "prediction_type": "epsilon",
    },
}
"""SD1.x by its published numbers (Rombach et al. 2022), for single files, which carry none."""


@dataclass(frozen=True)
class SD15(Family):
    """Stable Diffusion 1.x: U-Net of 860 M parameters, CLIP ViT-L text encoder, 512 px."""

    vae: Source | None = param(
        None, "another VAE to encode and decode with, as a .safetensors file in diffusers layout"
    )
    config: Source | None = param(
        None,
        "a diffusers folder whose configuration and tokenizer describe a single-file checkpoint; usually not needed",
    )

    base_model_version: ClassVar[str] = "sd_v1"
    architecture: ClassVar[str] = "stable-diffusion-v1"

    def native_size(self) -> int:
        """See `Family.native_size`."""
        return self._part("unet")["sample_size"] * self._vae_factor()

    def size_step(self) -> int:
        """See `Family.size_step`: each level of the VAE and of the U-Net but the last halves the picture."""
        return self._vae_factor() * 2 ** (len(self._part("unet")["block_out_channels"]) - 1)

    def load(self, device: str, dtype: str = "fp32") -> Model:
        """See `Family.load`."""
        from lorapipe.training.families._latent_diffusion import LatentDiffusion

        return LatentDiffusion(self._source(), device, dtype, self.vae.path if self.vae else None)

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """See `Family.tiny`: two levels, 32 channels, the pocket base's tokenizer; pictures of 64 px."""
        from lorapipe.training.families._tiny import save_tiny_sd15

        save_tiny_sd15(folder, seed)
        return cls(checkpoint=Checkpoint(folder))

    def _vae_factor(self) -> int:
        return 2 ** (len(self._part("vae")["block_out_channels"]) - 1)

    def _part(self, part: str) -> Mapping[str, Any]:
        """A part's configuration, without importing anything heavy (plans read it)."""
        described = self.config.path if self.config else self.checkpoint.path
        if not described.is_dir():
            return CONFIGURATION[part]
        try:
            config: Mapping[str, Any] = json.loads((described / part / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            cure = "Give the folder that holds model_index.json, or a .safetensors file."
            raise InputError(f"is no diffusers folder: {error}", where=str(described), cure=cure) from error
        return config

    def _source(self) -> Folder | SingleFile:
        from lorapipe.training.families._checkpoint import Folder, SingleFile, identify

        path = self.checkpoint.path
        if path.is_dir():
            self._part("unet")
            return Folder(path)
        kind = identify(path)
        if kind != "an SD1.x checkpoint":
            cure = "Family sd15 takes an SD1.x checkpoint with U-Net, VAE and text encoder."
            raise InputError(f"is {kind}.", where=str(path), cure=cure)
        return SingleFile(path, CONFIGURATION, Folder(self.config.path) if self.config else None)
