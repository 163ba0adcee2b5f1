"""The SDXL model: two text encoders, and size conditioning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.models import Condition, Pair, TextReading
from lorapipe.models._clip_text import penultimate
from lorapipe.models._parts import halvings
from lorapipe.models._unet import LatentDiffusion, down_blocks, original_path
from lorapipe.models._weight_files import TextPart

if TYPE_CHECKING:
    from torch import Tensor

FIRST = TextPart(prefix="conditioner.embedders.0.transformer.")
SECOND = TextPart(
    "text_encoder_2", "tokenizer_2", "conditioner.embedders.1.model.", open_clip=True, projected=True, pad=0
)


class SDXLModel(LatentDiffusion):
    """SDXL. Its condition is `hidden` of both text encoders, `pooled` of the second, and `time_ids` (B, 6).

    The time ids are the original (height, width), the crop's (top, left), and the (height, width) in training (Podell et al.
    2023, arXiv:2307.01952, §2.2). Without them, the picture counts as uncropped.
    """

    texts: ClassVar[tuple[TextPart, ...]] = (FIRST, SECOND)
    text_encoders = ("text_encoder", "text_encoder_2")
    trainable = ("unet", *text_encoders)

    def encode_tokens(self, tokens: Condition, reading: TextReading) -> Condition:
        """Encode tokens; `clip_skip` must be 1, since SDXL always uses the last layer but one."""
        import torch

        if reading.clip_skip != 1:
            raise ValueError("SDXL always uses the last layer but one; it has no clip skip")
        states = []
        for text in self.texts:
            hidden, pooled = penultimate(self.part(text.name), *self.ids_and_words(text, tokens))
            states.append(self.emphasised(hidden, text, tokens))
        assert pooled is not None, "the second text encoder has a projection"
        return {"hidden": torch.cat(states, dim=-1), "pooled": pooled}

    def size_conditioning(self, original: Pair, crop: Pair, size: Pair) -> Condition:
        import torch

        (width, height), (left, top), (w, h) = original, crop, size
        return {"time_ids": torch.tensor([[height, width, top, left, h, w]], dtype=torch.float32)}

    def predict(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        unet: Any = self.part("unet")
        time_ids = condition.get("time_ids")
        if time_ids is None:
            factor = halvings(self.source.config("vae"))
            size = (noisy.shape[3] * factor, noisy.shape[2] * factor)
            time_ids = self.size_conditioning(size, (0, 0), size)["time_ids"].expand(len(noisy), -1)
        hidden, pooled, time_ids = (
            tensor.to(self.device, self.dtype) for tensor in (condition["hidden"], condition["pooled"], time_ids)
        )
        added = {"text_embeds": pooled, "time_ids": time_ids}
        noisy = noisy.to(self.dtype)
        output = unet(noisy, t, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=False)
        return output[0].float()

    # ---------------------------------------------------------------------------------------------------- a checkpoint

    pipeline: ClassVar[str] = "StableDiffusionXLPipeline"

    def checkpoint_marks(self) -> tuple[str, ...]:
        """Return the keys of v-prediction and zero terminal SNR, which ComfyUI and Forge look for."""
        if self.diffusion.prediction != "v_prediction":
            return ()
        return ("v_pred", *(["ztsnr"] if self.diffusion.zero_terminal_snr else []))

    # ---------------------------------------------------------------------------------------------------- for adapters

    def kohya_name(self, part: str, path: str) -> str:
        """Return kohya's name; modules of the U-Net have the names of the original code."""
        if part != "unet":
            return super().kohya_name(part, path)
        original = original_path(path, self.source.config("unet"))
        return f"lora_unet_{original.replace('.', '_')}"

    def other_names(self, part: str, path: str) -> tuple[str, ...]:
        """Return diffusers' names, which OneTrainer and diffusers' scripts write."""
        return (super().kohya_name(part, path),) if part == "unet" else ()

    @classmethod
    def block_count(cls, config: Mapping[str, Any]) -> int:
        """Count embeddings, down blocks, three middle blocks, up blocks, and output."""
        return 1 + down_blocks(config) + 3 + down_blocks(config) + 1

    @classmethod
    def block_of(cls, path: str, config: Mapping[str, Any]) -> int:
        half, place = original_path(path, config).split(".")[:2]
        down = down_blocks(config)
        return {"input_blocks": 1, "middle_block": 1 + down, "output_blocks": 4 + down}[half] + int(place)

    def text_prefix(self, part: str) -> str:
        return {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
