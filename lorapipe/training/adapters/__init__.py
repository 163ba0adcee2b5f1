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
from typing import TYPE_CHECKING, ClassVar, Protocol

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

    snapshot_format: ClassVar[str] = "kohya"
    """The registered name of the format of its snapshots; all formats can be evaluated, exported and gone on from."""

    @property
    def has_rates_of_its_own(self) -> bool:
        """Whether some of its parameters learn at another rate than their part; see `Attached.rate_factors`."""
        return False

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """How many numbers it trains in these parts of a base of this footprint; 0 if that cannot be told."""
        return 0

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

    @abstractmethod
    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """The trainable parameters of each part, in a fixed order, float32."""

    def rate_factors(self) -> dict[int, float]:
        """Of parameters (by `id`) that learn at another rate than their part: the factor on it."""
        return {}

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
