"""Model families: everything that depends on the architecture of a base model.

A family is a spec (a checkpoint of some architecture) whose `load` returns a `Model`. A model encodes pictures and captions,
predicts and decodes; training and sampling use the same object, so they cannot disagree. Other code asks the model or the
family for what it needs to know (roles of parts, modules that adapters may target, their names in kohya's files, valid
sizes) and never tests a family's name.

To add one, create a file here: a `Family` subclass and its `Model` subclass. Import torch and diffusers inside methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from lorapipe import pocket
from lorapipe.errors import InputError, Problem
from lorapipe.models._footprint import Activations, Footprint, Group, ModuleRef, Shape, targets
from lorapipe.spec import Source, Spec, param

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion

__all__ = [
    "PLAIN_READING", "Activations", "Change", "Checkpoint", "Condition", "Family", "FeatureLayers", "Footprint", "Group",
    "Model", "ModuleRef", "Pair", "Role", "Saving", "Shape", "TensorPlace", "TextReading", "targets",
]  # fmt: skip

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


class TensorPlace(NamedTuple):
    """The place of a part's tensor in a checkpoint: its file and its key there.

    Where the file stacks several tensors in one, such as OpenCLIP's q, k and v, it is number `slice_index` of `slices` equal
    slices of the rows; `is_transposed` where the file has the transpose.
    """

    file: Path
    key: str
    slice_index: int = 0
    slices: int = 1
    is_transposed: bool = False


class FeatureLayers(NamedTuple):
    """Paths of modules in the denoiser whose outputs describe what a picture shows and how it is drawn.

    `semantic` gives features that match between pictures where they show the same part (DIFT: Tang et al. 2023,
    arXiv:2306.03881); `fine` the same at more places, or is equal to `semantic` where there are none with more;
    `texture` is shallow. Each gives maps (B, C, h, w) or tokens (B, h · w, C).
    """

    semantic: str
    fine: str
    texture: str


@dataclass(frozen=True)
class Checkpoint(Source):
    """A diffusers folder, a single-file checkpoint, or `pocket`: the base model that comes with lorapipe."""

    words: ClassVar[tuple[str, ...]] = ("pocket",)
    artifact: ClassVar[str] = "Base"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        return cls(pocket.BASE) if value == "pocket" else super().parse(value, folder)

    def plain(self) -> str:
        return "pocket" if self.path == pocket.BASE else super().plain()


@dataclass(frozen=True)
class Family(Spec, contract="family"):
    """A base model: its architecture and its checkpoint."""

    checkpoint: Checkpoint = param(
        help="the base model: a diffusers folder, a .safetensors or .ckpt file, or pocket",
        shelf="checkpoints",
        kohya=("pretrained_model_name_or_path",),
    )

    kind: ClassVar[str] = ""
    """Name of a single file of the family in messages, with article: `an SDXL checkpoint`."""
    denoiser: ClassVar[str]
    """The part that predicts: `unet`, `transformer`."""
    lora_module: ClassVar[str]
    """kohya's module that trains and loads a LoRA of the family (`ss_network_module`): `networks.lora` is for U-Nets alone,
    `networks.lora_flux` and `networks.lora_sd3` are for others."""

    @classmethod
    def recognises(cls, keys: Mapping[str, Shape]) -> bool:
        """Return whether a single file with tensors of these names and shapes belongs to this family."""
        return False

    @classmethod
    def recognises_folder(cls, parts: Mapping[str, Mapping[str, Any]]) -> bool:
        """Return whether a diffusers folder belongs to this family.

        `parts` maps its subfolders to their `config.json`; `model_index` is the folder's `model_index.json`.
        """
        return False

    @property
    @abstractmethod
    def text_encoders(self) -> tuple[str, ...]:
        """All parts that encode captions."""

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

    @abstractmethod
    def base_model_version(self, prediction: str) -> str:
        """Return `ss_base_model_version` of kohya's metadata for a base that predicts `epsilon` or `v_prediction`."""

    @abstractmethod
    def architecture(self, prediction: str) -> str:
        """Return `modelspec.architecture` (without `/lora`) for such a base."""

    @abstractmethod
    def native_size(self) -> int:
        """Return the side in pixels of the square pictures that the base was made for (512 for SD1.x). Reads no weights."""

    @abstractmethod
    def size_step(self) -> int:
        """Return the divisor of picture sides: VAE factor × U-Net factor (64 for SD1.x). Reads no weights."""

    @property
    def is_pending(self) -> bool:
        """Whether another stage still has to make its checkpoint (`$stage`), so nothing is known of it yet."""
        return not isinstance(self.checkpoint, Source)

    @abstractmethod
    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        """Return (C, h, w) of the latents of a picture of (width, height) pixels. Reads no weights."""

    def objections(self, reading: TextReading) -> Iterator[Problem]:
        """Yield options of `reading` that this base does not support; paths are its fields."""
        return iter(())

    def usual_cfg(self) -> float:
        """Return the default scale of classifier-free guidance for this base."""
        return pocket.CFG if self.checkpoint.path == pocket.BASE else 7.0

    def footprint(self) -> Footprint | None:
        """Return the memory that training takes; None if the tensors' shapes are unknown without loading them."""
        return None

    def problems_of_captions(self) -> Iterator[Problem]:
        """Yield problems that prevent encoding captions, which `prepare` does not need: a missing vocabulary."""
        return iter(())

    def prediction_type(self) -> str:
        """Return what the base's network predicts: `epsilon`, `v_prediction` …; where possible without loading a library."""
        return self.load("cpu").diffusion.prediction

    def module_names(self) -> dict[str, tuple[str, str]]:
        """Return `Model.kohya_names`, where possible without loading a library."""
        return self.load("cpu").kohya_names()

    def tensor_places(self) -> dict[tuple[str, str], TensorPlace]:
        """Return (part, tensor name without `text_model.`) → place in the checkpoint, from headers alone.

        `InputError` for a family whose files are not known tensor by tensor.
        """
        what = f"checkpoints of {self.name} are only read as a whole."
        raise InputError(what, where=str(self.checkpoint.path), cure="Name a base of another family.")

    @abstractmethod
    def load(self, device: str, dtype: str = "fp32") -> Model:
        """Load the base on a device (`cpu`, `cuda:0`, `mps`), frozen, weights in fp32, fp16 or bf16. Parts load lazily."""

    @classmethod
    @abstractmethod
    def tiny(cls, folder: Path, seed: int = 0) -> Self:
        """Make a random model of the family, small enough for tests, saved below `folder`."""


class Model(ABC):
    """A loaded base model, frozen and in eval mode.

    Parts (`unet`, `text_encoder`, `vae` …) are loaded on first use and freed by `release`, so the VAE takes no memory during
    training after it has encoded the pictures.
    """

    device: torch.device
    dtype: torch.dtype
    diffusion: Diffusion
    """The noise schedule and the network's prediction target."""
    denoiser: ClassVar[str]
    """The part that predicts: `unet`, `transformer`."""
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

    def role(self, part: str) -> Role:
        """Return the role of a trainable part."""
        return "denoiser" if part == self.denoiser else "text_encoder"

    @property
    def roles(self) -> dict[str, Role]:
        """Trainable part → its role."""
        return {part: self.role(part) for part in self.trainable}

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
