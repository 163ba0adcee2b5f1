"""Full fine-tuning: trains a base's own weights; the result is their difference from the original."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, ModuleWeights, Place, torch_dtype
from lorapipe.formats.algorithms import numbers
from lorapipe.training.adapter_layers.in_place_optimizer import InPlaceOptimizer, Weight
from lorapipe.training.adapter_layers.layer import is_norm
from lorapipe.training.adapters import Attached

if TYPE_CHECKING:
    from lorapipe.models import Model

SHORT = {False: ("full", {"weight": "diff", "bias": "diff_b"}), True: ("norm", {"weight": "weight", "bias": "bias"})}
"""Is it a normalisation → the algorithm of its difference, and the short names of weight and bias."""


class FinetunedWeights(Attached):
    """Handle of the weights and biases of the layers at `places`, trained in place.

    `rounded`: bf16 with stochastic rounding, for a base in bf16. `fused`: optimizer steps in the backward pass. The original
    weights stay in host memory, where the checkpoint's file is mapped.
    """

    may_be_flat: ClassVar[bool] = False

    def __init__(self, model: Model, places: Sequence[Place], rounded: bool, fused: bool) -> None:
        self._rounded, self.steps_in_backward, self.steps_apart = rounded, fused, fused or rounded
        self._layers = {place: model.part(place[0]).get_submodule(place[1]) for place in places}
        self._weights: dict[Place, dict[str, Weight]] = {}
        for place, layer in self._layers.items():
            self._weights[place] = {name: _taken(p) for name, p in layer.named_parameters(recurse=False)}
        self._begun = False
        self._loaded: AdapterWeights | None = None
        self._strengths: dict[str, float] = {}
        self._optimizer: InPlaceOptimizer | None = None
        self._stand_ins: dict[int, torch.nn.Parameter] = {}

    def _all(self) -> Iterable[Weight]:
        return (weight for named in self._weights.values() for weight in named.values())

    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """Return the trained weights; the first call allocates them."""
        if not self._begun:
            self._begin()
        found: dict[str, list[torch.nn.Parameter]] = {}
        for (part, _), named in self._weights.items():
            found.setdefault(part, []).extend(weight.kept for weight in named.values())
        return found

    def _begin(self) -> None:
        dtypes = {weight.live.dtype for weight in self._all()}
        if self._rounded and dtypes != {torch.bfloat16}:
            what = f"weights: bf16 needs a base in bf16, and it is held in {', '.join(sorted(map(str, dtypes)))}."
            cure = "Write precision: bf16 in the training, or weights: fp32."
            raise InputError(what.replace("torch.", ""), where="adapter", cure=cure)
        if self.steps_in_backward and torch.float16 in dtypes:
            what = "fp16 scales the loss, and fused_backward has stepped before an overflow can be seen."
            raise InputError(what, where="adapter", cure="Write precision: bf16, or fused_backward: false.")
        for weight in self._all():
            weight.begin(self._rounded)
        self._begun = True
        if self._loaded is not None:
            self._put(self._loaded, {})

    def optimized(self, parameter: torch.nn.Parameter) -> torch.nn.Parameter:
        if not self._stand_ins:
            self._stand_ins = {
                id(weight.kept): weight.learning for weight in self._all() if weight.learning is not None
            }
        return self._stand_ins.get(id(parameter), parameter)

    def stepping(self, optimizer: torch.optim.Optimizer, max_grad_norm: float) -> torch.optim.Optimizer:
        self._optimizer = InPlaceOptimizer(optimizer, [*self._all()], self.steps_in_backward, max_grad_norm)
        return self._optimizer

    def refresh(self) -> None:
        for weight in self._all():
            weight.refresh()

    def learned(self) -> AdapterWeights:
        return self._changes(torch.float32)

    def snapshot(self, dtype: str) -> AdapterWeights:
        return self._changes(torch_dtype(dtype))

    @torch.no_grad()
    def _changes(self, dtype: torch.dtype) -> AdapterWeights:
        modules = {}
        for place, named in self._weights.items():
            algorithm, short = SHORT[is_norm(self._layers[place])]
            tensors = {short[name]: _difference(weight).to(dtype).contiguous() for name, weight in named.items()}
            modules[place] = ModuleWeights(algorithm, tensors, 1.0)
        return AdapterWeights(modules)

    def load(self, weights: AdapterWeights) -> None:
        if odd := self._weights.keys() ^ weights.modules.keys():
            part, path = min(odd)
            raise InputError(f"the weights are of other layers than those trained: {part} {path} is only in one.")
        self._loaded, self._strengths = weights, {}
        self._put(weights, {})

    def _put(self, weights: AdapterWeights, strengths: Mapping[str, float]) -> None:
        """Set every layer to W + strength · (W' − W); parts without a strength have 1."""
        for (part, path), named in self._weights.items():
            module = weights.modules[part, path]
            algorithm, short = SHORT[is_norm(self._layers[part, path])]
            if module.algorithm != algorithm or module.tensors.keys() != {short[name] for name in named}:
                what = f"{part} {path} is {module.algorithm} ({', '.join(module.tensors)}) in the weights."
                raise InputError(
                    what, cure="It must be of a fine-tune, or of the kind full of all modules, with norms."
                )
            for name, weight in named.items():
                change = module.tensors[short[name]]
                if numbers(change) != numbers(weight.original):
                    shape, wanted = ("x".join(map(str, each.shape)) for each in (change, weight.original))
                    what = f"{part} {path}: {short[name]} is {shape} in the weights, and {wanted} here."
                    raise InputError(what, cure="Is it of another base model?")
                change = change.float().reshape(weight.original.shape) * strengths.get(part, 1.0)
                weight.set(weight.original.float() + change)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """Interpolate from the base (0) to the trained weights (1), or extrapolate."""
        parts = {part for part, _ in self._weights}
        wanted = self._strengths | {part: each for part, each in strengths.items() if part in parts}
        if {part: wanted.get(part, 1.0) for part in parts} == {part: self._strengths.get(part, 1.0) for part in parts}:
            return
        self._loaded = self._loaded or self.learned()
        self._put(self._loaded, wanted)
        self._strengths = wanted

    def limit_norms(self, maximum: float) -> None:
        """Do nothing: fine-tuned bases are not combined like adapters."""

    def detach(self) -> None:
        if self._optimizer is not None:
            self._optimizer.remove_hooks()
        for weight in self._all():
            weight.restore()


def _taken(live: torch.nn.Parameter) -> Weight:
    """Prepare a parameter for training in place; a copy of its original values stays in host memory."""
    original = live.data.to("cpu")
    if original is live.data or original.data_ptr() == live.data.data_ptr():
        live.data = live.data.clone()
    return Weight(live, original)


def _difference(weight: Weight) -> Tensor:
    """Return W' − W as float32 on the CPU."""
    return weight.kept.detach().to("cpu", torch.float32) - weight.original.float()
