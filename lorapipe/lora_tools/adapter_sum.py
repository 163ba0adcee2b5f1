"""Sum adapters to one: Σ strength · ΔW, exactly by concatenation of the factors, or re-compressed to a rank.

Concatenated, [s₁·up₁ | s₂·up₂] · [down₁; down₂] is the sum itself, of rank r₁ + r₂. sd-scripts' `networks/merge_lora.py`
adds up and down by themselves instead, which gives cross terms up₁ · down₂. Re-compression takes the QR decomposition of
both factors and the singular values of their small core, so no matrix of the module's size is decomposed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, ModuleWeights, Names, Place
from lorapipe.formats._conversion import low_rank
from lorapipe.lora_tools.checkpoint_tensors import CheckpointTensors
from lorapipe.lora_tools.factored_svd import factor_svd
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.publication import unpublished
from lorapipe.lora_tools.saved_adapter import require_room, require_saved
from lorapipe.lora_tools.weighted_adapters import Term, WeightedAdapter, WeightedFile, read_adapters, terms_by_module
from lorapipe.models import Family
from lorapipe.percent import percent

Weight = Callable[[Place, str], Tensor]
"""Returns a tensor of the base, by place and `weight` or `bias`, in float32."""


class SumReport(NamedTuple):
    """What a sum holds. `error` is ‖ΔW' − ΔW‖ / ‖ΔW‖ over all modules, before rounding; `dense` is the number of modules
    written as dense differences; `biases` is the number of Δb that a LoRA has no place for."""

    modules: int
    rank: int
    error: float
    dense: int
    biases: int

    def in_words(self) -> str:
        """Return the report as a sentence or two."""
        ranks = f" of rank {self.rank}" if self.rank else ""
        exact = f"with an error of {percent(self.error, 1)} (of the norm of ΔW)" if self.error > 1e-6 else "exact"
        text = f"{self.modules} modules{ranks}, {exact}"
        text += f"; {self.dense} of them are dense differences: set a rank for a small file" if self.dense else ""
        return text + (f"; changes of {self.biases} biases are left out" if self.biases else "")


@dataclass
class _Loss:
    lost: float = 0.0
    whole: float = 0.0
    dense: int = 0
    biases: int = 0


def summed(
    adapters: Sequence[WeightedAdapter], base: Family, rank: int | None, weight: Weight, tell: Tell = silent
) -> tuple[AdapterWeights, SumReport]:
    """Return the weighted sum of adapters, and what it holds.

    Without `rank`, LoRAs are concatenated, and sums with other kinds are dense differences: both are exact. With it, every
    module is the best LoRA of that rank. `weight` is needed where ΔW depends on the base's W (DoRA, OFT).
    """
    terms, loss = terms_by_module(adapters, base), _Loss()
    modules: dict[Place, ModuleWeights] = {}
    for place, of_place in terms.items():
        tell(len(modules), len(terms))
        modules[place] = _module(of_place, rank, partial(weight, place), loss)
    if not modules:
        raise InputError("nothing is left: all strengths are 0.", cure="Give a strength above 0.")
    error = (loss.lost / loss.whole) ** 0.5 if loss.whole else 0.0
    most = max((each.rank for each in modules.values() if each.algorithm == "lora"), default=0)
    report = SumReport(len(modules), most, error, loss.dense, loss.biases)
    return AdapterWeights(modules, _words(adapters)), report


def _words(adapters: Sequence[WeightedAdapter]) -> dict[str, Mapping[str, Tensor]]:
    """Return the words of all adapters, at full strength. `InputError` where two teach the same word."""
    found: dict[str, Mapping[str, Tensor]] = {}
    for adapter in adapters:
        for word, vectors in adapter.weights.embeddings.items():
            if word in found:
                what = f"teaches {word}, as another of the files does."
                raise InputError(what, where=str(adapter.path), cure="Export one of them with what: adapter.")
            found[word] = vectors
    return found


def _module(terms: Sequence[Term], rank: int | None, weight: Callable[[str], Tensor], loss: _Loss) -> ModuleWeights:
    """Return the sum of one module's updates."""
    if all(term.module.algorithm == "norm" for term in terms):
        return _norm(terms)
    factors = [found for term in terms if (found := _factors(term)) is not None]
    if len(factors) < len(terms):
        return _of_dense(*_dense(terms, weight), rank, loss)
    up, down = torch.cat([up for up, _ in factors], 1), torch.cat([down for _, down in factors])
    wanted = min(rank or down.shape[0], up.shape[0], down[0].numel())
    if wanted < down.shape[0]:
        return _recompressed(up, down, wanted, loss)
    loss.whole += float(_square(up, down))
    return _lora(up, down)


