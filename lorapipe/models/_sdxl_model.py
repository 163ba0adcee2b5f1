"""SDXL in memory: two text encoders side by side, and what the network is told of a picture's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.models import Condition, Pair
from lorapipe.models._clip_text import penultimate
from lorapipe.models._latent_diffusion import LatentDiffusion
from lorapipe.models._weight_files import TextPart

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

FIRST = TextPart(prefix="conditioner.embedders.0.transformer.")
SECOND = TextPart(
    "text_encoder_2", "tokenizer_2", "conditioner.embedders.1.model.", open_clip=True, projected=True, pad=0
)


class SDXLModel(LatentDiffusion):
    """Its condition: `hidden` of both text encoders, `pooled` of the second, and `framing` (B, 6).

    The framing is (height, width) of the picture as it was, (top, left) of the cut, (height, width) of what is trained
    on (Podell et al. 2023, arXiv:2307.01952, §2.2); where it is not given, the picture is taken to be uncut.
    """

    texts: ClassVar[tuple[TextPart, ...]] = (FIRST, SECOND)
    trainable = ("unet", "text_encoder", "text_encoder_2")

    def encode_text(
        self, captions: Sequence[str], *, max_tokens: int = 75, clip_skip: int = 1, weighted: bool = False
    ) -> Condition:
        """See `Model.encode_text`; the last layer but one is always read, so `clip_skip` must be 1."""
        import torch

        if clip_skip != 1:
            raise ValueError("SDXL reads the last layer but one; there is no clip skip")
        states = []
        for text in self.texts:
            hidden, pooled = penultimate(self.part(text.name), self.ids(text, captions, max_tokens, weighted))
            states.append(self.emphasised(hidden, text, captions, max_tokens) if weighted else hidden)
        assert pooled is not None, "the second text encoder has a projection"
        return {"hidden": torch.cat(states, dim=-1), "pooled": pooled}

    def framing(self, original: Pair, crop: Pair, size: Pair) -> Condition:
        """See `Model.framing`."""
        import torch

        (width, height), (left, top), (w, h) = original, crop, size
        return {"framing": torch.tensor([[height, width, top, left, h, w]], dtype=torch.float32)}

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Condition) -> torch.Tensor:
        """See `Model.predict`."""
        unet: Any = self.part("unet")
        framing = condition.get("framing")
        if framing is None:
            factor = 2 ** (len(self.source.config("vae")["block_out_channels"]) - 1)
            size = (noisy.shape[3] * factor, noisy.shape[2] * factor)
            framing = self.framing(size, (0, 0), size)["framing"].expand(len(noisy), -1)
        hidden, pooled, time_ids = (
            tensor.to(self.device, self.dtype) for tensor in (condition["hidden"], condition["pooled"], framing)
        )
        added = {"text_embeds": pooled, "time_ids": time_ids}
        noisy = noisy.to(self.dtype)
        output = unet(noisy, timesteps, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=False)
        return output[0].float()

    def pipeline(self) -> DiffusionPipeline:
        """See `Model.pipeline`."""
        from diffusers import StableDiffusionXLPipeline

        pipeline = StableDiffusionXLPipeline(
            vae=self.part("vae"),
            text_encoder=self.part(FIRST.name),
            text_encoder_2=self.part(SECOND.name),
            tokenizer=self.tokenizer(FIRST),
            tokenizer_2=self.tokenizer(SECOND),
            unet=self.part("unet"),
            scheduler=self._scheduler(),
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    # ---------------------------------------------------------------------------------------------------- for adapters

    def kohya_name(self, part: str, path: str) -> str:
        """See `Model.kohya_name`: the U-Net's modules go by their names in the original code."""
        if part != "unet":
            return super().kohya_name(part, path)
        return f"lora_unet_{self.ldm_path(path).replace('.', '_')}"

    def other_names(self, part: str, path: str) -> tuple[str, ...]:
        """See `Model.other_names`: diffusers' names, as OneTrainer and diffusers' own scripts write them."""
        return (super().kohya_name(part, path),) if part == "unet" else ()

    @property
    def blocks(self) -> int:
        """See `Model.blocks`: the embeddings, those that go down, three in the middle, those that go up, the output."""
        return 1 + self._down + 3 + self._down + 1

    def block(self, path: str) -> int:
        """See `Model.block`."""
        half, place = self.ldm_path(path).split(".")[:2]
        first = {"input_blocks": 1, "middle_block": 1 + self._down, "output_blocks": 4 + self._down}[half]
        return first + int(place)

    def text_prefix(self, part: str) -> str:
        """See `LatentDiffusion.text_prefix`."""
        return {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
