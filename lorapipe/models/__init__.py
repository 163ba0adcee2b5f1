"""Model families: all that lorapipe knows of a kind of base model.

A family is a spec (which checkpoint, of which kind) whose `load` gives a `Model`. A model owns both sides of the
base, the training target and the sampling, so that the two cannot drift apart: it encodes pictures and captions, predicts,
and makes the sampling pipeline from the very same modules. What other code needs to know of an architecture (which
modules an adapter may target, what kohya calls them, which sizes fit) is asked of the model or the family, never
tested by name.

To add one, create a file here: a `Family` subclass and its `Model` subclass. Import torch and diffusers inside methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe import pocket
from lorapipe.errors import Problem
from lorapipe.spec import Source, Spec, param

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from lorapipe.training.diffusion import Diffusion

Condition = Mapping[str, "torch.Tensor"]
"""Encoded captions: named tensors with the batch in front. A family reads only what it wrote itself."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class Footprint:
    """What a training of a base keeps in memory, counted by `benchmarks/memory.py`.

    `parameters` of each part; `widths` of its LoRA modules (Σ in + out: a LoRA of rank r has r times as many parameters).
    `convolutions` are those widths of what LoCon has besides: of its 1×1 and Linear modules, and of its larger ones (in · k²
    + out). `kept` are the bytes that the U-Net's forward pass over half-precision weights keeps for the backward one, for
    each pixel of a picture; `recomputed` those with gradient checkpointing.
    """

    parameters: Mapping[str, int]
    widths: Mapping[str, int]
    convolutions: tuple[int, int]
    kept: int
    recomputed: int


@dataclass(frozen=True)
class Checkpoint(Source):
    """A diffusers folder, a single-file checkpoint, or `pocket`: the base model that comes with lorapipe."""

    words: ClassVar[tuple[str, ...]] = ("pocket",)
    artifact: ClassVar[str] = "Base"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        return cls(pocket.BASE) if value == "pocket" else super().parse(value, folder)

    def plain(self) -> str:
        """See `Value.plain`."""
        return "pocket" if self.path == pocket.BASE else super().plain()


