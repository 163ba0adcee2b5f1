"""Algorithms: the ways to write the update ΔW of a module as a few small tensors.

An algorithm knows the tensors' names in files, their rank, and the formula of ΔW; not how it is trained (that is an
adapter's `AdapterLayer`), and not what modules are called (that is a format's). Formats, export and everything else that
takes ΔW apart or puts it together ask it, and nobody tests for one by name.

To add one, create a file here. It must load quickly: import torch inside functions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lorapipe.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
"""The tensors of one module's update by the algorithm's own short names: `down`, `up`."""


SMALL = 2**-10
"""Factors whose largest number is below this are brought up for fp16, whose precision fades below 2⁻¹⁴."""


class Algorithm(ABC):
    """How one module's ΔW is made of its tensors."""

    registry: ClassVar[Registry[Algorithm]]

    keys: ClassVar[Mapping[str, str]]
    """Short name → what kohya's and LyCORIS' keys have after the module's name: `{"down": "lora_down.weight"}`."""
    peft_keys: ClassVar[Mapping[str, str]] = {}
    """Short name → what PEFT's keys have after it: `{"down": "lora_A.weight"}`; empty where PEFT has no such adapter."""
    peft_type: ClassVar[str] = ""
    """What PEFT's `adapter_config.json` calls it: `LORA`."""
    optional: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that a module may lack."""
    flags: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that are whole numbers: settings of the module, not weights."""
    precise: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that files hold in float32, whatever their precision: few numbers, of which much depends."""
    network_module: ClassVar[str] = "lycoris.kohya"
    """The module that trains and loads it (`ss_network_module`); empty: kohya's for a LoRA of the base's family."""
    algo: ClassVar[str] = ""
    """What LyCORIS calls it (`algo` of `ss_network_args`); empty: as it is registered here."""
    has_alpha: ClassVar[bool] = True
    """Whether files hold an alpha for each module."""

    @classmethod
    def of(cls, name: str) -> Algorithm:
        """The algorithm registered as `name`; `InputError` where there is none."""
        return cls.registry.get(name)()

    @property
    def name(self) -> str:
        """Its registered name."""
        return self.registry.name_of(type(self))

    @abstractmethod
    def rank(self, tensors: Tensors) -> int:
        """The rank of a module's update, as files and their metadata count it."""

    def usual_alpha(self, tensors: Tensors) -> float:
        """The alpha of a module whose file has none."""
        return float(self.rank(tensors))

    def scale(self, tensors: Tensors, alpha: float) -> float:
        """What an alpha multiplies the tensors' product by; 1 where it means something else, or nothing."""
        return alpha / self.rank(tensors)

    def needs_weight(self, tensors: Tensors) -> bool:
        """Whether ΔW depends on the base's W."""
        return False

    @abstractmethod
    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        """ΔW in the tensors' own precision; gradients flow through it.

        In the shape of the module's weight, or as a matrix (out, in · k · k) where the tensors do not know the kernel.
        `weight` is the base's W, for those whose update depends on it (`needs_weight`: DoRA, IA³, OFT, GLoRA).
        """

    def delta_bias(self, tensors: Tensors) -> Tensor | None:
        """What is added to the module's bias, (out,); None where it is left alone."""
        return None

    @abstractmethod
    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        """The tensors of factor · ΔW; of a DoRA's ΔW before the magnitude counts."""

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        """The tensors of the same ΔW, to the last bit, brought into a range that half precision can hold."""
        return dict(tensors)

    def portable(self, tensors: Tensors) -> dict[str, Tensor]:
        """The tensors of the same ΔW, and of the same alpha, that most programs read; these where nothing is gained."""
        return dict(tensors)

    def missing(self, tensors: Tensors) -> list[str]:
        """The short names of tensors without which there is no ΔW."""
        return [short for short in self.keys if short not in self.optional and short not in tensors]

    def flaw(self, tensors: Tensors) -> str:
        """Why these tensors, none of which is missing, make no ΔW; empty where they do."""
        return ""


def evened(tensors: Tensors, small: str, large: str) -> dict[str, Tensor]:
    """One factor times a power of two, and another divided by it: the same product, to the last bit.

    After few steps the factor that began as zero may be so small that fp16 has but a bit or two left for it.
    """
    low, high = (float(tensors[name].abs().max()) for name in (small, large))
    if not 0 < low < SMALL or high == 0:
        return dict(tensors)
    power = 2.0 ** round(math.log2(high / low) / 2)
    return {**tensors, small: tensors[small] * power, large: tensors[large] / power}


Algorithm.registry = Registry(__name__, Algorithm)  # type: ignore[type-abstract]


def shape_in_words(tensor: Tensor) -> str:
    """`4x16x3x3`; `a number` for a scalar."""
    return "x".join(map(str, tensor.shape)) or "a number"


def numbers(tensor: Tensor) -> list[int]:
    """The shape of a factor, whether it is written as a layer's or as a 1×1 convolution's."""
    sides = list(tensor.shape)
    return sides[:2] if all(side == 1 for side in sides[2:]) else sides


def shapes_in_words(tensors: Tensors) -> str:
    """`down is 4x16, up 16x4`."""
    first, *others = (f"{name} {shape_in_words(tensor)}" for name, tensor in tensors.items())
    return ", ".join([first.replace(" ", " is ", 1), *others])
