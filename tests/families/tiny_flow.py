"""A flow-matching transformer as small as one can be: Stable Diffusion 3 in shape, and different from a U-Net in all of it.

The denoiser is called `transformer`; latents have 16 channels and a shift; captions are read by a CLIP text encoder, which
can be trained, and by a T5, which cannot; the network predicts a velocity (Esser et al. 2024, arXiv:2403.03206).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe import pocket
from lorapipe.errors import Problem
from lorapipe.models import (
    Checkpoint,
    Condition,
    Family,
    Footprint,
    Group,
    ModuleRef,
    Pair,
    Shape,
    TextReading,
)
from lorapipe.models._clip_text import penultimate, token_ids, tokenize
from lorapipe.models._parts import Parts, PartsModel, folder_footprint, halvings
from lorapipe.models._weight_files import Folder, Tensors, TextPart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion

SHIFT = 3.0
"""Of SD3's schedule."""


class TinyFlowModel(PartsModel):
    """Its condition: `hidden`, the CLIP's states and then the T5's, and `pooled` of the CLIP."""

    denoiser = "transformer"
    denoiser_title = "transformer"
    text_encoders = ("text_encoder", "t5")
    trainable = ("transformer", "text_encoder")
    texts: ClassVar[tuple[TextPart, ...]] = (TextPart(projected=True),)

    def build(self, name: str, config: Mapping[str, Any]) -> torch.nn.Module:
        from diffusers import SD3Transformer2DModel
        from transformers import T5Config, T5EncoderModel

        return T5EncoderModel(T5Config(**config)) if name == "t5" else SD3Transformer2DModel.from_config(config)

    def tensors(self, name: str) -> Tensors:
        tensors = super().tensors(name)
        if name == "t5":  # one tensor under two names, of which files hold the first
            tensors = {"encoder.embed_tokens.weight": tensors["shared.weight"], **tensors}
        return tensors

    def forward_process(self) -> Diffusion:
        from lorapipe.training.diffusion import Flow

        return Flow(shift=SHIFT)

    # ------------------------------------------------------------------------------------------------------- captions

    @property
    def tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        if "clip" not in self._tokenizers:
            folder = self.source.tokenizer("tokenizer")
            self._tokenizers["clip"] = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return self._tokenizers["clip"]

    def token_count(self, text: str) -> int:
        return len(token_ids(self.tokenizer, text, self.word_vectors("text_encoder")))

    def token_rows(self, part: str, text: str) -> Tensor:
        import torch

        return self.token_table(part)[torch.tensor(token_ids(self.tokenizer, text), dtype=torch.long)]

    def tokenize(self, captions: Sequence[str], reading: TextReading) -> Condition:
        words = self.word_vectors("text_encoder")
        ids = tokenize(self.tokenizer, captions, reading.max_tokens, words=words)
        return {"ids": ids, "t5": tokenize(self.tokenizer, captions, reading.max_tokens)}  # T5 has no words of ours

    def encode_tokens(self, tokens: Condition, reading: TextReading) -> Condition:
        import torch

        clip, pooled = penultimate(self.part("text_encoder"), tokens["ids"], self.word_vectors("text_encoder"))
        assert pooled is not None
        with torch.no_grad():
            t5 = self.part("t5")(tokens["t5"].flatten(1).to(self.device)).last_hidden_state
        return {"hidden": torch.cat([clip, t5], dim=1), "pooled": pooled}

    # ----------------------------------------------------------------------------------------------------- prediction

    def predict(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        transformer: Any = self.part("transformer")
        hidden, pooled = (condition[name].to(self.device, self.dtype) for name in ("hidden", "pooled"))
        output = transformer(
            noisy.to(self.dtype), hidden, pooled_projections=pooled, timestep=t.to(self.device), return_dict=False
        )
        return output[0].float()

    # ---------------------------------------------------------------------------------------------------- for adapters

    @classmethod
    def module_refs(cls, part: str, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> list[ModuleRef]:
        in_transformer = r"transformer_blocks\.(\d+)\.(attn|ff)\."
        in_text_encoder = r"encoder\.layers\.\d+\.()(self_attn|mlp)\."
        found = []
        for path, shape in layers.items():
            place = re.search(in_transformer if part == cls.denoiser else in_text_encoder, path)
            if place and len(shape) == 2:
                group: Group = "attention" if "attn" in place[2] else "feed_forward"
                found.append(ModuleRef.of(path, shape, group, int(place[1]) if place[1] else None))
        return found

    @classmethod
    def block_count(cls, config: Mapping[str, Any]) -> int:
        layers: int = config["num_layers"]
        return layers

    def kohya_name(self, part: str, path: str) -> str:
        return f"{'lora_unet' if part == self.denoiser else 'lora_te1'}_{path.replace('.', '_')}"


@dataclass(frozen=True)
class TinyFlow(Family):
    """A flow-matching transformer of some hundred thousand numbers; pictures of 64 pixels."""

    kind = "a tiny flow-matching checkpoint"
    denoiser = TinyFlowModel.denoiser
    lora_module = "networks.lora_tiny_flow"
    text_encoders = TinyFlowModel.text_encoders
    trainable = TinyFlowModel.trainable

    @classmethod
    def recognises_folder(cls, parts: Mapping[str, Mapping[str, Any]]) -> bool:
        return parts.get("transformer", {}).get("_class_name") == "SD3Transformer2DModel" and "t5" in parts

    def base_model_version(self, prediction: str) -> str:
        return "tiny_flow"

    def architecture(self, prediction: str) -> str:
        return "tiny-flow"

    def native_size(self) -> int:
        return 64

    def size_step(self) -> int:
        return 2 * halvings(TINY_VAE)  # the transformer reads patches of 2 latents

    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        factor = halvings(TINY_VAE)
        return TINY_VAE["latent_channels"], size[1] // factor, size[0] // factor

    def objections(self, reading: TextReading) -> Iterator[Problem]:
        if reading.clip_skip != 1:
            yield Problem("tiny_flow has no clip skip.", cure="Take it away.", path=("clip_skip",))
        if reading.weighted:
            yield Problem("tiny_flow reads no weights.", cure="Write false.", path=("captions", "weighted"))

    def footprint(self) -> Footprint | None:
        return None if self.is_pending else folder_footprint(TinyFlowModel, self.checkpoint.path)

    def load(self, device: str, dtype: str = "fp32") -> TinyFlowModel:
        return TinyFlowModel(Parts(Folder(self.checkpoint.path)), device, dtype)

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        import torch
        from diffusers import AutoencoderKL, SD3Transformer2DModel
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel

        tokenizer = CLIPTokenizer.from_pretrained(pocket.BASE / "tokenizer", local_files_only=True)
        words = {"vocab_size": len(tokenizer)}
        ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = {
                "transformer": SD3Transformer2DModel(**TINY_TRANSFORMER),
                "vae": AutoencoderKL(**TINY_VAE),
                "text_encoder": CLIPTextModelWithProjection(CLIPTextConfig(**TINY_CLIP, **words, **ends)),
                "t5": T5EncoderModel(T5Config(**TINY_T5, **words)),
            }
        for name, part in parts.items():
            part.save_pretrained(folder / name)
        shutil.copytree(pocket.BASE / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
        return cls(checkpoint=Checkpoint(folder))


TINY_TRANSFORMER = {
    "sample_size": 16, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 3, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": 32, "caption_projection_dim": 32, "pooled_projection_dim": 24,
    "pos_embed_max_size": 32,
}  # fmt: skip
TINY_VAE: dict[str, Any] = {
    "block_out_channels": (8, 16, 16), "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3, "norm_num_groups": 8, "latent_channels": 16, "sample_size": 64,
    "scaling_factor": 1.5305, "shift_factor": 0.0609, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip
TINY_CLIP = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 77, "projection_dim": 24,
}  # fmt: skip
TINY_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