@dataclass(frozen=True)
class Family(Spec, contract="family"):
    """A base model: its kind and where it lies."""

    checkpoint: Checkpoint = param(
        help="the base model: a diffusers folder, a .safetensors or .ckpt file, or pocket",
        shelf="checkpoints",
        kohya=("pretrained_model_name_or_path",),
    )

    reads_any_layer: ClassVar[bool] = True
    """Whether captions may be read from another layer of the text encoder than the last (`clip_skip`)."""

    @abstractmethod
    def base_model_version(self, prediction: str) -> str:
        """What kohya's metadata calls a base that predicts `epsilon` or `v_prediction` (`ss_base_model_version`)."""

    @abstractmethod
    def architecture(self, prediction: str) -> str:
        """What modelspec calls such a base (`modelspec.architecture`, without `/lora`)."""

    @abstractmethod
    def native_size(self) -> int:
        """The side in pixels of the square that the base was made for (512 for SD1.x). Reads no weights."""

    @abstractmethod
    def size_step(self) -> int:
        """Picture sides must be a multiple of this: VAE factor × U-Net factor (64 for SD1.x). Reads no weights."""

    @property
    def is_pending(self) -> bool:
        """Whether its checkpoint is what another stage will make (`$stage`), of which nothing can be asked yet."""
        return not isinstance(self.checkpoint, Source)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Parts that an adapter can train: see `Model.trainable`."""
        return ("unet", "text_encoder")

    def usual_cfg(self) -> float:
        """How strongly prompts guide this base, where nobody says otherwise (classifier-free guidance)."""
        return pocket.CFG if self.checkpoint.path == pocket.BASE else 7.0

    def footprint(self) -> Footprint | None:
        """What a training keeps in memory; None where that was not counted for a base of this shape."""
        return None

    def problems_of_captions(self) -> Iterator[Problem]:
        """What is wrong where captions are to be read (which `prepare` does not): a vocabulary that is missing."""
        return iter(())

    def clip(self) -> Path | None:
        """A CLIP model folder that belongs to the base, for scoring; None where it has none."""
        beside = self.checkpoint.path.parent / "clip"
        return beside if self.checkpoint.path.is_dir() and (beside / "config.json").is_file() else None

    @abstractmethod
    def load(self, device: str, dtype: str = "fp32") -> Model:
        """The base on a device (`cpu`, `cuda:0`, `mps`), frozen, weights held as fp32, fp16 or bf16. Parts load lazily."""

    @classmethod
    @abstractmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """A random model of the family, small enough for tests, saved below `folder`."""


class Model(ABC):
    """A loaded base model, frozen and in eval mode.

    Parts (`unet`, `text_encoder`, `vae` …) are loaded when first asked for and let go by `release`, so a VAE that has done
    its caching does not sit beside the training.
    """

    device: torch.device
    dtype: torch.dtype
    diffusion: Diffusion
    """How pictures become noise, and what the network predicts of that."""
    trainable: tuple[str, ...]
    """Parts that an adapter can train, such as `("unet", "text_encoder")`."""
    tokens: int
    """Tokens of a caption chunk without its two ends: 75."""

    @abstractmethod
    def part(self, name: str) -> torch.nn.Module:
        """A part of the base, loaded if need be."""

    @abstractmethod
    def release(self, *names: str) -> None:
        """Let parts go from memory; `part` loads them again."""

    @abstractmethod
    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, H, W) in −1 … 1 → scaled latents (B, C, H/f, W/f), float32: the mean, so deterministic."""

    @abstractmethod
    def encode_text(
        self, captions: Sequence[str], *, max_tokens: int = 75, clip_skip: int = 1, weighted: bool = False
    ) -> Condition:
        """Captions → condition, with gradients where the text encoder is being trained.

        `max_tokens` 75, 150 or 225: longer ones are cut into chunks of 75 as kohya does (FORMATS §3.3). `clip_skip` 2
        takes the last layer but one. A caption is data: text like `<|endoftext|>` in it is spelled, not obeyed; `weighted`
        obeys A1111's `(tag:1.3)` and nothing else.
        """

    def framing(self, original: Pair, crop: Pair, size: Pair) -> Condition:
        """What the network is told of one picture's shape, to be laid beside its encoded caption; nothing by default.

        (width, height) of the picture as it was and as it is trained on, and the (left, top) of the cut.
        """
        return {}

    @abstractmethod
    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Condition) -> torch.Tensor:
        """The network's output, float32, for noisy latents (B, C, h, w) at `Diffusion`'s t (B,)."""

    @abstractmethod
    def pipeline(self) -> DiffusionPipeline:
        """The sampling pipeline over these same modules, without a safety checker and without a progress bar."""

    @abstractmethod
    def targets(self, part: str, convolutions: bool = False) -> list[str]:
        """Dotted paths of the modules of a part that LoRA trains, in model order.

        Linear layers and 1×1 convolutions of the transformer blocks (kohya's LierLa); with `convolutions`, also those of
        the resnet, downsample and upsample blocks (C3Lier). Of the text encoder: attention and MLP projections.
        """

    @property
    @abstractmethod
    def blocks(self) -> int:
        """Blocks of the U-Net, as those count them who give each a rank or a strength of its own: 25 of SD1.x."""

    @abstractmethod
    def block(self, path: str) -> int:
        """Which of them a module of the U-Net is in."""

    @abstractmethod
    def kohya_name(self, part: str, path: str) -> str:
        """kohya's name of a module: `lora_unet_down_blocks_0_attentions_0_proj_in` (FORMATS §2.1)."""

    def other_names(self, part: str, path: str) -> tuple[str, ...]:
        """What else files call a module; such names are read, never written."""
        return ()

    def kohya_names(self) -> dict[str, tuple[str, str]]:
        """kohya's name → (part, path) of every module that a file may hold; a module's own name before its others."""
        pairs = [(part, path) for part in self.trainable for path in self.targets(part, convolutions=True)]
        others = {name: pair for pair in pairs for name in self.other_names(*pair)}
        return {self.kohya_name(*pair): pair for pair in pairs} | others

    def settings(self) -> dict[str, Any]:
        """What a person may want to know of the base, for logs."""
        return {"prediction": self.diffusion.prediction, "dtype": str(self.dtype), "device": str(self.device)}
