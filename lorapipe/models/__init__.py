"""Model families: everything that depends on the architecture of a base model.

A family is a spec (a checkpoint of some architecture) whose `load` returns a `Model`. A model encodes pictures and captions,
predicts and decodes; training and sampling use the same object, so they cannot disagree. Other code asks the model or the
family for what it needs to know (roles of parts, modules that adapters may target, their names in kohya's files, valid
sizes) and never tests a family's name.

To add one, create a file here: a `Family` subclass and its `Model` subclass. Import torch and diffusers inside methods.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from lorapipe import pocket
from lorapipe.errors import InputError, Problem
from lorapipe.models._footprint import Activations, Footprint, Group, ModuleRef, Shape, targets
from lorapipe.models._model import (
    PLAIN_READING,
    Change,
    Condition,
    FeatureLayers,
    Model,
    Pair,
    PartRoles,
    Role,
    Saving,
    TextReading,
)
from lorapipe.spec import Source, Spec, param

__all__ = [
    "PLAIN_READING", "Activations", "Change", "Checkpoint", "Condition", "Family", "FeatureLayers", "Footprint", "Group",
    "Model", "ModuleRef", "Pair", "Role", "Saving", "Shape", "TensorPlace", "TextReading", "targets",
]  # fmt: skip


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
class Family(PartRoles, Spec, contract="family"):
    """A base model: its architecture and its checkpoint."""

    checkpoint: Checkpoint = param(
        help="the base model: a diffusers folder, a .safetensors or .ckpt file, or pocket",
        shelf="checkpoints",
        kohya=("pretrained_model_name_or_path",),
    )

    kind: ClassVar[str] = ""
    """Name of a single file of the family in messages, with article: `an SDXL checkpoint`."""
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
