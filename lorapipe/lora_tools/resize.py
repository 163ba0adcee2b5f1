"""Resize an adapter's file to lower ranks, module by module, without its base.

Of a LoRA, ΔW = up · down is never formed: the QR decompositions up = Q₁R₁ and downᵀ = Q₂R₂ leave the singular values of
the small core R₁R₂ᵀ. Other kinds with a product (LoHa, LoKr, LoCon in Tucker form, dense differences) become LoRAs by a
truncated singular value decomposition of ΔW. The rules `sv_ratio`, `sv_fro` and `sv_cumulative` are those of sd-scripts'
`networks/resize_lora.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lorapipe.errors import InputError, Problem
from lorapipe.formats import ModuleWeights, all_formats, complaints
from lorapipe.formats._reader import NamedModule, contents
from lorapipe.formats._weights import Stored
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.algorithms._weight_decomposition import MAGNITUDE, DecomposableAlgorithm
from lorapipe.lora_tools.adapter_output import (
    Dtype,
    ModuleTensors,
    bytes_of,
    probe,
    product,
    require_new,
    write_adapter,
)
from lorapipe.lora_tools.checkpoint_output import require_space
from lorapipe.lora_tools.extract_metadata import resize_metadata
from lorapipe.lora_tools.kept_report import KeptModule, KeptReport
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.truncated_svd import RankRule, TruncatedSvd, energy_of, exact_svd, factor_svd, truncated_svd
from lorapipe.lora_tools.weight_file import WeightFile
from lorapipe.models._weight_files import torch_dtype

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

    def chosen(self, values: Tensor, most: int) -> int:
        """Return the number of directions, 1 … `most`, for all singular values of a module (k,), which fall."""
        if self.is_fixed or not float(values[0]) > TINY:
            return min(most, len(values)) if self.is_fixed else 1
        values = values.double()
        if self.sv_ratio is not None:
            found = int((values > values[0] / self.sv_ratio).sum())
        elif self.sv_cumulative is not None:
            found = _first_above(values, self.sv_cumulative)
        else:
            assert self.share is not None
            found = _first_above(values.square(), self.share)
        found = max(1, min(found, len(values)))
        return min(found + (self.like == "kohya" and self.energy is None), len(values), most)


def _first_above(terms: Tensor, share: float) -> int:
    """Return how many of the first terms make up a share of their sum."""
    sums = terms.cumsum(0) / terms.sum()
    return int(torch.searchsorted(sums, share * (1 - 1e-12))) + 1


@dataclass
class _Resized:
    modules: list[ModuleTensors] = field(default_factory=list)
    kept: list[KeptModule] = field(default_factory=list)
    others: dict[str, Tensor] = field(default_factory=dict)
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
    require_space(target, sum(bytes_of([file.tensors[key].shape], kind) for key in file.tensors))
    found = _Resized(others={key: file.read(key) for key in rest})
    for number, module in enumerate(modules):
        tell(number, len(modules))
        _resize_module(file, module, rules, kind, found)
    tell(len(modules), len(modules))
    if not found.modules:
        most = max((module.algorithm.rank(module.tensors) for module in modules), default=0)
        what = f"has no module of a rank above {rules.rank} (its largest is {most})."
        raise InputError(what, where=str(source), cure="Give a lower rank.")
    report = KeptReport(found.kept, (), [*_remarks(found)])
    write_adapter(
        target, found.modules, kind, partial(resize_metadata, file.metadata, asdict(rules), report), found.others
    )
    return report


def _opened(source: Path) -> tuple[WeightFile, Sequence[NamedModule], Sequence[str]]:
    """Return a file, its modules, and the keys of everything else. `InputError` with all that is wrong."""
    if source.is_dir():
        raise InputError("is a folder.", where=str(source), cure="Convert it to one file first (lorapipe convert).")
    if problems := [Problem(each.what, str(source), each.cure) for each in complaints(source)]:
        raise InputError(problems)
    file = WeightFile(source)
    shapes = {key: torch.empty(tensor.shape, device="meta") for key, tensor in file.tensors.items()}
    found = contents(Stored(shapes, file.metadata), all_formats(), source.stem)
    if flawed := [module for module in found.modules if module.flaw]:
        raise InputError(
            Problem(f"{module.name} is not right: {module.flaw}.", str(source), "The file is incomplete.")
            for module in flawed
        )
    if not found.modules:
        raise InputError("holds no module with a rank.", where=str(source), cure="Name a LoRA's file.")
    words = [key for of_word in found.words.values() for key in of_word.values()]
    return file, found.modules, [*words, *found.others]


def _own_dtype(file: WeightFile) -> Dtype:
    counts = Counter(tensor.dtype for tensor in file.tensors.values() if len(tensor.shape) > 1)
    most = counts.most_common(1)[0][0] if counts else torch.float32
    names: dict[torch.dtype, Dtype] = {torch.float16: "fp16", torch.bfloat16: "bf16"}
    return names.get(most, "fp32")


def _resize_module(file: WeightFile, module: NamedModule, rules: ResizeRules, dtype: Dtype, found: _Resized) -> None:
    tensors = _numbers(file, module)
    alpha = float(file.read(module.alpha_key)) if module.alpha_key else module.usual_alpha(Stored({}, file.metadata))
    resized = _factored(module, tensors, alpha, rules)
    if resized is None:
        _keep(file, module, found)
        return
    svd, shape, scale = resized
    up, down = svd.factors()
    down, up = down.reshape(svd.rank, *shape[1:]), up.reshape(shape[0], svd.rank, *[1] * (len(shape) - 2))
    if not module.alpha_key:
        up, scale = up * scale, 1.0
    found.kept.append(KeptModule(module.name, _part(module.name), svd.rank, svd.total * scale**2, svd.kept))
    if module.algorithm.name != "lora":
        found.turned[module.algorithm.name] += 1
    values = {"down": down, "up": up} | {short: tensors[short] for short in (MAGNITUDE,) if short in tensors}
    found.modules.append(_file_tensors(module, values, scale * svd.rank, dtype))


def _numbers(file: WeightFile, module: NamedModule) -> dict[str, Tensor]:
    """Return a module's tensors in float32. `InputError` where they are not finite."""
    flags = module.algorithm.flags
    own = {short: file.read(key) for short, key in module.keys.items()}
    tensors = {short: each if short in flags else each.float() for short, each in own.items()}
    if odd := [module.keys[short] for short, each in tensors.items() if not bool(each.isfinite().all())]:
        raise InputError(f"{odd[0]} has NaN or infinite numbers.", where=str(file.path), cure="Take another file.")
    return tensors


