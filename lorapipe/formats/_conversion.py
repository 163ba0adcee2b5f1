"""Conversion of updates to a LoRA (truncated SVD) or to the dense difference, for programs that read nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lorapipe.formats._weights import AdapterWeights, ModuleWeights, Place
from lorapipe.formats.algorithms import Algorithm

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["lora", "diff"]
CLOSE = 1e-4
"""The error of a LoRA is within this share of the best possible one."""


@dataclass(frozen=True)
class Converted:
    """Converted weights. `error` is ‖ΔW' − ΔW‖ / ‖ΔW‖ over all modules; `biases` is the number of Δb that were dropped."""

    weights: AdapterWeights
    error: float
    biases: int


def converted(
    weights: AdapterWeights,
    form: Form,
    rank: int,
    shape: Callable[[Place], tuple[int, ...]],
    weight: Callable[[Place], Tensor],
    bias: Callable[[Place], Tensor | None],
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Converted:
    """Convert every module to a form, `lora` of at most this rank or `diff`; modules of that form stay.

    `shape`, `weight` and `bias` return the shape, W and bias of a module in the base; only where the update depends on them
    are W and the bias needed.
    Normalisations, which are vectors, stay. A LoRA has no biases. `tell` gets the number of modules done, and of all.
    """
    modules: dict[Place, ModuleWeights] = {}
    lost, whole, biases = 0.0, 0.0, 0
    for place, module in weights.modules.items():
        tell(len(modules), len(weights.modules))
        if module.algorithm == "norm" or (module.algorithm, form) == ("full", "diff") or _is_plain_lora(module, form):
            modules[place] = module
            continue
        base, own = weight(place) if module.needs_weight else None, bias(place) if module.needs_bias else None
        delta, moved = module.delta(base).reshape(shape(place)), module.delta_bias(own)
        if form == "diff":
            tensors = {"diff": delta} | ({} if moved is None else {"diff_b": moved})
            modules[place] = ModuleWeights("full", tensors, float(Algorithm.of("full").rank(tensors)))
            continue
        modules[place] = low_rank(delta, rank)
        biases += moved is not None
        lost += float((modules[place].delta() - delta).square().sum())
        whole += float(delta.square().sum())
    return Converted(replace(weights, modules=modules), (lost / whole) ** 0.5 if whole else 0.0, biases)


def low_rank(delta: Tensor, rank: int) -> ModuleWeights:
    """Return the best rank-r approximation of ΔW (out, in[, k, k]), as down = √Σ Vᵀ and up = U √Σ."""
    import torch

    from lorapipe.lora_tools.truncated_svd import RankRule, truncated_svd

    out, inputs, *kernel = delta.shape
    found = truncated_svd(delta.flatten(1), RankRule(rank), tolerance=CLOSE)
    (up, down), rank = (torch.from_numpy(each).to(delta.device) for each in found.factors()), max(1, found.rank)
    if not found.rank:  # of no update: one direction of zeros
        up, down = delta.new_zeros(out, 1), delta.new_zeros(1, down.shape[1])
    tensors = {"down": down.reshape(rank, inputs, *kernel), "up": up.reshape(out, rank, *[1 for _ in kernel])}
    return ModuleWeights("lora", {name: tensor.contiguous() for name, tensor in tensors.items()}, float(rank))


def _is_plain_lora(module: ModuleWeights, form: Form) -> bool:
    return form == "lora" and module.algorithm == "lora" and module.tensors.keys() == {"down", "up"}
