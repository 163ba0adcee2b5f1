"""Stable Diffusion XL and models derived from it: Pony, Illustrious, NoobAI, Animagine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe.models import Activations, Checkpoint
from lorapipe.models._folder_detection import has_unet_alone, is_refiner
from lorapipe.models._model_detection import SDXL_TEXT, SDXL_WIDTH, context_width, text_layout
from lorapipe.models._sdxl_model import SDXLModel
from lorapipe.models._stable_diffusion import CLIP_L, SCHEDULE, VAE, StableDiffusion
from lorapipe.models._unet import LatentDiffusion

if TYPE_CHECKING:
    from lorapipe.models._weight_files import SingleFile

ENDS = {"bos_token_id": 49406, "eos_token_id": 49407}
CONFIGURATION: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "sample_size": 128,
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "block_out_channels": [320, 640, 1280],
        "layers_per_block": 2,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "vae": {**VAE, "sample_size": 1024, "scaling_factor": 0.13025},
    "text_encoder": {**CLIP_L, **ENDS},
    "text_encoder_2": {
        "vocab_size": 49408,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
        "projection_dim": 1280,
        **ENDS,
    },
    "scheduler": SCHEDULE,
}
"""The published configuration of SDXL (Podell et al. 2023, arXiv:2307.01952)."""


@dataclass(frozen=True)
class SDXL(StableDiffusion):
    """Stable Diffusion XL: U-Net of 2.6 G parameters, CLIP ViT-L and OpenCLIP ViT-bigG text encoders, 1024 px."""

    search_words: ClassVar[tuple[str, ...]] = ("checkpoint", "base model", "stable diffusion xl", "pony", "illustrious")
    reads_other_layers: ClassVar[bool] = False
    known: ClassVar[Mapping[str, Mapping[str, Any]]] = CONFIGURATION
    model: ClassVar[type[LatentDiffusion]] = SDXLModel
    kind: ClassVar[str] = "an SDXL checkpoint"
    activations: ClassVar[Activations] = Activations(kept=6510, recomputed=548)

    @classmethod
    def recognises(cls, keys: Mapping[str, tuple[int, ...]]) -> bool:
        return text_layout(keys) == SDXL_TEXT or context_width(keys) == SDXL_WIDTH

    @classmethod
    def recognises_folder(cls, parts: Mapping[str, Mapping[str, Any]]) -> bool:
        """Recognise U-Nets with size conditioning, except the refiner's."""
        sizes = has_unet_alone(parts) and parts["unet"].get("addition_embed_type") == "text_time"
        return sizes and not is_refiner(parts)

    def base_model_version(self, prediction: str) -> str:
        return "sdxl_base_v1-0"

    def architecture(self, prediction: str) -> str:
        return "stable-diffusion-xl-v1-base"

    def said_by(self, source: SingleFile) -> dict[str, Any]:
        """Detect v-prediction by the empty tensors with which such models mark themselves."""
        if source.tensor("v_pred") is None:
            return {}
        return {"prediction_type": "v_prediction", "rescale_betas_zero_snr": source.tensor("ztsnr") is not None}

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """Make a model with two levels and two text encoders; pictures of 64 px."""
        from lorapipe.models._tiny import save_tiny_sdxl

        save_tiny_sdxl(folder, seed)
        return cls(checkpoint=Checkpoint(folder))
