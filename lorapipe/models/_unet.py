"""Latent diffusion with a U-Net and CLIP text encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lorapipe.models import Condition, FeatureLayers, Group, ModuleRef, Saving, Shape, TextReading
from lorapipe.models._clip_text import CHUNK, emphasis, hidden_states, token_ids, tokenize, weighed
from lorapipe.models._ldm_names import OUTSIDE, ldm_path
from lorapipe.models._parts import PartsModel
from lorapipe.models._weight_files import TextPart
from lorapipe.models._word_vectors import NO_WORDS, WordVectors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RECOMPUTED = r".*?\b(resnets|transformer_blocks)\.\d+(?=\.)"
"""The modules that diffusers passes to its checkpoint function, in paths of the layers in them."""
UP_BLOCKS = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
"""The up blocks of SD1.x, diffusers' default."""
TRANSFORMER = r"\battentions\.\d+\.(proj_in|proj_out|transformer_blocks)\b"
CONVOLUTION = r"\b(resnets|downsamplers|upsamplers)\.\d+\."
TEXT = r"\blayers\.\d+\.(self_attn|mlp)\."
"""Paths in diffusers' Transformer2DModel, in its ResnetBlock2D, Downsample2D and Upsample2D, and in transformers'
CLIPAttention and CLIPMLP, where kohya's LierLa, and additionally C3Lier, target Linear and Conv2d."""