def _keep(file: WeightFile, module: NamedModule, found: _Resized) -> None:
    """Leave a module as it is."""
    if module.algorithm.name in ("lora", "norm"):
        found.same += 1
    else:
        found.other_kinds[module.algorithm.name] += 1
    for key in (*module.keys.values(), *filter(None, [module.alpha_key])):
        found.others[key] = file.read(key)


def _factored(
    module: NamedModule, tensors: dict[str, Tensor], alpha: float, rules: ResizeRules
) -> tuple[TruncatedSvd, tuple[int, ...], float] | None:
    """Return the smaller update, its module's shape, and the factor on it; None where the module stays as it is."""
    algorithm = module.algorithm
    plain = {short: tensor for short, tensor in tensors.items() if short != MAGNITUDE}
    if algorithm.name == "norm" or (algorithm.needs_weight(plain) or algorithm.delta_bias(plain) is not None):
        return None
    if algorithm.name == "lora" and plain.keys() == {"down", "up"}:
        up, down = plain["up"].flatten(1), plain["down"]
        shape = (len(up), *down.shape[1:])
        most = _most(rules, shape)
        if rules.is_fixed and most >= len(down):
            return None
        found = factor_svd(up, down.flatten(1), partial(rules.chosen, most=most))
        return found, shape, algorithm.scale(plain, alpha)
    if isinstance(algorithm, DecomposableAlgorithm):
        delta = algorithm.product(plain, alpha)
    else:
        delta = algorithm.delta(plain, alpha)
    shape = _kernel_shape(module.name, tuple(delta.shape))
    if len(shape) < 2:
        return None
    return _dense_svd(delta.flatten(1), rules, _most(rules, shape)), shape, 1.0


def _most(rules: ResizeRules, shape: Sequence[int]) -> int:
    is_large = any(side > 1 for side in shape[2:])
    return rules.conv_rank if is_large and rules.conv_rank is not None else rules.rank


def _dense_svd(delta: Tensor, rules: ResizeRules, most: int) -> TruncatedSvd:
    if rules.is_fixed or (rules.share is not None and rules.like == "exact"):
        return truncated_svd(delta, RankRule(most, energy=rules.share))
    left, values, right = exact_svd(delta)
    rank = rules.chosen(values, most)
    return TruncatedSvd(left[:, :rank], values[:rank], right[:rank], energy_of(delta))


def _kernel_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a module's weight, if ΔW is a matrix that does not tell the size of a kernel."""
    if len(shape) == 2 and LARGE.search(name) and shape[1] % 9 == 0:
        return (shape[0], shape[1] // 9, 3, 3)
    return shape


def _part(name: str) -> str:
    return "text encoder" if TEXT.match(name) else "denoiser"


def _file_tensors(module: NamedModule, values: dict[str, Tensor], alpha: float, dtype: Dtype) -> ModuleTensors:
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
    wanted = product(ModuleWeights("lora", {name: values[name] for name in ("up", "down")}, alpha), _probe(values))
    ready = {short: tensor.to(torch_dtype(dtype)) if short != MAGNITUDE else tensor for short, tensor in values.items()}
    shapes = {short: tuple(tensor.shape) for short, tensor in ready.items()}
    return ModuleTensors("lora", keys, ready, shapes, alpha if module.alpha_key else rank, module.alpha_key, wanted)


def _probe(values: dict[str, Tensor]) -> Tensor:
    return probe(math.prod(values["down"].shape[1:]))


def _remarks(found: _Resized) -> Iterator[str]:
    if found.same:
        yield f"{found.same} modules stay as they are"
    for name, count in found.turned.items():
        yield f"{count} modules of {name} are LoRAs now"
    for name, count in found.other_kinds.items():
        yield f"{count} modules of {name} stay as they are: their update depends on the base, or moves biases"
