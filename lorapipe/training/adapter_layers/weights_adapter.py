"""Adapter made from existing weights, trained or computed by any program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.formats.algorithms import numbers
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    from torch.nn import Module, Parameter

    from lorapipe.models import Model
    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class WeightsAdapter:
    """Adapter with the modules, ranks, alphas, embeddings and hypernetwork of existing weights."""

    weights: AdapterWeights

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        """Attach the weights to their parts of the model; `InputError` where they do not fit."""
        from lorapipe.training.adapter_layers import host, hypernetwork_nets, words_attached
        from lorapipe.training.adapter_layers.together import TogetherAttached

        modules = {place: module for place, module in self.weights.modules.items() if place[0] in parts}
        found: list[Attached] = [host.attach_weights(model, AdapterWeights(modules), _layer_of)]
        try:
            if self.weights.embeddings:
                found.append(words_attached.attach_weights(model, self.weights.embeddings))
            if self.weights.hypernetwork is not None:
                found.append(hypernetwork_nets.attach_weights(model, self.weights.hypernetwork))
        except InputError:
            for each in found:
                each.detach()
            raise
        return found[0] if len(found) == 1 else TogetherAttached(found)


@dataclass(frozen=True)
class ReplaceableWeights(WeightsAdapter):
    """The same, but `load` takes weights of any modules, ranks and kinds: snapshots that no one training has made."""

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        return _Replaceable(model, parts, super().attach(model, parts, seed))


class _Replaceable(Attached):
    """Attached weights that are detached when others are loaded."""

    def __init__(self, model: Model, parts: Sequence[str], inner: Attached) -> None:
        self._model, self._parts, self._inner = model, parts, inner

    def parameters(self) -> dict[str, list[Parameter]]:
        return self._inner.parameters()

    def learned(self) -> AdapterWeights:
        return self._inner.learned()

    def load(self, weights: AdapterWeights) -> None:
        self._inner.detach()
        self._inner = WeightsAdapter(weights).attach(self._model, self._parts)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        self._inner.set_strength(strengths)

    def limit_norms(self, maximum: float) -> None:
        self._inner.limit_norms(maximum)

    def detach(self) -> None:
        self._inner.detach()


def _layer_of(base: Module, module: ModuleWeights) -> AdapterLayer:
    """Make the layer of the adapter that trains such tensors, which is the fastest, or else a `WeightsLayer`."""
    from lorapipe.training.adapter_layers.layer import is_norm
    from lorapipe.training.adapter_layers.norm_layer import NormLayer
    from lorapipe.training.adapter_layers.weights_layer import WeightsLayer

    if is_norm(base):
        return NormLayer(base, has_bias="bias" in module.tensors)
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]
    assert contract.registry is not None
    for kind in map(contract.registry.get, contract.registry.names()):
        if issubclass(kind, TargetKnobs) and kind.algorithm == module.algorithm:
            layer = kind().layer(base, Width(module.rank, module.alpha))
            if {name: numbers(tensor) for name, tensor in layer.tensors().items()} == {
                name: numbers(tensor) for name, tensor in module.tensors.items()
            }:
                return layer
    return WeightsLayer(base, module)
