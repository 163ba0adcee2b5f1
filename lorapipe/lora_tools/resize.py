"""Resize an adapter's file to lower ranks, module by module, without its base.

LoRAs are resized by their factors, with NumPy alone. Other kinds with a product (LoHa, LoKr, LoCon in Tucker form, dense
differences) become LoRAs by a truncated singular value decomposition of ΔW, for which PyTorch is loaded. The rules
`sv_ratio`, `sv_fro` and `sv_cumulative` are those of sd-scripts' `networks/resize_lora.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from lorapipe.errors import InputError, Problem
from lorapipe.formats import all_formats, complaints
from lorapipe.formats._number_types import rounded
from lorapipe.formats._reader import NamedModule, contents
from lorapipe.formats._tensor_file import TensorFile, open_file
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.algorithms._weight_decomposition import MAGNITUDE, DecomposableAlgorithm
from lorapipe.lora_tools.adapter_output import (
    Array,
    Dtype,
    ModuleTensors,
    bytes_of,
    product,
    require_new,
    type_name,
    write_adapter,
)
from lorapipe.lora_tools.disk_space import require_space
from lorapipe.lora_tools.extract_metadata import resize_metadata
from lorapipe.lora_tools.factored_svd import TruncatedSvd, factor_svd
from lorapipe.lora_tools.kept_report import KeptModule, KeptReport
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.models._safetensors_writer import Entry

if TYPE_CHECKING:
    from torch import Tensor

LARGE = re.compile(r"(?:^|[._])(?:conv|conv1|conv2|conv_in|conv_out|op)$")
"""Names of modules whose kernel is 3×3; LoHa and LoKr do not always say so."""
TEXT = re.compile(r"^(lora_te|text_encoder)")
TINY = 1e-6


@dataclass(frozen=True)
class ResizeRules:
    """The new ranks: at most `rank`, and `conv_rank` of 3×3 convolutions (None: the same).

    Of the others at most one is given. `energy` is the share of ‖ΔW‖² to keep, `sv_fro` that of ‖ΔW‖, `sv_cumulative` that
    of the sum of singular values; `sv_ratio` leaves out singular values below the largest one divided by it. `like: kohya`
    counts one direction more than needed, as sd-scripts does.
    """

    rank: int
    conv_rank: int | None = None
    energy: float | None = None
    sv_ratio: float | None = None
    sv_fro: float | None = None
    sv_cumulative: float | None = None
    like: Literal["exact", "kohya"] = "exact"

    @property
    def is_fixed(self) -> bool:
        """Whether the ranks do not depend on singular values."""
        return (self.energy, self.sv_ratio, self.sv_fro, self.sv_cumulative) == (None,) * 4

    @property
    def share(self) -> float | None:
        """Share of ‖ΔW‖² to keep, where the rule is one."""
        return self.sv_fro**2 if self.sv_fro is not None else self.energy

    def chosen(self, values: Array, most: int) -> int:
        """Return the number of directions, 1 … `most`, for all singular values of a module (k,), which fall."""
        if self.is_fixed or not float(values[0]) > TINY:
            return min(most, len(values)) if self.is_fixed else 1
        values = values.astype(np.float64)
        if self.sv_ratio is not None:
            found = int((values > values[0] / self.sv_ratio).sum())
        elif self.sv_cumulative is not None:
            found = _first_above(values, self.sv_cumulative)
        else:
            assert self.share is not None
            found = _first_above(np.square(values), self.share)
        found = max(1, min(found, len(values)))
        return min(found + (self.like == "kohya" and self.energy is None), len(values), most)


def _first_above(terms: Array, share: float) -> int:
    """Return how many of the first terms make up a share of their sum."""
    sums = np.cumsum(terms) / np.sum(terms)
    return int(np.searchsorted(sums, share * (1 - 1e-12))) + 1


@dataclass
class _Resized:
    modules: list[ModuleTensors] = field(default_factory=list)
    kept: list[KeptModule] = field(default_factory=list)
    others: dict[str, Entry] = field(default_factory=dict)
    same: int = 0
    other_kinds: Counter[str] = field(default_factory=Counter)
    turned: Counter[str] = field(default_factory=Counter)


def resize(
    source: Path,
    rules: ResizeRules,
    target: Path,
    *,
    dtype: Dtype | Literal["own"] = "own",
    tell: Tell = silent,
) -> KeptReport:
    """Write an adapter with lower ranks, under the names of its modules in the file, and return what it keeps.

    `dtype` own is the number type that most of the file's tensors have. `InputError` with all that is wrong with the file,
    or if no module has a higher rank.
    """
    require_new(target, [source])
    file, modules, rest = _opened(source)
    kind = _own_dtype(file) if dtype == "own" else dtype
    require_space(target, sum(bytes_of([header.shape], kind) for header in file.headers.values()))
    found = _Resized(others={key: _as_it_is(file, key) for key in rest})
    for number, module in enumerate(modules):
        tell(number, len(modules))
        _resize_module(file, module, rules, type_name(kind), found)
    tell(len(modules), len(modules))
    if not found.modules:
        most = max((module.algorithm.rank(module.tensors) for module in modules), default=0)
        what = f"has no module of a rank above {rules.rank} (its largest is {most})."
        raise InputError(what, where=str(source), cure="Give a lower rank.")
    report = KeptReport(found.kept, (), [*_remarks(found)])
    metadata = partial(resize_metadata, file.stored.metadata, asdict(rules), report)
    write_adapter(target, found.modules, kind, metadata, found.others)
    return report


def _opened(source: Path) -> tuple[TensorFile, Sequence[NamedModule], Sequence[str]]:
    """Return a file, its modules, and the keys of everything else. `InputError` with all that is wrong."""
    if source.is_dir():
        raise InputError("is a folder.", where=str(source), cure="Convert it to one file first (lorapipe convert).")
    if problems := [Problem(each.what, str(source), each.cure) for each in complaints(source)]:
        raise InputError(problems)
    file = open_file(source)
    found = contents(file.stored, all_formats(), source.stem)
    if flawed := [module for module in found.modules if module.flaw]:
        raise InputError(
            Problem(f"{module.name} is not right: {module.flaw}.", str(source), "The file is incomplete.")
            for module in flawed
        )
    if not found.modules:
        raise InputError("holds no module with a rank.", where=str(source), cure="Name a LoRA's file.")
    words = [key for of_word in found.words.values() for key in of_word.values()]
    return file, found.modules, [*words, *found.others]


def _own_dtype(file: TensorFile) -> Dtype:
    counts = Counter(header.dtype for header in file.headers.values() if len(header.shape) > 1)
    most = counts.most_common(1)[0][0] if counts else "F32"
    names: dict[str, Dtype] = {"F16": "fp16", "BF16": "bf16"}
    return names.get(most, "fp32")


def _as_it_is(file: TensorFile, key: str) -> Entry:
    """Return a tensor that is copied. `InputError` for a number type that NumPy lacks."""
    header = file.headers[key]
    return Entry(header.shape, header.dtype, partial(_bits, file, key))


def _bits(file: TensorFile, key: str) -> Array:
    if (found := file.bits(key)) is None:
        what = f"{key} has numbers of a type that is not read here: {file.headers[key].dtype}."
        raise InputError(what, where=str(file.path), cure="Take the file in fp16, bf16 or fp32.")
    return found


def _resize_module(file: TensorFile, module: NamedModule, rules: ResizeRules, dtype: str, found: _Resized) -> None:
    tensors = _numbers(file, module)
    alpha = _float32(file, module.alpha_key).item() if module.alpha_key else module.usual_alpha(file.stored)
    resized = _factored(module, tensors, alpha, rules)
    if resized is None:
        _keep(file, module, found)
        return
    svd, shape, scale = resized
    up, down = svd.factors()
    down, up = down.reshape(svd.rank, *shape[1:]), up.reshape(shape[0], svd.rank, *[1] * (len(shape) - 2))
    if not module.alpha_key:
        up, scale = up * np.float32(scale), 1.0
    found.kept.append(KeptModule(module.name, _part(module.name), svd.rank, svd.total * scale**2, svd.kept))
    if module.algorithm.name != "lora":
        found.turned[module.algorithm.name] += 1
    values = {"down": down, "up": up} | {short: tensors[short] for short in (MAGNITUDE,) if short in tensors}
    found.modules.append(_file_tensors(module, values, scale * svd.rank, dtype))


def _numbers(file: TensorFile, module: NamedModule) -> dict[str, Array]:
    """Return a module's tensors in float32. `InputError` where they are not finite."""
    flags = module.algorithm.flags
    read = {short: _bits if short in flags else _float32 for short in module.keys}
    tensors = {short: read[short](file, key) for short, key in module.keys.items()}
    if odd := [module.keys[short] for short, each in tensors.items() if not bool(np.isfinite(each).all())]:
        raise InputError(f"{odd[0]} has NaN or infinite numbers.", where=str(file.path), cure="Take another file.")
    return tensors


