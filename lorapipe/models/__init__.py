"""Model families: all that lorapipe knows of a kind of base model.

A family is a spec (which checkpoint, of which kind) whose `load` gives a `Model`. A model owns both sides of the base,
the training target and the sampling, so that the two cannot drift apart: it encodes pictures and captions, predicts and
decodes. What other code needs to know of an architecture (the roles of its parts, the modules an adapter may target, what
kohya calls them, which sizes fit) it asks of the model or the family, and never tests by name.

To add one, create a file here: a `Family` subclass and its `Model` subclass. Import torch and diffusers inside methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from lorapipe import pocket
from lorapipe.errors import Problem
from lorapipe.spec import Source, Spec, param

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion

Condition = Mapping[str, "Tensor"]
"""Encoded captions: named tensors with the batch in front. A family reads only what it wrote itself."""
Pair = tuple[int, int]
Shape = tuple[int, ...]
Role = Literal["denoiser", "text_encoder", "embedding"]
"""What is trained: the part that predicts, one that reads captions, or the vectors of words that captions have."""
Group = Literal["attention", "feed_forward", "conv", "modulation", "embedding", "norm"]


@dataclass(frozen=True)
class TextReading:
    """How captions are read.

    `max_tokens` 75, 150 or 225: where a text encoder reads 75 at once, longer captions are cut into chunks of that as kohya
    does. `clip_skip` 2 takes the last layer but one. `weighted` obeys A1111's `(tag:1.3)`.
    """

    max_tokens: int = 75
    clip_skip: int = 1
    weighted: bool = False


PLAIN_READING = TextReading()


class FeatureLayers(NamedTuple):
    """Paths of two modules inside the denoiser, whose outputs say what a picture shows and how it is drawn.

    `semantic` gives features that match between pictures where they show the same part (DIFT: Tang et al. 2023,
    arXiv:2306.03881); `texture` is shallow. Each gives maps (B, C, h, w) or tokens (B, h · w, C).
    """

    semantic: str
    texture: str


@dataclass(frozen=True)
class ModuleRef:
    """A layer that an adapter can sit on: Linear or Conv2d, or a normalisation.

    `shape` is its weight's, (out, in), (out, in, k, k), or (n,) of a normalisation. `block` is the number of its block as
    those count who give each a rate of its own, None outside the denoiser and its blocks. Convolutional blocks' Linear
    layers are of the group `conv` too.
    """

    path: str
    kind: Literal["linear", "conv", "norm"]
    shape: Shape
    block: int | None
    group: Group

    @classmethod
    def of(cls, path: str, shape: Shape, group: Group, block: int | None = None) -> Self:
        """Of a module with this path, whose weight has this shape."""
        kinds: dict[int, Literal["linear", "conv", "norm"]] = {1: "norm", 2: "linear"}
        return cls(path, kinds.get(len(shape), "conv"), shape, block, group)

    @property
    def pointwise(self) -> bool:
        """Whether it is Linear or a 1×1 convolution."""
        return all(side == 1 for side in self.shape[2:])


def targets(modules: Iterable[ModuleRef], convolutions: bool = False) -> list[ModuleRef]:
    """Those of some modules that LoRA trains (kohya's LierLa), or with `convolutions` LoCon (C3Lier)."""
    return [ref for ref in modules if convolutions or (ref.group != "conv" and ref.pointwise)]


@dataclass(frozen=True)
class Activations:
    """The bytes that the denoiser's forward pass over half-precision weights keeps for the backward pass.

    For each pixel of a picture: `kept`, or with gradient checkpointing `recomputed`. Measured by `benchmarks/memory.py`.
    """

    kept: int
    recomputed: int


@dataclass(frozen=True)
class Footprint:
    """What a training of a base keeps in memory, by the shapes of its tensors: no weights are read.

    `parameters` are the numbers in each part; `inner` and `outer` its modules. What it says of modules and blocks is what
    the `Model` will say, but for the order of modules. `activations` is None where nobody has measured them for a base of
    this shape.
    """

    denoiser: str
    parameters: Mapping[str, int]
    inner: Mapping[str, list[ModuleRef]]
    outer: Mapping[str, list[ModuleRef]]
    blocks: int
    activations: Activations | None = None

    def modules(self, part: str) -> list[ModuleRef]:
        """See `Model.modules`."""
        return self.inner[part]

    def outer_modules(self, part: str) -> list[ModuleRef]:
        """See `Model.outer_modules`."""
        return self.outer[part]

    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]:
        """See `Model.targets`."""
        return targets(self.inner[part], convolutions)


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
    """A base model: its kind and where it lies."""

    checkpoint: Checkpoint = param(
        help="the base model: a diffusers folder, a .safetensors or .ckpt file, or pocket",
        shelf="checkpoints",
        kohya=("pretrained_model_name_or_path",),
    )

    kind: ClassVar[str] = ""
    """How messages call a single file of the family, with its article: `an SDXL checkpoint`."""
    denoiser: ClassVar[str]
    """The part that predicts: `unet`, `transformer`."""
    lora_module: ClassVar[str]
    """kohya's module that trains and loads a LoRA of the family (`ss_network_module`): `networks.lora` is for U-Nets alone,
    `networks.lora_flux` and `networks.lora_sd3` are for others."""

    @classmethod
    def recognises(cls, keys: Mapping[str, Shape]) -> bool:
        """Whether a single file that holds tensors of these names and shapes is of this family."""
        return False

    @property
    @abstractmethod
    def text_encoders(self) -> tuple[str, ...]:
        """Every part that reads captions."""

    @property
    @abstractmethod
    def trainable(self) -> tuple[str, ...]:
        """Parts that an adapter can train."""

    def role(self, part: str) -> Role:
        """What a part that can be trained does."""
        return "denoiser" if part == self.denoiser else "text_encoder"

    @property
    def roles(self) -> dict[str, Role]:
        """Each part that can be trained → what it does."""
        return {part: self.role(part) for part in self.trainable}

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

    @abstractmethod
    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture of (width, height) pixels. Reads no weights."""

    def objections(self, reading: TextReading) -> Iterator[Problem]:
        """What this base cannot do of how captions are to be read; paths are the reading's fields."""
        return iter(())

    def usual_cfg(self) -> float:
        """How strongly prompts guide this base, where nobody says otherwise (classifier-free guidance)."""
        return pocket.CFG if self.checkpoint.path == pocket.BASE else 7.0

    def footprint(self) -> Footprint | None:
        """What a training keeps in memory; None where the shapes of the tensors are not known without loading them."""
        return None

    def problems_of_captions(self) -> Iterator[Problem]:
        """What is wrong where captions are to be read (which `prepare` does not): a vocabulary that is missing."""
        return iter(())

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
    denoiser: ClassVar[str]
    """The part that predicts: `unet`, `transformer`."""
    denoiser_title: ClassVar[str]
    """What people call it, in messages and reports: `U-Net`, `transformer`."""
    text_encoders: tuple[str, ...]
    """Every part that reads captions, trainable or not."""
    trainable: tuple[str, ...]
    """Parts that an adapter can train, such as `("unet", "text_encoder")`."""
    settings_folders: tuple[str, ...]
    """Folders of a checkpoint whose configurations and vocabularies decide, beside the weights, what its encoders answer."""
    tokens: int = 75
    """Tokens of a caption that a text encoder reads at once, without its two ends."""
    words: dict[str, Mapping[str, Tensor]]
    """Words that captions may have beside the vocabulary (textual inversion) → their vectors (n, d) of each text encoder.

    Whoever adds one takes it out again. Captions that are read meanwhile have its vectors, through which gradients flow.
    """
    word_encoders: tuple[str, ...] = ()
    """The text encoders for which a word may have vectors."""

    @abstractmethod
    def part(self, name: str) -> torch.nn.Module:
        """A part of the base, loaded if need be."""

    @abstractmethod
    def release(self, *names: str) -> None:
        """Let parts go from memory; `part` loads them again."""

    def role(self, part: str) -> Role:
        """What a part that can be trained does."""
        return "denoiser" if part == self.denoiser else "text_encoder"

    @property
    def roles(self) -> dict[str, Role]:
        """Each part that can be trained → what it does."""
        return {part: self.role(part) for part in self.trainable}

    @abstractmethod
    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture of (width, height) pixels."""

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in −1 … 1 → latents (B, C, h, w), scaled and shifted for training, float32.

        The mean of the posterior, so deterministic.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """The inverse: latents (B, C, h, w) → pixels (B, 3, H, W), about −1 … 1, float32.

        In tiles where the memory is short; `OutOfMemory` where that does not suffice.
        """

    @abstractmethod
    def encode_text(self, captions: Sequence[str], reading: TextReading = PLAIN_READING) -> Condition:
        """Captions → condition, with gradients where a text encoder is being trained.

        A caption is data: text like `<|endoftext|>` in it is spelled, not obeyed.
        """

    @abstractmethod
    def token_count(self, text: str) -> int:
        """The tokens of a caption without its two ends."""

    def token_table(self, part: str) -> Tensor:
        """Return the vectors (tokens, d) of the vocabulary of one of `word_encoders`, as it holds them."""
        raise NotImplementedError

    def token_rows(self, part: str, text: str) -> Tensor:
        """Return those of a text's tokens, without its two ends; `words` are read as the vocabulary has them."""
        raise NotImplementedError

    def size_conditioning(self, original: Pair, crop: Pair, size: Pair) -> Condition:
        """SDXL's size conditioning of one picture, to be laid beside its encoded caption; nothing by default.

        (width, height) of the picture as it was and as it is trained on, and the (left, top) of the cut.
        """
        return {}

    @abstractmethod
    def predict(self, noisy: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The network's output, float32, for noisy latents (B, C, h, w) at `Diffusion`'s t (B,)."""

    @property
    def feature_layers(self) -> FeatureLayers:
        """Where the denoiser's features of a picture are read: its middle block and its first, of those with numbers."""
        modules = self.modules(self.denoiser)
        last = max((ref.block for ref in modules if ref.block is not None), default=0)

        def of(block: int) -> str:
            paths = [ref.path.split(".") for ref in modules if (ref.block or 0) == block]
            return ".".join(part[0] for part in takewhile(lambda part: len({*part}) == 1, zip(*paths, strict=False)))

        return FeatureLayers(of((last + 1) // 2), of(0))

    # ---------------------------------------------------------------------------------------------------- for adapters

    @abstractmethod
    def modules(self, part: str) -> list[ModuleRef]:
        """The layers of a trainable part that adapters may target, in model order.

        Read from the part's configuration: whatever is attached to the part in memory is not among them.
        """

    def targets(self, part: str, convolutions: bool = False) -> list[ModuleRef]:
        """Those that LoRA trains, or with `convolutions` LoCon: see `targets`."""
        return targets(self.modules(part), convolutions)

    def outer_modules(self, part: str) -> list[ModuleRef]:
        """Further layers that files may hold, and that adapters train on request alone.

        The first and last convolution and the embedding of time (group `embedding`), and normalisations (`norm`).
        """
        return []

    @property
    def blocks(self) -> int:
        """Blocks of the denoiser that can have a rank or rate of their own: see `ModuleRef.block`; 0 is none."""
        return 0

    @abstractmethod
    def kohya_name(self, part: str, path: str) -> str:
        """kohya's name of a module: `lora_unet_down_blocks_0_attentions_0_proj_in`."""

    def other_names(self, part: str, path: str) -> tuple[str, ...]:
        """What else files call a module; such names are read, never written."""
        return ()

    def kohya_names(self) -> dict[str, tuple[str, str]]:
        """kohya's name → (part, path) of every module that a file may hold; a module's own name before its others."""
        layers = (self.modules, self.outer_modules)
        pairs = [(part, ref.path) for part in self.trainable for of in layers for ref in of(part)]
        others = {name: pair for pair in pairs for name in self.other_names(*pair)}
        return {self.kohya_name(*pair): pair for pair in pairs} | others

    def settings(self) -> dict[str, str]:
        """What a person may want to know of the base, for logs."""
        return {"prediction": self.diffusion.prediction, "dtype": str(self.dtype), "device": str(self.device)}
