"""A loaded base model: what it encodes, predicts and decodes, and its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from lorapipe.errors import InputError
from lorapipe.models._footprint import ModuleRef, targets

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion

Condition = Mapping[str, "Tensor"]
"""Encoded captions: named tensors (B, …). Only the family that made them interprets them."""
Pair = tuple[int, int]
Role = Literal["denoiser", "text_encoder", "embedding"]
"""What is trained: the denoiser, a text encoder, or the embeddings of new words (textual inversion)."""


@dataclass(frozen=True)
class TextReading:
    """How captions are encoded.

    `max_tokens` is 75, 150 or 225: for a text encoder of 75 tokens, longer captions are split into chunks, as in kohya's
    scripts. `clip_skip` 2 takes the last layer but one. `weighted` applies A1111's weights, `(tag:1.3)`.
    """

    max_tokens: int = 75
    clip_skip: int = 1
    weighted: bool = False


PLAIN_READING = TextReading()

Change = Callable[["Tensor"], "Tensor"]
"""Maps a tensor of the base, float32, to its new values."""


@dataclass(frozen=True)
class Saving:
    """Options for saving a base: changes (part → tensor name → change), the file's dtype and metadata, another VAE.

    Names are those of the part's module, without `text_model.`. `metadata` takes the SHA-256 of the tensors' bytes; the
    lengths of its values must not depend on it.
    """

    changes: Mapping[str, Mapping[str, Change]]
    dtype: Literal["fp32", "fp16", "bf16"]
    metadata: Callable[[str], Mapping[str, str]]
    vae: Path | None = None


class FeatureLayers(NamedTuple):
    """Paths of modules in the denoiser whose outputs describe what a picture shows and how it is drawn.

    `semantic` gives features that match between pictures where they show the same part (DIFT: Tang et al. 2023,
    arXiv:2306.03881); `fine` the same at more places, or is equal to `semantic` where there are none with more;
    `texture` is shallow. Each gives maps (B, C, h, w) or tokens (B, h · w, C).
    """

    semantic: str
    fine: str
    texture: str


class PartRoles:
    """The roles of a base's parts; what a family says before it is loaded, and its model after."""

    denoiser: ClassVar[str]
    """The part that predicts: `unet`, `transformer`."""

    @property
    @abstractmethod
    def trainable(self) -> tuple[str, ...]:
        """Parts that an adapter can train."""

    def role(self, part: str) -> Role:
        """Return the role of a trainable part."""
        return "denoiser" if part == self.denoiser else "text_encoder"

    @property
    def roles(self) -> dict[str, Role]:
        """Trainable part → its role."""
        return {part: self.role(part) for part in self.trainable}