def _float32(file: TensorFile, key: str) -> Array:
    _bits(file, key)
    return cast("Array", file.numbers(key)).astype(np.float32, copy=False)


def _keep(file: TensorFile, module: NamedModule, found: _Resized) -> None:
    """Leave a module as it is."""
    if module.algorithm.name in ("lora", "norm"):
        found.same += 1
    else:
        found.other_kinds[module.algorithm.name] += 1
    for key in (*module.keys.values(), *filter(None, [module.alpha_key])):
        found.others[key] = _as_it_is(file, key)


def _factored(
    module: NamedModule, tensors: Mapping[str, Array], alpha: float, rules: ResizeRules
) -> tuple[TruncatedSvd, tuple[int, ...], float] | None:
    """Return the smaller update, its module's shape, and the factor on it; None where the module stays as it is."""
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    if module.algorithm.name == "norm":
        return None
    if module.algorithm.name != "lora" or plain.keys() != {"down", "up"}:
        return _of_dense(module, plain, alpha, rules)
    up, down = plain["up"].reshape(plain["up"].shape[:2]), plain["down"]
    shape = (len(up), *down.shape[1:])
    most = _most(rules, shape)
    if rules.is_fixed and most >= len(down):
        return None
    found = factor_svd(up, down.reshape(len(down), -1), partial(rules.chosen, most=most))
    return found, shape, alpha / len(down)


