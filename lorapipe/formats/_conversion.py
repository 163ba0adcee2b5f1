"""An update in another form: as a LoRA, by singular values, or as the dense difference. For programs that read no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lorapipe.formats._weights import AdapterWeights, ModuleWeights, Place
from lorapipe.formats.algorithms import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["lora", "diff"]
EXACT_SIDE = 512
"""Up to this many rows or columns all singular values are found; beyond, the largest, by random projection."""
OVERSAMPLING, ITERATIONS = 16, 4
"""Further directions and power iterations of that (Halko et al. 2011, arXiv:0909.4061): within 1 % of the best error."""


@dataclass(frozen=True)
class Converted:
    """Weights in another form. `error` is ‖ΔW' − ΔW‖ / ‖ΔW‖ over all modules; `biases` counts changes that were lost."""

    weights: AdapterWeights
    error: float
    biases: int


def converted(
    weights: AdapterWeights,
    form: Form,
    rank: int,
    shape: Callable[[Place], tuple[int, ...]],
    weight: Callable[[Place], Tensor],
) -> Converted:
    """The weights with every module that is not of the form yet brought into it.

    `shape` and `weight` give those of a module in the base; W is asked for where ΔW depends on it. Normalisations, which are
    vectors, stay as they are. A LoRA has no biases.
    """
    modules, lost, whole, biases = {}, 0.0, 0.0, 0
    for place, module in weights.modules.items():
        if module.algorithm == "norm" or (module.algorithm, form) == ("full", "diff") or _is_plain_lora(module, form):
            modules[place] = module
            continue
        base = weight(place) if module.needs_weight else None
        delta, bias = module.delta(base).reshape(shape(place)), module.delta_bias()
        if form == "diff":
            tensors = {"diff": delta} | ({} if bias is None else {"diff_b": bias})
            modules[place] = ModuleWeights("full", tensors, float(Algorithm.of("full").rank(tensors)))
            continue
        modules[place] = low_rank(delta, rank)
        biases += bias is not None
        lost += float((modules[place].delta() - delta).square().sum())
        whole += float(delta.square().sum())
    return Converted(replace(weights, modules=modules), (lost / whole) ** 0.5 if whole else 0.0, biases)


def low_rank(delta: Tensor, rank: int) -> ModuleWeights:
    """The LoRA of a rank that is nearest to a ΔW (out, in[, k, k]), its scale split evenly between down and up."""
    import torch

    (out, inputs, *kernel), flat = delta.shape, delta.flatten(1)
    rank = min(rank, *flat.shape)
    if min(flat.shape) <= EXACT_SIDE:
        left, values, right = torch.linalg.svd(flat, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            wide = min(rank + OVERSAMPLING, *flat.shape)
            left, values, right = torch.svd_lowrank(flat, wide, niter=ITERATIONS)
        right = right.T
    root = values[:rank].sqrt()
    up, down = left[:, :rank] * root, root[:, None] * right[:rank]
    tensors = {"down": down.reshape(rank, inputs, *kernel), "up": up.reshape(out, rank, *[1 for _ in kernel])}
    return ModuleWeights("lora", {name: tensor.contiguous() for name, tensor in tensors.items()}, float(rank))


def _is_plain_lora(module: ModuleWeights, form: Form) -> bool:
    return form == "lora" and module.algorithm == "lora" and module.tensors.keys() == {"down", "up"}
