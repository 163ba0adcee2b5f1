"""Write an adapter's file tensor by tensor, read it back, and publish it as a whole.

A file is checked before it appears: every module's ΔW, as read from it, is multiplied with random vectors, and the product
compared with that of the update which was computed. Nothing is left behind where that fails, or where a user interrupts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, LorapipeError
from lorapipe.formats import ModuleWeights
from lorapipe.formats.algorithms import Algorithm
from lorapipe.lora_tools.publication import require_other
from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.models._safetensors_writer import Entry, write
from lorapipe.models._weight_files import torch_dtype

Dtype = Literal["fp32", "fp16", "bf16"]
VECTORS = 4
ROUNDING = {"fp32": 1e-5, "fp16": 2**-8, "bf16": 2**-5}
"""Largest relative error of ΔW · x in a file: rounding of both factors, with a margin."""
ALPHA = "alpha"


@dataclass(frozen=True)
class ModuleTensors:
    """The tensors of one module for a file: short name → its key, and the tensor or a function that computes it.

    `alpha_key` is empty where the file has no alpha for the module; then alpha is the rank. `wanted` is ΔW · x of the update
    that they stand for, with x of `probe`; None where that is not checked.
    """

    algorithm: str
    keys: Mapping[str, str]
    values: Mapping[str, Tensor | Callable[[], Tensor]]
    shapes: Mapping[str, tuple[int, ...]]
    alpha: float = 0.0
    alpha_key: str = ""
    wanted: Tensor | None = None


def probe(count: int) -> Tensor:
    """Return standard normal vectors (count, `VECTORS`), always the same."""
    return torch.randn(count, VECTORS, generator=torch.Generator().manual_seed(1))


def product(module: ModuleWeights, vectors: Tensor) -> Tensor:
    """Return ΔW · x (out, `VECTORS`) of a LoRA, without a DoRA's magnitudes, or of a dense difference."""
    tensors = module.tensors
    if module.algorithm == "lora" and "mid" not in tensors:
        return module.scale * (tensors["up"].float().flatten(1) @ (tensors["down"].float().flatten(1) @ vectors))
    return module.delta().flatten(1) @ vectors


def bytes_of(shapes: Sequence[Sequence[int]], dtype: Dtype) -> int:
    """Return the size of tensors in a file."""
    return sum(map(math.prod, shapes)) * torch_dtype(dtype).itemsize


def write_adapter(
    target: Path,
    modules: Sequence[ModuleTensors],
    dtype: Dtype,
    metadata: Callable[[str], Mapping[str, str]],
    others: Mapping[str, Tensor] | None = None,
) -> float:
    """Write modules, and `others` as they are, and return the largest relative error of a module's ΔW · x.

    `metadata` takes the SHA-256 of the tensors' bytes. `LorapipeError` where the file does not hold what was computed; then
    there is none.
    """
    entries: dict[str, Entry] = {}
    for module in modules:
        precise = Algorithm.of(module.algorithm).precise
        for short, key in module.keys.items():
            kind = torch.float32 if short in precise else torch_dtype(dtype)
            numbers = partial(_in_range, key, module.values[short], kind)
            entries[key] = Entry(module.shapes[short], kind, numbers)
        if module.alpha_key:
            entries[module.alpha_key] = Entry((), torch.float32, partial(torch.tensor, module.alpha))
    for key, tensor in (others or {}).items():
        entries[key] = Entry(tuple(tensor.shape), tensor.dtype, partial(torch.clone, tensor))
    with replacing(target) as part:
        write(part, entries, metadata)
        return _verified(part, target, modules, dtype)


def _in_range(key: str, value: Tensor | Callable[[], Tensor], dtype: torch.dtype) -> Tensor:
    """Return a tensor in the file's number type. `LorapipeError` if that has no place for its numbers."""
    found = (value if isinstance(value, Tensor) else value()).to(dtype)
    if not bool(found.isfinite().all()):
        what = f"{key} has numbers beyond the range of the file's number type."
        raise LorapipeError(what, cure="Write dtype: bf16 or fp32.")
    return found


def _verified(path: Path, target: Path, modules: Sequence[ModuleTensors], dtype: Dtype) -> float:
    file, worst = WeightFile(path), 0.0
    for module in modules:
        if module.wanted is None:
            continue
        tensors = {short: file.read(key) for short, key in module.keys.items()}
        rank = Algorithm.of(module.algorithm).rank(tensors)
        alpha = float(file.read(module.alpha_key)) if module.alpha_key else float(rank)
        read = ModuleWeights(module.algorithm, tensors, alpha)
        found = product(read, probe(math.prod(tensors["down" if "down" in tensors else "diff"].shape[1:])))
        size = max(float(module.wanted.norm()), 1e-30)
        error = float((found - module.wanted).norm()) / size
        if not error <= ROUNDING[dtype]:
            what = f"ΔW of {next(iter(module.keys.values()))} was not saved as computed (relative error {error:.1e})."
            raise LorapipeError(what, where=str(target), cure="Write dtype: bf16 or fp32, or check the disk.")
        worst = max(worst, error)
    return worst


def require_new(target: Path, sources: Sequence[Path]) -> None:
    """Raise `InputError` if a file to write is a source or a folder."""
    if target.is_dir():
        raise InputError("is a folder.", where=str(target), cure="Name a file, such as style.safetensors.")
    require_other(target, sources)
