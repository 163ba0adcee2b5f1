"""A hypernetwork inside a model: forward pre-hooks of attention's `to_k` and `to_v` that transform their input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Hypernetwork
from lorapipe.training.adapter_layers.context_sites import sites
from lorapipe.training.adapters import Attached

if TYPE_CHECKING:
    from lorapipe.models import Model

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "linear": nn.Identity, "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "softsign": nn.Softsign, "mish": nn.Mish, "swish": nn.Hardswish,
}  # fmt: skip


class ContextNet(nn.Module):
    """x + strength · f(x), in float32. Dropout acts only while gradients are enabled, so never in sampling."""

    strength: float = 1.0

    def __init__(
        self, layers: Sequence[nn.Module], activation: str, activate_output: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = dropout
        last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear))
        self._activated = {
            place
            for place, layer in enumerate(layers)
            if isinstance(layer, nn.Linear) and (place < last or activate_output)
        }
        self._last = len(layers) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Transform a context (…, width)."""
        if not self.strength:
            return x
        found = x.float()
        for place, layer in enumerate(self.layers):
            found = layer(found)
            if place in self._activated:
                found = self.activation(found)
            if self.dropout and place < self._last and torch.is_grad_enabled():
                found = nn.functional.dropout(found, self.dropout)
        return x + (self.strength * found).to(x.dtype)


def attach_weights(model: Model, weights: Hypernetwork) -> Attached:
    """Attach trained networks to the denoiser; `InputError` where it has no context of their widths."""
    known = {width for _, width, _ in sites(model)}
    if not known & weights.nets.keys():
        ours, theirs = (", ".join(map(str, sorted(each))) for each in (known, weights.nets))
        raise InputError(
            f"the hypernetwork is for contexts of {theirs}, this base's are of {ours}.", cure="Of which is it?"
        )
    nets = {
        (width, which): ContextNet([*map(_layer, layers)], weights.activation, weights.activate_output)
        for width, of_width in weights.nets.items()
        for which, layers in enumerate(of_width)
    }
    return HypernetworkAttached(model, nets, weights.activation, weights.activate_output)


def _layer(tensors: tuple[Tensor, Tensor | None]) -> nn.Module:
    weight, bias = tensors
    layer: nn.Linear | nn.LayerNorm
    if weight.dim() == 2:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    else:
        layer = nn.LayerNorm(len(weight), bias=bias is not None)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer


class HypernetworkAttached(Attached):
    """Handle of a hypernetwork inside a model; `nets` maps (context width, 0 for keys or 1 for values) to a network."""

    def __init__(
        self, model: Model, nets: Mapping[tuple[int, int], ContextNet], activation: str, activate_output: bool
    ) -> None:
        self._denoiser = model.denoiser
        self._nets = {place: net.to(model.device) for place, net in nets.items()}
        self._activation, self._activate_output = activation, activate_output
        root = model.part(model.denoiser)
        self._hooks = [
            root.get_submodule(path).register_forward_pre_hook(_hook(self._nets[width, which]))
            for path, width, which in sites(model)
            if (width, which) in self._nets
        ]

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        return {self._denoiser: [each for net in self._nets.values() for each in net.parameters()]}

    def learned(self) -> AdapterWeights:
        return AdapterWeights(
            hypernetwork=self._as_it_is(lambda each: each.detach().to("cpu", torch.float32, copy=True))
        )

    def load(self, weights: AdapterWeights) -> None:
        theirs = weights.hypernetwork.tensors() if weights.hypernetwork else {}
        told = (weights.hypernetwork.activation, weights.hypernetwork.activate_output) if weights.hypernetwork else ()
        ours = self._as_it_is(lambda each: each).tensors()
        shapes = {key: tensor.shape for key, tensor in ours.items()}
        if {key: tensor.shape for key, tensor in theirs.items()} != shapes or told != (
            self._activation,
            self._activate_output,
        ):
            what = "the weights are no hypernetwork of this structure and activation."
            raise InputError(what, cure="Use the adapter that they were trained with.")
        with torch.no_grad():
            for key, tensor in theirs.items():
                ours[key].copy_(tensor)

    def _as_it_is(self, taken: Callable[[Tensor], Tensor]) -> Hypernetwork:
        """Return the hypernetwork with `taken` applied to every parameter."""

        def layers(net: ContextNet) -> tuple[tuple[Tensor, Tensor | None], ...]:
            found = [{name: taken(each) for name, each in layer.named_parameters()} for layer in net.layers]
            return tuple((each["weight"], each.get("bias")) for each in found)

        widths = dict.fromkeys(width for width, _ in self._nets)
        nets = {width: (layers(self._nets[width, 0]), layers(self._nets[width, 1])) for width in widths}
        return Hypernetwork(nets, self._activation, self._activate_output)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """Set the factor in x + strength · f(x), as in A1111 and ComfyUI."""
        if self._denoiser in strengths:
            for net in self._nets.values():
                net.strength = strengths[self._denoiser]

    def limit_norms(self, maximum: float) -> None:
        """Do nothing: a hypernetwork has no ΔW."""

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()


def _hook(net: ContextNet) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def change(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return net(arguments[0]), *arguments[1:]

    return change
