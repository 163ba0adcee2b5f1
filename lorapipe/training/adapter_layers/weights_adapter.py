"""Weights that exist, as an adapter: whoever has trained or computed them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.models import Model
    from lorapipe.training.adapter_layers.block_widths import Width
    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class WeightsAdapter:
    """The modules, ranks and alphas of the weights, in layers of their algorithm's adapter; and their words."""

    weights: AdapterWeights

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Put the weights into the parts of the model that they are of; `InputError` where no adapter has such layers."""
        from lorapipe.training.adapter_layers import host, words_attached
        from lorapipe.training.adapter_layers.together import TogetherAttached

        modules = {place: module for place, module in self.weights.modules.items() if place[0] in parts}
        layers = host.attach_weights(model, AdapterWeights(modules), _layer_of)
        if not self.weights.embeddings:
            return layers
        try:
            return TogetherAttached([layers, words_attached.attach_weights(model, self.weights.embeddings)])
        except InputError:
            layers.detach()
            raise


def _layer_of(algorithm: str) -> Callable[[Module, Width], AdapterLayer]:
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]
    assert contract.registry is not None
    for kind in map(contract.registry.get, contract.registry.names()):
        if issubclass(kind, LoraKnobs) and kind.algorithm == algorithm:
            return kind().layer
    raise InputError(f"no adapter here has {algorithm} layers.")