def _of_dense(
    module: NamedModule, tensors: Mapping[str, Array], alpha: float, rules: ResizeRules
) -> tuple[TruncatedSvd, tuple[int, ...], float] | None:
    """Return the same of an update that has to be formed."""
    import torch

    algorithm, found = module.algorithm, {short: torch.from_numpy(each.copy()) for short, each in tensors.items()}
    if algorithm.needs_weight(found) or algorithm.delta_bias(found) is not None:
        return None
    if isinstance(algorithm, DecomposableAlgorithm):
        delta = algorithm.product(found, alpha)
    else:
        delta = algorithm.delta(found, alpha)
    shape = _kernel_shape(module.name, tuple(delta.shape))
    if len(shape) < 2:
        return None
    return _dense_svd(delta.flatten(1), rules, _most(rules, shape)), shape, 1.0


def _most(rules: ResizeRules, shape: Sequence[int]) -> int:
    is_large = any(side > 1 for side in shape[2:])
    return rules.conv_rank if is_large and rules.conv_rank is not None else rules.rank


def _dense_svd(delta: Tensor, rules: ResizeRules, most: int) -> TruncatedSvd:
    from lorapipe.lora_tools.truncated_svd import RankRule, energy_of, exact_svd, truncated_svd

    if rules.is_fixed or (rules.share is not None and rules.like == "exact"):
        return truncated_svd(delta, RankRule(most, energy=rules.share))
    left, values, right = (each.numpy() for each in exact_svd(delta))
    rank = rules.chosen(values, most)
    return TruncatedSvd(left[:, :rank], values[:rank], right[:rank], energy_of(delta))


def _kernel_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a module's weight, if ΔW is a matrix that does not tell the size of a kernel."""
    if len(shape) == 2 and LARGE.search(name) and shape[1] % 9 == 0:
        return (shape[0], shape[1] // 9, 3, 3)
    return shape


def _part(name: str) -> str:
    return "text encoder" if TEXT.match(name) else "denoiser"


def _file_tensors(module: NamedModule, values: dict[str, Array], alpha: float, dtype: str) -> ModuleTensors:
    """Return a LoRA's tensors under the keys that the file's format has for them."""
    lora = Algorithm.of("lora")
    if module.algorithm.name == "lora":
        keys = {short: module.keys[short] for short in values}
    else:
        suffixes = module.format.suffixes(lora)
        known = next((key, short) for short, key in module.keys.items())
        stem = known[0].removesuffix(module.format.suffixes(module.algorithm)[known[1]])
        keys = {short: f"{stem}{suffixes[short]}" for short in values}
    rank = len(values["down"])
    alpha = alpha if module.alpha_key else float(rank)
    shapes = {short: tensor.shape for short, tensor in values.items()}
    ready = {short: each if short == MAGNITUDE else rounded(each, dtype) for short, each in values.items()}
    return ModuleTensors("lora", keys, ready, shapes, alpha, module.alpha_key, product(values, alpha / rank))


def _remarks(found: _Resized) -> Iterator[str]:
    if found.same:
        yield f"{found.same} modules stay as they are"
    for name, count in found.turned.items():
        yield f"{count} modules of {name} are LoRAs now"
    for name, count in found.other_kinds.items():
        yield f"{count} modules of {name} stay as they are: their update depends on the base, or moves biases"
