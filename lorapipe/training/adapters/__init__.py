"""Adapters: small trainable updates ΔW of a frozen base.

An adapter is a spec (rank, alpha …). `attach` puts trainable modules into a model and returns an `Attached` handle;
its `learned` gives the trained tensors as `AdapterWeights`, its `detach` restores the model exactly.

To add an adapter, create a file here. The algorithm in `lorapipe.formats.algorithms` has the formula of ΔW.
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
    """Parametrisation of the update ΔW, with its hyperparameters."""

    trains: ClassVar[tuple[str, ...]] = ("denoiser", "text_encoder")
    """Roles (`lorapipe.models.Role`) of the parts that it trains; each role has a learning rate."""
    has_norms: ClassVar[bool] = True
    """Whether it updates weights of modules, so that `Attached.limit_norms` has norms to limit."""

    in_place: ClassVar[bool] = False
    """Whether it trains the base's own weights: a snapshot is as large as the base."""
    usual_snapshots: ClassVar[int] = 10
    """Number of snapshots of a training for which none is given; the last is of the last step."""

    formats: ClassVar[tuple[str, ...]] = ()
    """Registered names of the only formats in which other programs read what it learns; empty: as its algorithm says."""
    snapshot_format: ClassVar[str] = "kohya"
    """Registered name of the format of its snapshots; evaluation, export and `start_from` read every format."""
    snapshot_dtype: ClassVar[Literal["fp32", "bf16"]] = "fp32"
    """Dtype of its snapshots."""
    rate_factor: ClassVar[float] = 1.0
    """Factor on the optimizer's default learning rates, which are for LoRA, where the user gives none."""

    @property
    def steps_apart(self) -> bool:
        """Whether each parameter has an optimizer step of its own, so that the optimizer must be `per_parameter`."""
        return False

    @property
    def steps_in_backward(self) -> bool:
        """Whether these steps happen in the backward pass, so that gradients cannot be accumulated."""
        return False

    @property
    def has_rates_of_its_own(self) -> bool:
        """Whether some parameters have another learning rate than their part; see `Attached.rate_factors`."""
        return False

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """Count the trainable parameters in these parts of a base with this footprint; 0 if unknown."""
        return 0

    @property
    def needs_precision(self) -> str:
        """Precision that the base must have; empty: any."""
        return ""

    def bytes_each(self, states: float, precision: int) -> float:
        """Return device memory in bytes per trainable parameter, without the base: parameter, gradient, optimizer state.

        `states` is the number of 4-byte values in the optimizer's state, `precision` the bytes of a base weight.
        """
        return 4 * (2 + states)

    def activations(self, footprint: Footprint, parts: Sequence[str]) -> float:
        """Return what it keeps itself for the backward pass, beside the base, in bytes per pixel of a picture."""
        return 0.0

    def objections(self, base: Family) -> Iterator[Problem]:
        """Yield the settings that this base does not support; each problem's path is a knob. Reads no weights."""
        return iter(())

    @classmethod
    def network_dim(cls, settings: Mapping[str, object]) -> int:
        """Return kohya's `ss_network_dim` for settings in document form; 0 for an adapter without a rank."""
        found = [settings.get(knob.name) for knob in knobs(cls) if "network_dim" in knob.param.kohya]
        return next((value for value in found if isinstance(value, int)), 0)

    @classmethod
    def network_args(cls, settings: Mapping[str, object]) -> dict[str, str]:
        """Return settings in document form as kohya's `network_args`, under the names of `param(kohya=…)`.

        Leaves out rank and alpha, which have metadata keys of their own, and values that are empty or 0.
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
        """Insert the update into the target modules of these parts; ΔW is 0 at first.

        Afterwards only the adapter's parameters require gradients; they are float32. Their initial values depend on
        `seed` and the module's name alone. `InputError` where the model does not support the settings.
        """


class Attachable(Protocol):
    """An adapter, or trained weights, that can be attached to a model."""

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Insert it into these parts of the model."""


class Attached(ABC):
    """Handle of an adapter that is inserted into a model."""

    may_be_flat: ClassVar[bool] = True
    """Whether its parameters may become views of one tensor (`lorapipe.training.flat_parameters`)."""
    steps_in_backward: bool = False
    """Whether optimizer steps happen in the backward pass, which leaves no gradients."""
    steps_apart: bool = False
    """Whether each parameter has an optimizer step of its own, from one device's gradients alone."""

    @abstractmethod
    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """Return the trainable parameters (float32) of each part, in a fixed order."""

    def rate_factors(self) -> dict[int, float]:
        """Map the `id` of a parameter to the factor on its part's learning rate; parameters without an entry have 1."""
        return {}

    def optimized(self, parameter: torch.nn.Parameter) -> torch.nn.Parameter:
        """Return the tensor that the optimizer holds for one of `parameters`."""
        return parameter

    def stepping(self, optimizer: torch.optim.Optimizer, max_grad_norm: float) -> torch.optim.Optimizer:
        """Wrap the optimizer for the training loop; `max_grad_norm` (0: no clipping) is for steps in the backward pass."""
        return optimizer

    def copyable(self, dtype: torch.dtype) -> frozenset[int]:
        """Return the `id`s of the parameters that a pass reads once, and only cast to `dtype`."""
        return frozenset()

    def use_copies(self, copies: Mapping[int, torch.Tensor]) -> None:
        """Let passes with gradients read these tensors in place of parameters: `id` of a `copyable` one → its copy."""
        return

    def refresh(self) -> None:
        """Update what depends on `parameters` after other code has changed them."""
        return

    @abstractmethod
    def learned(self) -> AdapterWeights:
        """Copy the trained tensors, as float32 on the CPU."""

    def snapshot(self, dtype: str) -> AdapterWeights:
        """Return what a snapshot holds: `learned`, or that in the snapshot's `dtype` (fp32, bf16) where memory is short."""
        return self.learned()

    @abstractmethod
    def load(self, weights: AdapterWeights) -> None:
        """Load trained tensors; `InputError` unless their modules are those of `attach`."""

    @abstractmethod
    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """Scale each part's ΔW: `{"transformer": 0.5, "text_encoder": 1.0}`. 0 is the base itself; 1 after `attach`."""

    @abstractmethod
    def limit_norms(self, maximum: float) -> None:
        """Scale down every ΔW whose Frobenius norm exceeds `maximum`, without synchronising with the device.

        kohya's `scale_weight_norms` (`networks/lora.py`, `apply_max_norm_regularization`): modules with large norms
        interfere when several adapters are combined.
        """

    def constrain(self) -> None:
        """Project the parameters onto their constraints after each step, without synchronising with the device."""
        return

    @abstractmethod
    def detach(self) -> None:
        """Remove the update; the model's modules and outputs are then bit-identical to those before `attach`."""
