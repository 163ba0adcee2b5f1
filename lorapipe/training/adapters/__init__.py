"""Adapters: small trainable updates ΔW of a frozen base.

An adapter is a spec (rank, alpha …); `attach` puts trainable modules into a model and gives an `Attached` handle,
whose `detach` leaves the model exactly as it was. What has been learnt leaves as `AdapterWeights`, which know nothing of
how they were trained.

To add one, create a file here. ΔW's formula lives with the algorithm in `lorapipe.formats`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from lorapipe.errors import Problem
from lorapipe.spec import Spec, knobs

if TYPE_CHECKING:
    import torch

    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Family, Footprint, Model


@dataclass(frozen=True)
class Adapter(Spec, contract="type"):
    """How the update is parametrised."""

    trains: ClassVar[tuple[str, ...]] = ("denoiser", "text_encoder")
    """The roles (`lorapipe.models.Role`) of what it changes, and so which learning rates it has."""
    has_norms: ClassVar[bool] = True
    """Whether there is a ΔW of modules, whose norms `Attached.limit_norms` limits."""

    in_place: ClassVar[bool] = False
    """Whether the base's own weights are trained: snapshots are as large as the base, and there is one, at the end."""

    snapshot_format: ClassVar[str] = "kohya"
    """The registered name of the format of its snapshots; all formats can be evaluated, exported and gone on from."""
    snapshot_dtype: ClassVar[Literal["fp32", "bf16"]] = "fp32"
    """The numbers of its snapshots."""
    rate_factor: ClassVar[float] = 1.0
    """What the optimizer's usual rates, which are for LoRA, are multiplied by where the user gives none."""

    @property
    def steps_apart(self) -> bool:
        """Whether each parameter is stepped for itself, so that the optimizer must be `per_parameter`."""
        return False

    @property
    def steps_in_backward(self) -> bool:
        """Whether that happens in the backward pass, which leaves no gradients to accumulate."""
        return False

    @property
    def has_rates_of_its_own(self) -> bool:
        """Whether some of its parameters learn at another rate than their part; see `Attached.rate_factors`."""
        return False

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """How many numbers it trains in these parts of a base of this footprint; 0 if that cannot be told."""
        return 0

    @property
    def needs_precision(self) -> str:
        """The precision in which the base must be held; empty: any."""
        return ""

    def bytes_each(self, states: float, precision: int) -> float:
        """Bytes on the device, beside the base, for each number that it trains: the number, its gradient, the optimizer's.

        The optimizer has `states` of 4 bytes; `precision` is the bytes of each of the base's numbers.
        """
        return 4 * (2 + states)

    def objections(self, base: Family) -> Iterator[Problem]:
        """What this base cannot do of its settings; paths are its knobs. Reads no weights."""
        return iter(())

    @classmethod
    def network_dim(cls, settings: Mapping[str, object]) -> int:
        """What kohya's metadata calls its rank, of settings in document form; 0 where it has none."""
        found = [settings.get(knob.name) for knob in knobs(cls) if "network_dim" in knob.param.kohya]
        return next((value for value in found if isinstance(value, int)), 0)

    @classmethod
    def network_args(cls, settings: Mapping[str, object]) -> dict[str, str]:
        """Its settings in document form as kohya's `network_args`, by the names that `param(kohya=…)` gives.

        Without rank and alpha, which have metadata of their own, and what is empty or 0.
        """
        found: dict[str, str] = {}
        for knob in knobs(cls):
            value = settings.get(knob.name)
            name = next(iter(knob.param.kohya), "")
            if value and name and name not in ("network_dim", "network_alpha"):
                text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
                found[name.removeprefix("network_")] = text
        return found

    @abstractmethod
    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Add the update, zero at first, to the targets of the given parts; only it requires gradients, in float32.

        The initial values are a function of `seed` and the module's name alone.
        """


class Attachable(Protocol):
    """An adapter, or weights that can be attached as they are."""

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Put it into the given parts."""


class Attached(ABC):
    """An adapter inside a model."""

    may_be_flat: ClassVar[bool] = True
    """Whether its parameters may become views of one tensor (`lorapipe.training.flat_parameters`)."""
    steps_in_backward: bool = False
    """Whether parameters are stepped in the backward pass: there are no gradients after it."""
    steps_apart: bool = False
    """Whether each parameter is stepped for itself, by what one device alone knows."""

    @abstractmethod
    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """The trainable parameters of each part, in a fixed order, float32."""

    def rate_factors(self) -> dict[int, float]:
        """Of parameters (by `id`) that learn at another rate than their part: the factor on it."""
        return {}

    def optimized(self, parameter: torch.nn.Parameter) -> torch.nn.Parameter:
        """What the optimizer has in the place of one of `parameters`."""
        return parameter

    def stepping(self, optimizer: torch.optim.Optimizer, max_grad_norm: float) -> torch.optim.Optimizer:
        """The optimizer as training is to call it; `max_grad_norm` (0: none) is for what steps in the backward pass."""
        return optimizer

    def refresh(self) -> None:
        """Take notice that somebody else has changed `parameters`."""
        return

    @abstractmethod
    def learned(self) -> AdapterWeights:
        """A copy of what has been learnt, float32 on the CPU."""

    @abstractmethod
    def load(self, weights: AdapterWeights) -> None:
        """Put weights in; the modules must be the same as at `attach`."""

    @abstractmethod
    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """Scale ΔW of each part: `{"transformer": 0.5, "text_encoder": 1.0}`; 0 is the base itself. 1 after `attach`."""

    @abstractmethod
    def limit_norms(self, maximum: float) -> None:
        """Shrink every module's ΔW whose Frobenius norm is above `maximum` to it; without waiting for the device.

        kohya's `scale_weight_norms` (`networks/lora.py`, `apply_max_norm_regularization`): hot modules are what makes
        adapters clash with each other.
        """

    def constrain(self) -> None:
        """Bring the parameters back to where they may be, after each step; without waiting for the device."""
        return

    @abstractmethod
    def detach(self) -> None:
        """Take the update out: the model's modules and outputs are bit for bit what they were."""
