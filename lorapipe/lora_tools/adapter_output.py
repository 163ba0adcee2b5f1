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
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lorapipe.atomic import replacing
from lorapipe.errors import InputError, LorapipeError
from lorapipe.formats._number_types import are_finite, rounded
from lorapipe.formats._tensor_file import TensorFile, open_file
from lorapipe.formats.algorithms import Algorithm
from lorapipe.lora_tools.publication import require_other
from lorapipe.models._safetensors_writer import NAMES, Entry, write
from lorapipe.models._weight_files import DTYPES

Array = npt.NDArray[Any]
Dtype = Literal["fp32", "fp16", "bf16"]
VECTORS = 4
ROUNDING = {"fp32": 1e-5, "fp16": 2**-8, "bf16": 2**-5}
"""Largest relative error of ΔW · x in a file: rounding of both factors, with a margin."""
ALPHA = "alpha"


@dataclass(frozen=True)
class ModuleTensors:
    """The tensors of one module for a file: short name → its key, and the numbers or a function that computes them.

    Numbers are float32, or already rounded to the file's number type (`_number_types.rounded`), which halves the memory.
    `alpha_key` is empty where the file has no alpha for the module; then alpha is the rank. `wanted` is ΔW · x of the update
    that they stand for (`product`); None where that is not checked.
    """

    algorithm: str
    keys: Mapping[str, str]
    values: Mapping[str, Array | Callable[[], Array]]
    shapes: Mapping[str, tuple[int, ...]]
    alpha: float = 0.0
    alpha_key: str = ""
    wanted: Array | None = None


def probe(count: int) -> Array:
    """Return standard normal vectors (count, `VECTORS`), always the same."""
    return np.random.default_rng(1).standard_normal((count, VECTORS), dtype=np.float32)


def product(tensors: Mapping[str, Array], scale: float = 1.0) -> Array:
    """Return scale · ΔW · x (out, `VECTORS`) of factors `up` and `down`, or of a dense difference, `diff`; x is `probe`."""
    if "diff" in tensors:
        return np.multiply(scale, _flat(tensors["diff"]) @ probe(tensors["diff"][0].size))
    down = _flat(tensors["down"])
    return np.multiply(scale, _flat(tensors["up"]) @ (down @ probe(down.shape[1])))


def _flat(tensor: Array) -> Array:
    return tensor.reshape(len(tensor), -1)


def type_name(dtype: Dtype) -> str:
    """Return safetensors' name of a number type."""
    return NAMES[DTYPES[dtype]]


def bytes_of(shapes: Sequence[Sequence[int]], dtype: Dtype) -> int:
    """Return the size of tensors in a file."""
    return sum(map(math.prod, shapes)) * (4 if dtype == "fp32" else 2)


def write_adapter(
    target: Path,
    modules: Sequence[ModuleTensors],
    dtype: Dtype,
    metadata: Callable[[str], Mapping[str, str]],
    others: Mapping[str, Entry] | None = None,
) -> float:
    """Write modules, and `others` as they are, and return the largest relative error of a module's ΔW · x.

    `metadata` takes the SHA-256 of the tensors' bytes. `LorapipeError` where the file does not hold what was computed; then
    there is none.
    """
    entries: dict[str, Entry] = {}
    for module in modules:
        precise = Algorithm.of(module.algorithm).precise
        for short, key in module.keys.items():
            kind = "F32" if short in precise else type_name(dtype)
            entries[key] = Entry(module.shapes[short], kind, partial(_in_range, key, module.values[short], kind))
        if module.alpha_key:
            entries[module.alpha_key] = Entry((), "F32", partial(np.asarray, module.alpha, np.float32))
    with replacing(target) as part:
        write(part, {**entries, **(others or {})}, metadata)
        return _verified(part, target, modules, dtype)


def _in_range(key: str, value: Array | Callable[[], Array], dtype: str) -> Array:
    """Return a tensor in the file's number type. `LorapipeError` if that has no place for its numbers."""
    found = rounded(value if isinstance(value, np.ndarray) else value(), dtype)
    if not are_finite(found, dtype):
        what = f"{key} has numbers beyond the range of the file's number type."
        raise LorapipeError(what, cure="Write dtype: bf16 or fp32.")
    return found


def _verified(path: Path, target: Path, modules: Sequence[ModuleTensors], dtype: Dtype) -> float:
    file, worst = open_file(path), 0.0
    for module in modules:
        if module.wanted is None:
            continue
        found = _read_product(file, module)
        size = max(float(np.linalg.norm(module.wanted)), 1e-30)
        error = float(np.linalg.norm(found - module.wanted)) / size
        if not error <= ROUNDING[dtype]:
            what = f"ΔW of {next(iter(module.keys.values()))} was not saved as computed (relative error {error:.1e})."
            raise LorapipeError(what, where=str(target), cure="Write dtype: bf16 or fp32, or check the disk.")
        worst = max(worst, error)
    return worst


def _read_product(file: TensorFile, module: ModuleTensors) -> Array:
    """Return ΔW · x of a module as the file holds it."""
    found = {short: file.numbers(key) for short, key in module.keys.items()}
    tensors = {short: each for short, each in found.items() if each is not None}
    alpha = file.numbers(module.alpha_key) if module.alpha_key else None
    return product(tensors, 1.0 if alpha is None else float(alpha) / len(tensors["down"]))


def require_new(target: Path, sources: Sequence[Path]) -> None:
    """Raise `InputError` if a file to write is a source or a folder."""
    if target.is_dir():
        raise InputError("is a folder.", where=str(target), cure="Name a file, such as style.safetensors.")
    require_other(target, sources)