class LatentDiffusion(PartsModel):
    """A U-Net, a VAE and one CLIP text encoder."""

    denoiser = "unet"
    denoiser_title = "U-Net"
    text_encoders: tuple[str, ...] = ("text_encoder",)
    trainable: tuple[str, ...] = ("unet", "text_encoder")
    tokens = CHUNK

    def build(self, name: str, config: Mapping[str, Any]) -> torch.nn.Module:
        from diffusers import UNet2DConditionModel

        return UNet2DConditionModel.from_config(config)

    # ------------------------------------------------------------------------------------------------------- captions

    def tokenizer(self, text: TextPart) -> Any:
        """Return the tokenizer of a text encoder."""
        from transformers import CLIPTokenizer

        if text.name not in self._tokenizers:
            folder = self.source.tokenizer(text.tokenizer)
            self._tokenizers[text.name] = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return self._tokenizers[text.name]

    def token_count(self, text: str) -> int:
        return len(token_ids(self.tokenizer(self.texts[0]), text, self.word_vectors(self.texts[0].name)))

    def ids(self, text: TextPart, captions: Sequence[str], reading: TextReading) -> Tensor:
        """Return token ids (B, n, 77) of captions. If the base has a tokenizer, that defines the padding."""
        pad = None if self.source.has_tokenizer(text.tokenizer) else text.pad
        words = self.word_vectors(text.name)
        return tokenize(self.tokenizer(text), captions, reading.max_tokens, pad, reading.weighted, words)

    def tokenize(self, captions: Sequence[str], reading: TextReading) -> Condition:
        """Return the token ids (B, n, 77) of each text encoder, and the weights of positions if `reading` is weighted.

        Ids are named otherwise where words beside the vocabulary are among them.
        """
        found = {}
        for text in self.texts:
            words, ids = self.word_vectors(text.name), self.ids(text, captions, reading)
            found[_ids(text, bool((ids < 0).any()))] = ids
            if reading.weighted:
                found[_weights(text)] = emphasis(self.tokenizer(text), captions, reading.max_tokens, words)
        return found

    def encode_tokens(self, tokens: Condition, reading: TextReading) -> Condition:
        (text,) = self.texts
        hidden = hidden_states(self.part(text.name), *self.ids_and_words(text, tokens), reading.clip_skip)
        return {"hidden": self.emphasised(hidden, text, tokens)}

    def ids_and_words(self, text: TextPart, tokens: Condition) -> tuple[Tensor, WordVectors]:
        """Return a text encoder's ids, and the words that are among them."""
        plain = tokens.get(_ids(text, False))
        return (tokens[_ids(text, True)], self.word_vectors(text.name)) if plain is None else (plain, NO_WORDS)

    def emphasised(self, hidden: Tensor, text: TextPart, tokens: Condition) -> Tensor:
        """Apply the weights in captions to their hidden states, if they were read."""
        weights = tokens.get(_weights(text))
        return hidden if weights is None else weighed(hidden, weights)

    def token_rows(self, part: str, text: str) -> Tensor:
        import torch

        [found] = [each for each in self.texts if each.name == part]
        return self.token_table(part)[torch.tensor(token_ids(self.tokenizer(found), text), dtype=torch.long)]

    # ----------------------------------------------------------------------------------------------------- prediction

    def predict(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Run the network in the model's dtype."""
        unet: Any = self.part("unet")
        hidden = condition["hidden"].to(self.device, self.dtype)
        return unet(noisy.to(self.dtype), t, encoder_hidden_states=hidden, return_dict=False)[0].float()

    @property
    def feature_layers(self) -> FeatureLayers:
        """Return DIFT's up block, whose maps have half the latents' sides (SD1.x: `up_ft_index` 1), the block after it,
        whose maps have the latents' sides, and the first resnet."""
        levels = len(self.source.config("unet")["block_out_channels"])
        semantic, fine = (f"up_blocks.{max(0, levels - before)}" for before in (3, 2))
        return FeatureLayers(semantic, fine, "down_blocks.0.resnets.0")

    # ---------------------------------------------------------------------------------------------------- a checkpoint

    pipeline: ClassVar[str] = "StableDiffusionPipeline"
    """diffusers' class for the base, in the `model_index.json` of folders."""

    def save_checkpoint(self, path: Path, layout: Literal["single_file", "folder"], saving: Saving) -> None:
        from lorapipe.models._checkpoint_writer import CheckpointWriter

        writer = CheckpointWriter(self, saving)
        if layout == "folder":
            writer.folder(path)
        else:
            writer.single_file(path)

    def checkpoint_marks(self) -> tuple[str, ...]:
        """Return keys of empty tensors by which a single file declares its prediction type."""
        return ()

    # ---------------------------------------------------------------------------------------------------- for adapters

    @classmethod
    def module_refs(cls, part: str, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> list[ModuleRef]:
        """Return Linear and Conv2d of the transformer, resnet, down- and upsample blocks, or of a text encoder's layers."""
        matrices = {path: shape for path, shape in layers.items() if len(shape) > 1}
        if part != cls.denoiser:
            return [
                ModuleRef.of(path, shape, _group(path)) for path, shape in matrices.items() if re.search(TEXT, path)
            ]
        found = []
        for path, shape in matrices.items():
            if re.search(TRANSFORMER, path):
                block = cls.block_of(path, config)
                found.append(ModuleRef.of(path, shape, _group(path), block, _stride(path, config)))
            elif re.search(CONVOLUTION, path):
                found.append(ModuleRef.of(path, shape, "conv", cls.block_of(path, config)))
        return found

    @classmethod
    def outer_refs(cls, part: str, layers: Mapping[str, Shape]) -> list[ModuleRef]:
        """Return the layers outside of blocks (LyCORIS' `full`) and the norms (`train_norm`)."""
        found = []
        for path, shape in layers.items():
            if len(shape) == 1:
                found.append(ModuleRef.of(path, shape, "norm"))
            elif part == cls.denoiser and path in OUTSIDE:
                found.append(ModuleRef.of(path, shape, "embedding"))
        return found

    @classmethod
    def block_count(cls, config: Mapping[str, Any]) -> int:
        """Count down blocks, middle block and up blocks: 25 in SD1.x."""
        return 2 * down_blocks(config) + 1

    @classmethod
    def block_of(cls, path: str, config: Mapping[str, Any]) -> int:
        """Return the number of the block that contains a module of a U-Net with this configuration."""
        half, place = original_path(path, config).split(".")[:2]
        down = down_blocks(config)
        return {"input_blocks": int(place), "middle_block": down, "output_blocks": down + 1 + int(place)}[half]

    @classmethod
    def recomputed_blocks(cls, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> dict[str, float]:
        """Weigh each block by the values that go into its layers and come out, at every position of its level.

        In full-size models (`benchmarks/memory.py`) transformers save a twentieth more, and resnets, which come last, less.
        """
        sizes: dict[str, float] = {}
        for path, shape in layers.items():
            block = re.match(RECOMPUTED, path)
            if block and len(shape) > 1 and not path.endswith(".time_emb_proj") and (stride := _stride(path, config)):
                sizes[block[0]] = sizes.get(block[0], 0.0) + (shape[0] + shape[1]) / stride**2
        whole = sum(sizes.values())
        return {path: size / whole for path, size in sorted(sizes.items(), key=lambda each: -each[1])}

    def block(self, path: str) -> int:
        """Return the number of the block that contains a module of the U-Net."""
        return self.block_of(path, self.source.config("unet"))

    def kohya_name(self, part: str, path: str) -> str:
        if part == self.denoiser:
            return f"lora_unet_{path.replace('.', '_')}"
        return f"{self.text_prefix(part)}_text_model_{path.removeprefix('text_model.').replace('.', '_')}"

    def text_prefix(self, part: str) -> str:
        """Return the prefix of a text encoder's module names."""
        return "lora_te"


def _ids(text: TextPart, has_words: bool) -> str:
    return f"{text.name} {'ids and words' if has_words else 'ids'}"


def _weights(text: TextPart) -> str:
    return f"{text.name} weights"


def down_blocks(config: Mapping[str, Any]) -> int:
    """Return the number of down blocks of a U-Net in the original code; there are as many up blocks."""
    down: int = len(config["block_out_channels"]) * (config["layers_per_block"] + 1)
    return down


def _stride(path: str, config: Mapping[str, Any]) -> int:
    """Return `ModuleRef.stride` of a module in a transformer: each level but the last halves the sides."""
    if re.search(r"\.attn2\.to_[kv]$", path):
        return 0  # of the caption
    deepest = len(config["block_out_channels"]) - 1
    half, _, rest = path.partition(".")
    level = int(rest.partition(".")[0]) if half != "mid_block" else deepest
    return 1 << (deepest - level if half == "up_blocks" else level)


def original_path(path: str, config: Mapping[str, Any]) -> str:
    """Return a module's path in the original code (LDM)."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    kinds = config.get("up_block_types", UP_BLOCKS)
    return ldm_path(path, config["layers_per_block"], tuple("CrossAttn" in kind for kind in kinds))


def _group(path: str) -> Group:
    """Return the group of a module of a transformer; its input and output projections count as attention."""
    return "feed_forward" if re.search(r"\.(ff|mlp)\.", path) else "attention"
