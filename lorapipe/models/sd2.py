"""Stable Diffusion 2.x: OpenCLIP's text encoder, and v-prediction at 768 px."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe.models import Activations, Checkpoint
from lorapipe.models._folder_detection import text_width
from lorapipe.models._model_detection import SD2_TEXT, SD2_WIDTH, context_width, text_layout
from lorapipe.models._stable_diffusion import SCHEDULE, VAE, StableDiffusion
from lorapipe.models._unet import LatentDiffusion
from lorapipe.models._weight_files import TextPart

if TYPE_CHECKING:
    from lorapipe.models._weight_files import SingleFile

SD1_WIDTH = 768
CONFIGURATION: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "use_linear_projection": True,
    },
    "vae": VAE,
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,  # of OpenCLIP's 24: the last is not used
        "num_attention_heads": 16,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
    },
    "scheduler": SCHEDULE,
}
"""The published configuration of SD2.x (Stability AI 2022)."""
TELLING = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
SPREAD = 0.09
"""The standard deviation of this bias above which a single file predicts v. Files do not record it; ComfyUI uses the same
test (`supported_models.py`)."""


class SD2Model(LatentDiffusion):
    """SD2, which differs from SD1.x in the text encoder's layout in a single file and in its padding."""

    texts: ClassVar[tuple[TextPart, ...]] = (TextPart(prefix="cond_stage_model.model.", open_clip=True, pad=0),)


@dataclass(frozen=True)
class SD2(StableDiffusion):
    """Stable Diffusion 2.x: U-Net of 866 M parameters, OpenCLIP ViT-H text encoder; 768 px with v-prediction, or 512."""

    search_words: ClassVar[tuple[str, ...]] = ("checkpoint", "base model", "stable diffusion 2")
    reads_other_layers: ClassVar[bool] = False
    known: ClassVar[Mapping[str, Mapping[str, Any]]] = CONFIGURATION
    model: ClassVar[type[LatentDiffusion]] = SD2Model
    kind: ClassVar[str] = "an SD2 checkpoint"
    activations: ClassVar[Activations] = Activations(kept=3540, recomputed=588)

    @classmethod
    def recognises(cls, keys: Mapping[str, tuple[int, ...]]) -> bool:
        return text_layout(keys) == SD2_TEXT or context_width(keys) == SD2_WIDTH

    @classmethod
    def recognises_folder(cls, parts: Mapping[str, Mapping[str, Any]]) -> bool:
        """Decide by the U-Net's text width; for unknown widths, by its Linear projections."""
        if (found := text_width(parts)) is None:
            return False
        width, is_linear = found
        return width == SD2_WIDTH or (width != SD1_WIDTH and is_linear)

    def base_model_version(self, prediction: str) -> str:
        return "sd_v2_v" if prediction == "v_prediction" else "sd_v2"

    def architecture(self, prediction: str) -> str:
        return "stable-diffusion-v2-768-v" if prediction == "v_prediction" else "stable-diffusion-v2-512"

    def said_by(self, source: SingleFile) -> dict[str, Any]:
        bias = source.tensor(TELLING)
        wide = bias is not None and float(bias.float().std(unbiased=False)) > SPREAD
        return {"prediction_type": "v_prediction"} if wide else {}

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """Make SD1.x's tiny model with Linear projections and v-prediction."""
        from lorapipe.models._tiny import save_tiny

        save_tiny(folder, seed, unet={"use_linear_projection": True}, prediction="v_prediction")
        return cls(checkpoint=Checkpoint(folder))
