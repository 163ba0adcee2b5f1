"""Algorithms: the ways to write the update ΔW of a module as a few small tensors.

An algorithm knows the tensors' names in files, their rank, and the formula of ΔW; not how it is trained (that is an
adapter's `AdapterLayer`), and not what modules are called (that is a format's). Formats, export and everything else that
takes ΔW apart or puts it together ask it, and nobody tests for one by name.

To add one, create a file here. It must load quickly: import torch inside functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lorapipe.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
"""The tensors of one module's update by the algorithm's own short names: `down`, `up`."""


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
    network_module: ClassVar[str] = "lycoris.kohya"
    """The module of kohya's trainer that makes and loads it (`ss_network_module`)."""

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

    @abstractmethod
    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        """ΔW in the tensors' own precision; gradients flow through it.

        In the shape of the module's weight, or as a matrix (out, in · k · k) where the tensors do not know the kernel.
        `weight` is the base's W, for those whose update depends on it (DoRA, IA³, OFT).
        """

    @abstractmethod
    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        """The tensors of factor · ΔW."""

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        """The tensors of the same ΔW, to the last bit, brought into a range that half precision can hold."""
        return dict(tensors)

    def flaw(self, tensors: Tensors) -> str:
        """Why these tensors, none of which is missing, make no ΔW; empty where they do."""
        return ""


Algorithm.registry = Registry(__name__, Algorithm)  # type: ignore[type-abstract]


def shape_in_words(tensor: Tensor) -> str:
    """`4x16x3x3`; `a number` for a scalar."""
    return "x".join(map(str, tensor.shape)) or "a number"
