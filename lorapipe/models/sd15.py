"""Stable Diffusion 1.x, and the pocket base, which has its architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from lorapipe.models import Activations, Checkpoint
from lorapipe.models._folder_detection import text_width
from lorapipe.models._model_detection import REFINER_WIDTH, SD2_WIDTH, SDXL_WIDTH, context_width, has_unet, text_layout
from lorapipe.models._stable_diffusion import CLIP_L, SCHEDULE, VAE, StableDiffusion
from lorapipe.models._unet import LatentDiffusion

WIDTH = 768
"""Width of the text embeddings that the U-Net takes."""
CONFIGURATION: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "sample_size": 64,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
    },
    "vae": VAE,
    "text_encoder": CLIP_L,
    "scheduler": SCHEDULE,
}
"""The published configuration of SD1.x (Rombach et al. 2022)."""


class SD15Model(LatentDiffusion):
    """SD1.x, half of whose work are convolutions."""

    channels_last = ("unet",)


@dataclass(frozen=True)
class SD15(StableDiffusion):
    """Stable Diffusion 1.x: U-Net of 860 M parameters, CLIP ViT-L text encoder, 512 px."""

    search_words: ClassVar[tuple[str, ...]] = ("checkpoint", "base model", "stable diffusion 1.5")
    model: ClassVar[type[LatentDiffusion]] = SD15Model
    known: ClassVar[Mapping[str, Mapping[str, Any]]] = CONFIGURATION
    kind: ClassVar[str] = "an SD1.x checkpoint"
    activations: ClassVar[Activations] = Activations(kept=3540, recomputed=588)

    @classmethod
    def recognises(cls, keys: Mapping[str, tuple[int, ...]]) -> bool:
        return (
            has_unet(keys)
            and not text_layout(keys)
            and context_width(keys) not in (SD2_WIDTH, SDXL_WIDTH, REFINER_WIDTH)
        )

    @classmethod
    def recognises_folder(cls, parts: Mapping[str, Mapping[str, Any]]) -> bool:
        """Recognise U-Nets with neither SDXL's size conditioning nor SD2's text width."""
        if (found := text_width(parts)) is None:
            return False
        width, is_linear = found
        return width == WIDTH or (width != SD2_WIDTH and not is_linear)

    def base_model_version(self, prediction: str) -> str:
        return "sd_v1"

    def architecture(self, prediction: str) -> str:
        return "stable-diffusion-v1"

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """Make a model with two levels, 32 channels and the pocket base's tokenizer; pictures of 64 px."""
        from lorapipe.models._tiny import save_tiny

        save_tiny(folder, seed)
        return cls(checkpoint=Checkpoint(folder))
