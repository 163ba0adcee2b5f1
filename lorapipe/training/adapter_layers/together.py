"""Several adapters in one model, as pivotal tuning trains an embedding and a LoRA together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.formats import EMBEDDING, AdapterWeights
from lorapipe.training.adapters import Attachable, Attached

if TYPE_CHECKING:
    import torch
    from torch.nn import Parameter

    from lorapipe.models import Model


@dataclass(frozen=True)
class Together:
    """Adapters that train different things; their results are one `AdapterWeights`."""

    adapters: Sequence[Attachable]

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Attach all of them; if one fails, none stays attached."""
        of_the_model = [part for part in parts if part != EMBEDDING]
        with ExitStack() as stack:
            found = []
            for adapter in self.adapters:
                found.append(adapter.attach(model, of_the_model, seed))
                stack.callback(found[-1].detach)
            stack.pop_all()
        return TogetherAttached(found)


class TogetherAttached(Attached):
    """Handle of several adapters inside a model."""

    def __init__(self, adapters: Sequence[Attached]) -> None:
        self._adapters = adapters

    def parameters(self) -> dict[str, list[Parameter]]:
        found: dict[str, list[Parameter]] = {}
        for adapter in self._adapters:
            for part, parameters in adapter.parameters().items():
                found.setdefault(part, []).extend(parameters)
        return found

    def rate_factors(self) -> dict[int, float]:
        return {name: factor for adapter in self._adapters for name, factor in adapter.rate_factors().items()}

    def copyable(self, dtype: torch.dtype) -> frozenset[int]:
        return frozenset().union(*(adapter.copyable(dtype) for adapter in self._adapters))

    def use_copies(self, copies: Mapping[int, torch.Tensor]) -> None:
        for adapter in self._adapters:
            adapter.use_copies(copies)

    def learned(self) -> AdapterWeights:
        all_learned = [adapter.learned() for adapter in self._adapters]
        return AdapterWeights(
            {place: module for each in all_learned for place, module in each.modules.items()},
            {word: vectors for each in all_learned for word, vectors in each.embeddings.items()},
            next((each.hypernetwork for each in all_learned if each.hypernetwork is not None), None),
        )

    def load(self, weights: AdapterWeights) -> None:
        for adapter in self._adapters:
            adapter.load(weights)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        for adapter in self._adapters:
            adapter.set_strength(strengths)

    def limit_norms(self, maximum: float) -> None:
        for adapter in self._adapters:
            adapter.limit_norms(maximum)

    def constrain(self) -> None:
        for adapter in self._adapters:
            adapter.constrain()

    def detach(self) -> None:
        for adapter in self._adapters:
            adapter.detach()