def _of_dense(delta: Tensor, bias: Tensor | None, rank: int | None, loss: _Loss) -> ModuleWeights:
    """Return a dense update as it is, or as the best LoRA of a rank."""
    loss.whole += float(delta.square().sum())
    if rank is None:
        loss.dense += 1
        biases = {} if bias is None else {"diff_b": bias}
        return ModuleWeights("full", {"diff": delta, **biases}, float(delta.shape[0]))
    loss.biases += bias is not None
    found = low_rank(delta, rank)
    loss.lost += float((found.delta() - delta).square().sum())
    return found


def _factors(term: Term) -> tuple[Tensor, Tensor] | None:
    """Return strength · ΔW of a LoRA as up (out, r) and down (r, in[, k, k]), in float32; None for other kinds."""
    module = term.module
    if module.algorithm != "lora" or module.needs_weight:
        return None
    tensors = {name: tensor.float() for name, tensor in module.tensors.items()}
    up, down = tensors["up"].flatten(1), tensors["down"]
    if "mid" in tensors:
        down = torch.einsum("rskl,si->rikl", tensors["mid"], down.flatten(1))
    return up * (term.strength * module.scale), down


def _lora(up: Tensor, down: Tensor) -> ModuleWeights:
    """Return the LoRA of factors up (out, r) and down (r, in[, k, k])."""
    up = up.reshape(*up.shape, *[1] * (down.dim() - 2)).contiguous()
    return ModuleWeights("lora", {"down": down.contiguous(), "up": up}, float(down.shape[0]))


def _recompressed(up: Tensor, down: Tensor, rank: int, loss: _Loss) -> ModuleWeights:
    """Return the best approximation of up · down of a lower rank, by QR of both factors."""
    found = factor_svd(up.numpy(), down.flatten(1).numpy(), lambda values: rank)
    loss.whole += found.total
    loss.lost += found.total * (1 - found.kept)
    upper, lower = map(torch.from_numpy, found.factors())
    return _lora(upper, lower.reshape(rank, *down.shape[1:]))


def _square(up: Tensor, down: Tensor) -> Tensor:
    """Return ‖up · down‖² without the product."""
    flat = down.flatten(1)
    return ((up.T @ up) * (flat @ flat.T)).sum().clamp(min=0)


def _dense(terms: Sequence[Term], weight: Callable[[str], Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return Σ strength · ΔW and Σ strength · Δb of modules of any kind."""
    total, bias = None, None
    for term in terms:
        module = term.module
        delta = module.delta(weight("weight") if module.needs_weight else None) * term.strength
        total = delta if total is None else total + delta.reshape(total.shape)
        moved = module.delta_bias(weight("bias") if module.needs_bias else None)
        if moved is not None:
            bias = moved * term.strength if bias is None else bias + moved * term.strength
    assert total is not None
    return total, bias


def _norm(terms: Sequence[Term]) -> ModuleWeights:
    """Return the sum of updates of a normalisation."""
    found: dict[str, Tensor] = {}
    for term in terms:
        for name, tensor in term.module.tensors.items():
            moved = tensor.float() * term.strength
            found[name] = found[name] + moved if name in found else moved
    return ModuleWeights("norm", found, terms[0].module.alpha)


# ------------------------------------------------------------------------------------------------------------- the file


def base_weight(base: Family) -> Weight:
    """Return a function that reads tensors of the base's files. `InputError`, when called, where there is no base."""

    @cache
    def tensors() -> CheckpointTensors:
        return CheckpointTensors(base)

    def read(place: Place, kind: str) -> Tensor:
        if base.is_pending:
            what = "depends on the base's weights (DoRA, OFT …), and no base is given."
            raise InputError(what, where=" ".join(place), cure="Use the stage merge_loras with a base.")
        name = (place[0], f"{place[1]}.{kind}")
        if name not in tensors():
            raise InputError(f"has no {kind} of {' '.join(place)}.", where=str(base.checkpoint.path))
        return tensors().stored(name).float()

    return read


def merge_loras(
    base: Family,
    names: Names,
    inputs: Sequence[WeightedFile],
    target: Path,
    format: Format,
    *,
    rank: int | None = None,
    dtype: str = "fp16",
    metadata: Callable[[AdapterWeights, Sequence[WeightedAdapter]], Mapping[str, str]],
    tell: Tell = silent,
) -> SumReport:
    """Write the weighted sum of adapters to a file, and read it back. `InputError` with the problems of all files."""
    adapters = read_adapters(inputs, base, names)
    total, report = summed(adapters, base, rank, base_weight(base), tell)
    fields = metadata(total, adapters)
    require_room(target, total)
    with unpublished(target) as part:
        formats.save(total, names, part, format, dtype=dtype, metadata=lambda tensors: fields)
        require_saved(total, part, names, target, dtype)
    return report
