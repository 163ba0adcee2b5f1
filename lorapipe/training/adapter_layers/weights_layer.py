"""Layer for the tensors of any algorithm, in whatever shapes a file holds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.formats import ModuleWeights
from lorapipe.formats.algorithms import Algorithm, shapes_in_words
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer, device_of, shape_of


class WeightsLayer(AdapterLayer):
    """base(x) + strength · ΔW x with an algorithm's tensors in any shapes; `InputError` where they do not fit the base."""

    def __init__(self, base: torch.nn.Module, module: ModuleWeights) -> None:
        super().__init__(base, Width(module.rank, module.alpha))
        self.algorithm = module.algorithm  # type: ignore[misc]  # of the instance
        self.factors = parameters(module.algorithm, module.tensors, device_of(base))
        _must_fit(base, module)

    def tensors(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.factors)

    def reset(self, generator: torch.Generator) -> None:
        """Do nothing: the weights are given."""


def parameters(algorithm: str, tensors: Mapping[str, Tensor], device: torch.device) -> torch.nn.ParameterDict:
    """Copy an algorithm's tensors as parameters: float32, trainable unless frozen; flags as they are, on the CPU."""
    found, flags, frozen = torch.nn.ParameterDict(), Algorithm.of(algorithm).flags, Algorithm.of(algorithm).frozen
    for name, tensor in tensors.items():
        if name in flags:
            found[name] = torch.nn.Parameter(tensor.to("cpu", copy=True), requires_grad=False)
        else:
            copied = tensor.float().to(device, copy=name not in frozen)
            found[name] = torch.nn.Parameter(copied, requires_grad=name not in frozen)
    return found


def _must_fit(base: torch.nn.Module, module: ModuleWeights) -> None:
    """Compute ΔW's shape on the meta device; `InputError` where it is not the base's."""
    flags, shape, own = Algorithm.of(module.algorithm).flags, shape_of(base), getattr(base, "bias", None)

    def empty(name: str, tensor: Tensor) -> Tensor:
        return tensor if name in flags else torch.empty(tensor.shape, device="meta")

    tensors = {name: empty(name, tensor) for name, tensor in module.tensors.items()}
    weight = torch.empty(shape, device="meta")
    algorithm = Algorithm.of(module.algorithm)
    try:
        delta = algorithm.delta(tensors, module.alpha, weight)
        fits = delta.numel() == weight.numel() and delta.shape[0] == weight.shape[0]
        change = algorithm.delta_bias(module.tensors, None if own is None else torch.zeros(len(own)))
        fits = fits and (change is None or change.numel() == shape[0])
    except (RuntimeError, IndexError):
        fits = False
    if not fits:
        what = f"its shapes are of another weight than {'x'.join(map(str, shape))}: {shapes_in_words(module.tensors)}."
        raise InputError(what, cure="Is it of another base model?")
