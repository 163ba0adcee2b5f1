"""Algorithms: ways to write the update ΔW of a module as a few small tensors.

An algorithm knows the tensors' names in files, their rank, and the formula of ΔW. It does not know how ΔW is trained (an
adapter's `AdapterLayer` does) or what modules are called (a format does). Code that composes or decomposes ΔW asks the
algorithm, and never tests its name.

To add an algorithm, create a file here. It must load quickly: import torch inside functions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lorapipe.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

AnyTensor = TypeVar("AnyTensor", bound="Tensor")
Tensors = Mapping[str, "Tensor"]
"""Tensors of one module's update by the algorithm's short names: `down`, `up`."""


SMALL = 2**-10
"""Factors whose largest absolute value is below this are scaled up for fp16, which is subnormal below 2⁻¹⁴."""


class Algorithm(ABC):
    """Formula of one module's ΔW, and the names of its tensors."""

    registry: ClassVar[Registry[Algorithm]]

    keys: ClassVar[Mapping[str, str]]
    """Short name → suffix after the module's name in kohya's and LyCORIS' keys: `{"down": "lora_down.weight"}`."""
    peft_keys: ClassVar[Mapping[str, str]] = {}
    """Short name → suffix in PEFT's keys: `{"down": "lora_A.weight"}`; empty where PEFT has no such adapter."""
    peft_type: ClassVar[str] = ""
    """Its `peft_type` in PEFT's `adapter_config.json`: `LORA`."""
    peft_alpha: ClassVar[str] = "alpha"
    """The setting of PEFT's config that holds alpha."""
    peft_size: ClassVar[str] = ""
    """The setting of PEFT's config that must be equal to `rank`, unless it is 0; empty: none."""
    peft_shared: ClassVar[tuple[str, ...]] = ()
    """Tensors that all modules of a PEFT folder share, by their keys after `base_model.`."""
    peft_writes: ClassVar[bool] = True
    """Whether it can be written as a PEFT folder, and not only read."""
    peft_precise: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that PEFT folders hold in float32 whatever `dtype` says, besides `precise`."""
    peft_settings: ClassVar[Mapping[str, object]] = {}
    """Further settings of PEFT's config on which ΔW depends, or that must have the value for which ΔW is right: name →
    JSON schema, whose `default` is PEFT's."""
    formats: ClassVar[tuple[str, ...]] = ()
    """Registered names of the only formats in which other programs read it; empty: any format that has it."""
    optional: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that a module may lack."""
    flags: ClassVar[frozenset[str]] = frozenset()
    """Short names of integer tensors: settings of the module, not weights."""
    flag_numbers: ClassVar[Mapping[str, int]] = {}
    """How many numbers a flag has, where it is not one."""
    frozen: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors of numbers that are never trained: random projections, norms of the base."""
    precise: ClassVar[frozenset[str]] = frozenset()
    """Short names of tensors that files hold in float32 whatever `dtype` says: small ones that need the precision."""
    network_module: ClassVar[str] = "lycoris.kohya"
    """Its `ss_network_module`, by which trainers load it; empty: kohya's module for a LoRA of the base's family."""
    algo: ClassVar[str] = ""
    """Its LyCORIS name (`algo` of `ss_network_args`); empty: the name under which it is registered here."""
    has_alpha: ClassVar[bool] = True
    """Whether files hold an alpha for each module."""

    @classmethod
    def of(cls, name: str) -> Algorithm:
        """Return the algorithm registered as `name`; `InputError` where there is none."""
        return cls.registry.get(name)()

    @property
    def name(self) -> str:
        """Registered name."""
        return self.registry.name_of(type(self))

    @abstractmethod
    def rank(self, tensors: Tensors) -> int:
        """Return the rank of a module's update, as files and their metadata count it."""

    def usual_alpha(self, tensors: Tensors) -> float:
        """Return the alpha of a module whose file has none."""
        return float(self.rank(tensors))

    def scale(self, tensors: Tensors, alpha: float) -> float:
        """Return the factor on the tensors' product, alpha / rank; 1 where alpha has another meaning, or none."""
        return alpha / self.rank(tensors)

    def needs_weight(self, tensors: Tensors) -> bool:
        """Return whether ΔW depends on the base's W."""
        return False

    @abstractmethod
    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        """Compute ΔW in the tensors' own dtype, differentiably.

        The shape is that of the module's weight, or a matrix (out, in · k · k) where the tensors do not say the kernel's
        size. `weight` is the base's W, for algorithms that need it (`needs_weight`: DoRA, IA³, OFT, GLoRA).
        """

    def needs_bias(self, tensors: Tensors) -> bool:
        """Return whether Δb depends on the base's bias."""
        return False

    def delta_bias(self, tensors: Tensors, bias: Tensor | None = None) -> Tensor | None:
        """Return Δb (out,) of the module's bias; None where the bias is unchanged.

        `bias` is the base's, for algorithms that need it (`needs_bias`); None where the module has none.
        """
        return None

    @abstractmethod
    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        """Return tensors of factor · ΔW; for a DoRA, factor scales ΔW before the magnitude is applied."""

    def rows(self, tensors: Tensors, first: int, last: int) -> dict[str, Tensor] | None:
        """Return tensors of the rows (outputs) `first` to before `last` of ΔW; None where they cannot be taken apart."""
        return None

    def norm(self, tensors: Tensors, alpha: float) -> float | None:
        """Return ‖ΔW‖ (Frobenius) without computing ΔW; None where that cannot be.

        Tensors may be NumPy's arrays in float32 too, so that a report needs no torch.
        """
        return None

    def balanced(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return tensors of the bit-identical ΔW whose values lie in float16's range."""
        return dict(tensors)

    def portable(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return tensors of the same ΔW and alpha that most programs read; by default the given ones."""
        return dict(tensors)

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        """Return the tensors of a module (dotted `path`) of a PEFT folder, with what its settings and `shared` tell.

        `config` has all of `peft_settings`, validated, and the module's own rank and alpha; `shared` the tensors of
        `peft_shared` that the folder has.
        """
        return dict(tensors)

    def to_peft(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return a module's tensors as PEFT's file holds them, by short name: the reverse of `from_peft`."""
        return dict(tensors)

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        """Return the settings of PEFT's config for modules, path → (tensors, alpha). `InputError` where PEFT has none."""
        from lorapipe.formats.algorithms._peft_ranks import with_patterns

        ranks = {path: self.rank(tensors) for path, (tensors, _) in modules.items()}
        return with_patterns(self.peft_alpha, ranks, {path: alpha for path, (_, alpha) in modules.items()})

    def peft_projections(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, Tensor]:
        """Return the tensors of `peft_shared` for modules, path → (tensors, alpha)."""
        return {}

    def trained(self, tensors: Mapping[str, AnyTensor]) -> dict[str, AnyTensor]:
        """Return those tensors that are trained: neither flags nor frozen."""
        fixed = self.flags | self.frozen
        return {short: tensor for short, tensor in tensors.items() if short not in fixed}

    def missing(self, tensors: Tensors) -> list[str]:
        """Return the short names of required tensors that are absent."""
        return [short for short in self.keys if short not in self.optional and short not in tensors]

    def flaw(self, tensors: Tensors) -> str:
        """Say why these tensors, none of which is missing, give no ΔW; empty where they do."""
        return ""


def evened(tensors: Tensors, small: str, large: str) -> dict[str, Tensor]:
    """Multiply one factor by a power of two and divide the other by it: the product stays bit-identical.

    After few steps, the factor that started at zero may be so small that fp16 keeps only a bit or two of it.
    """
    low, high = (float(tensors[name].abs().max()) for name in (small, large))
    if not 0 < low < SMALL or high == 0:
        return dict(tensors)
    power = 2.0 ** round(math.log2(high / low) / 2)
    return {**tensors, small: tensors[small] * power, large: tensors[large] / power}


Algorithm.registry = Registry(__name__, Algorithm)  # type: ignore[type-abstract]


def shape_in_words(tensor: Tensor) -> str:
    """Format a shape as `4x16x3x3`; a scalar as `a number`."""
    return "x".join(map(str, tensor.shape)) or "a number"


def numbers(tensor: Tensor) -> list[int]:
    """Return the shape of a factor without trailing 1×1: the same for a Linear and a pointwise convolution."""
    sides = list(tensor.shape)
    return sides[:2] if all(side == 1 for side in sides[2:]) else sides


def shapes_in_words(tensors: Tensors) -> str:
    """Format all shapes as `down is 4x16, up 16x4`."""
    first, *others = (f"{name} {shape_in_words(tensor)}" for name, tensor in tensors.items())
    return ", ".join([first.replace(" ", " is ", 1), *others])