class Model(PartRoles, ABC):
    """A loaded base model, frozen and in eval mode.

    Parts (`unet`, `text_encoder`, `vae` …) are loaded on first use and freed by `release`, so the VAE takes no memory during
    training after it has encoded the pictures.
    """

    device: torch.device
    dtype: torch.dtype
    diffusion: Diffusion
    """The noise schedule and the network's prediction target."""
    denoiser_title: ClassVar[str]
    """Its name in messages and reports: `U-Net`, `transformer`."""
    text_encoders: tuple[str, ...]
    """All parts that encode captions, trainable or not."""
    trainable: tuple[str, ...]
    """Parts that an adapter can train, such as `("unet", "text_encoder")`."""
    settings_folders: tuple[str, ...]
    """Folders of a checkpoint whose configurations and vocabularies affect its encoders' output, besides the weights."""
    tokens: int = 75
    """Tokens of a caption per pass of the text encoder, without BOS and EOS."""
    words: dict[str, Mapping[str, Tensor]]
    """Words beside the vocabulary (textual inversion) → their embeddings (n, d) for each text encoder."""
    word_encoders: tuple[str, ...] = ()
    """The text encoders for which a word may have embeddings."""

    @abstractmethod
    def part(self, name: str) -> torch.nn.Module:
        """Return a part of the base; loads it on first use."""

    @abstractmethod
    def release(self, *names: str) -> None:
        """Free the memory of parts; `part` loads them again."""

    @abstractmethod
    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        """Return (C, h, w) of the latents of a picture of (width, height) pixels."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Encode pixels (B, 3, H, W) in −1 … 1 to latents (B, C, h, w), scaled and shifted for training, float32.

        The result is the mode of the posterior, so it is deterministic.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (B, C, h, w) to pixels (B, 3, H, W), about −1 … 1, float32.

        Decodes in tiles if memory is short. Raises `OutOfMemory` if that is not enough.
        """

    def encode_text(self, captions: Sequence[str], reading: TextReading = PLAIN_READING) -> Condition:
        """Encode captions to a condition, with gradients if a text encoder is being trained."""
        return self.encode_tokens(self.tokenize(captions, reading), reading)

    @abstractmethod
    def tokenize(self, captions: Sequence[str], reading: TextReading) -> Condition:
        """Return token ids and the like: named CPU tensors (B, …). Text like `<|endoftext|>` is tokenized as any other."""

    @abstractmethod
    def encode_tokens(self, tokens: Condition, reading: TextReading) -> Condition:
        """Encode `tokenize`'s tensors to a condition; reads no value in Python, so that a CUDA graph can repeat it."""

    @abstractmethod
    def token_count(self, text: str) -> int:
        """Return the number of tokens of a caption without BOS and EOS."""

    def token_table(self, part: str) -> Tensor:
        """Return the token embeddings (tokens, d) of one of `word_encoders`."""
        raise NotImplementedError

    def token_rows(self, part: str, text: str) -> Tensor:
        """Return the embeddings of a text's tokens, without BOS and EOS and without using `words`."""
        raise NotImplementedError

    def size_conditioning(self, original: Pair, crop: Pair, size: Pair) -> Condition:
        """Return SDXL's size conditioning of one picture, to add to its text condition; nothing by default.

        `original` and `size` are (width, height) of the picture before and after scaling and cropping, `crop` is the (left,
        top) offset of the crop.
        """
        return {}

    @abstractmethod
    def predict(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the network's output, float32, for noisy latents (B, C, h, w) at `Diffusion`'s t (B,)."""

    @property
    def feature_layers(self) -> FeatureLayers:
        """Return the layers whose features describe a picture: by default in the middle block and in the first block."""
        modules = self.modules(self.denoiser)
        last = max((ref.block for ref in modules if ref.block is not None), default=0)

        def of(block: int) -> str:
            paths = [ref.path.split(".") for ref in modules if (ref.block or 0) == block]
            return ".".join(part[0] for part in takewhile(lambda part: len({*part}) == 1, zip(*paths, strict=False)))

        middle = of((last + 1) // 2)
        return FeatureLayers(middle, middle, of(0))

    # ---------------------------------------------------------------------------------------------------- for adapters

    @abstractmethod
    def modules(self, part: str) -> list[ModuleRef]:
        """Return the layers of a trainable part that adapters may target, in model order.

        They come from the part's configuration, so attached adapters do not appear.
        """

    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]:
        """Return the layers that LoRA trains, or with `convolutions` LoCon; see `targets`."""
        return targets(self.modules(part), convolutions)

    def outer_modules(self, part: str) -> list[ModuleRef]:
        """Further layers that files may hold, and that adapters train on request alone.

        The first and last convolution and the time embedding (group `embedding`), and normalisations (`norm`).
        """
        return []

    @property
    def blocks(self) -> int:
        """Number of the denoiser's blocks, which can have their own ranks and rates; see `ModuleRef.block`."""
        return 0

    @abstractmethod
    def kohya_name(self, part: str, path: str) -> str:
        """Return kohya's name of a module: `lora_unet_down_blocks_0_attentions_0_proj_in`."""

    def other_names(self, part: str, path: str) -> tuple[str, ...]:
        """Return other names of a module in files, which are read but not written."""
        return ()

    def kohya_names(self) -> dict[str, tuple[str, str]]:
        """Return kohya's name → (part, path) for all modules that a file may contain, other names included."""
        layers = (self.modules, self.outer_modules)
        pairs = [(part, ref.path) for part in self.trainable for of in layers for ref in of(part)]
        others = {name: pair for pair in pairs for name in self.other_names(*pair)}
        return {self.kohya_name(*pair): pair for pair in pairs} | others

    # ----------------------------------------------------------------------------------------------------- a checkpoint

    def save_checkpoint(self, path: Path, layout: Literal["single_file", "folder"], saving: Saving) -> None:
        """Write the base with changed weights: a single file in the original layout, or a diffusers folder.

        Needs memory for one tensor at a time. `InputError` where the family has no such layout.
        """
        raise InputError("checkpoints of this family are not written here.", where="convert")

    def settings(self) -> dict[str, str]:
        """Return facts about the base for logs."""
        return {"prediction": self.diffusion.prediction, "dtype": str(self.dtype), "device": str(self.device)}
