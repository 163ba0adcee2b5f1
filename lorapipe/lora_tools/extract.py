"""Extract a LoRA, or the dense difference, from a tuned checkpoint and its base.

Each module's difference is approximated by a truncated singular value decomposition, as in sd-scripts'
`networks/extract_lora_from_models.py` and LyCORIS' `tools/extract_locon.py`. One difference is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from lorapipe.errors import InputError
from lorapipe.formats import NameTable, Place
from lorapipe.formats._number_types import rounded
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.kohya import Kohya
from lorapipe.lora_tools.adapter_output import (
    ALPHA,
    Array,
    Dtype,
    ModuleTensors,
    bytes_of,
    product,
    require_new,
    type_name,
    write_adapter,
)
from lorapipe.lora_tools.array_spool import ArraySpool
from lorapipe.lora_tools.checkpoint_difference import CheckpointDifference
from lorapipe.lora_tools.disk_space import require_space
from lorapipe.lora_tools.extract_metadata import extract_metadata
from lorapipe.lora_tools.factored_svd import TruncatedSvd
from lorapipe.lora_tools.kept_report import KeptModule, KeptReport
from lorapipe.lora_tools.progress import Tell, silent
from lorapipe.lora_tools.truncated_svd import RankRule, energy_of, truncated_svd
from lorapipe.models import Family, ModuleRef
from lorapipe.models._weight_files import TOP
from lorapipe.training.adapter_layers.block_widths import Blocks, Width

MOST_RANK = 1 << 20
SMALL = 2**-6
"""Factors whose largest value is below this are scaled up for fp16, which is subnormal below 2⁻¹⁴."""
EDGE = 1.3
"""Margin on the largest singular value of rounding noise, σ · (√m + √n), which small matrices exceed now and then."""


@dataclass(frozen=True)
class ExtractRules:
    """What to extract.

    `form` is lora or diff, the dense difference of weights, biases and normalisations. `rank` and `conv_rank` (of 3×3
    convolutions; 0: none) are the ranks, or the largest ones where `energy` (a share of ‖ΔW‖²) or `threshold` (the largest
    Frobenius norm of what a module loses) chooses. `block_ranks` has a rank for each block of the denoiser. `clamp` is the
    quantile of both factors' values beyond which they are cut off, as sd-scripts does at 0.99; it bends the strongest
    directions.
    """

    form: Literal["lora", "diff"] = "lora"
    rank: int = 64
    conv_rank: int = 0
    energy: float | None = None
    threshold: float | None = None
    block_ranks: tuple[int, ...] = ()
    text_encoders: bool = True
    clamp: float | None = None


@dataclass
class _Extracted:
    """The modules so far; the LoRA's factors are in `spool`."""

    spool: ArraySpool
    modules: list[ModuleTensors] = field(default_factory=list)
    kept: list[KeptModule] = field(default_factory=list)
    held: set[tuple[str, str]] = field(default_factory=set)
    same: int = 0
    noise: int = 0


def extract(
    tuned: Family,
    base: Family,
    rules: ExtractRules,
    target: Path,
    *,
    dtype: Dtype = "fp16",
    tell: Tell = silent,
    device: str = "cpu",
) -> KeptReport:
    """Write the difference of two checkpoints as an adapter's file in kohya's format, and return what it keeps.

    `InputError` with all reasons why the checkpoints cannot be compared, if nothing differs, or if the disk is full.
    """
    require_new(target, [tuned.checkpoint.path, base.checkpoint.path])
    difference = CheckpointDifference(tuned, base)
    targets = [*chosen_modules(base, rules)]
    if not targets:
        raise InputError("no module is chosen.", where="block_ranks", cure="Give a block a rank above 0.")
    needed = sum(_bytes(ref, width, rules, dtype) for _, ref, width in targets)
    require_space(target, needed if rules.form == "diff" else 2 * needed)  # a LoRA's factors wait beside the file
    table, found = NameTable(base.module_names()), _Extracted(ArraySpool(target.absolute().parent))
    for number, (part, ref, width) in enumerate(targets):
        tell(number, len(targets))
        _Module(difference, table, (part, ref.path.removeprefix(TOP)), ref, rules, dtype, device).extract(width, found)
    tell(len(targets), len(targets))
    if not found.modules:
        what = f"no module differs from the base ({found.same} are equal, {found.noise} differ by rounding alone)."
        raise InputError(what, where=str(tuned.checkpoint.path), cure="Are these the checkpoint and its base?")
    report = KeptReport(found.kept, difference.left_out(found.held), [*_remarks(found)])
    about = partial(extract_metadata, tuned, base, asdict(rules), found.modules, report)
    write_adapter(target, found.modules, dtype, about)
    return report


def chosen_modules(base: Family, rules: ExtractRules) -> Iterator[tuple[str, ModuleRef, Width]]:
    """Yield part, module and width of every module to extract. `InputError` where `block_ranks` has another length."""
    found = base.footprint() or base.load("cpu")
    blocks = Blocks.of(rules, found.blocks)
    parts = [part for part in base.trainable if rules.text_encoders or base.role(part) != "text_encoder"]
    for part in parts:
        refs = found.targets(part, convolutions=rules.conv_rank > 0)
        if rules.form == "diff":
            refs = [*found.modules(part), *found.outer_modules(part)]
        for ref in refs:
            usual = rules.rank if ref.pointwise else rules.conv_rank
            width = blocks.width(Width.of(MOST_RANK if rules.form == "diff" else usual, 0), ref.block, ref.pointwise)
            if width.rank:
                yield part, ref, width


def _bytes(ref: ModuleRef, width: Width, rules: ExtractRules, dtype: Dtype) -> int:
    out, others = ref.shape[0], math.prod(ref.shape[1:])
    return bytes_of([ref.shape] if rules.form == "diff" else [(min(width.rank, out, others), out + others)], dtype)


def _remarks(found: _Extracted) -> Iterator[str]:
    if found.same:
        yield f"{found.same} modules are equal in both"
    if found.noise:
        yield f"{found.noise} modules differ by no more than the rounding of their number types, and are left out"


@dataclass(frozen=True)
class _Module:
    """One module of both checkpoints."""

    difference: CheckpointDifference
    table: NameTable
    place: Place
    ref: ModuleRef
    rules: ExtractRules
    dtype: Dtype
    device: str

    def extract(self, width: Width, found: _Extracted) -> None:
        """Add the module to what was extracted."""
        name = (self.place[0], f"{self.place[1]}.weight")
        if self.rules.form == "diff":
            self._dense(found)
            return
        delta = self.difference.of(name).flatten(1)
        total = energy_of(delta)
        if not math.isfinite(total):
            where = str(self.difference.tuned_base.checkpoint.path)
            raise InputError(f"{' '.join(name)} has NaN or infinite numbers, here or in the base.", where=where)
        found.held.add(name)
        if not total:
            found.same += 1
            return
        svd = truncated_svd(delta.to(self.device), self._rule(width, name, delta), total=total)
        if not svd.rank:
            found.noise += 1
            found.kept.append(KeptModule(self._written, self.place[0], 0, total, 0.0))
            return
        up, down, kept = self._factors(svd, delta)
        found.kept.append(KeptModule(self._written, self.place[0], svd.rank, total, kept))
        found.modules.append(self._lora(up, down, found.spool))

    @property
    def _written(self) -> str:
        return self.table.written[self._own_place]

    @property
    def _own_place(self) -> Place:
        return self.table.find(*self.place) or self.place

    def _rule(self, width: Width, name: tuple[str, str], delta: Tensor) -> RankRule:
        rules = self.rules
        if rules.energy is None and rules.threshold is None:
            return RankRule(width.rank)
        rounding = self.difference.rounding(name)
        floor = EDGE * rounding * (math.sqrt(delta.shape[0]) + math.sqrt(delta.shape[1]))
        return RankRule(width.rank, rules.energy, rules.threshold, floor)

    def _factors(self, svd: TruncatedSvd, delta: Tensor) -> tuple[Array, Array, float]:
        """Return up, down and the kept share of ‖ΔW‖²."""
        if self.rules.clamp is None:
            return *svd.factors(), svd.kept
        up, down = svd.left * svd.values, svd.right
        limit = np.float32(np.quantile(np.concatenate([up.reshape(-1), down.reshape(-1)]), self.rules.clamp))
        up, down = up.clip(-limit, limit), down.clip(-limit, limit)
        square = float(((up.T @ up).astype(np.float64) * (down @ down.T)).sum())
        lost = svd.total - 2 * float(((up.T @ delta.numpy()).astype(np.float64) * down).sum()) + square
        return up, down, max(0.0, 1 - lost / svd.total)

    def _lora(self, up: Array, down: Array, spool: ArraySpool) -> ModuleTensors:
        rank, (out, inputs, *kernel) = down.shape[0], self.ref.shape
        shapes = {"down": (rank, inputs, *kernel), "up": (out, rank, *[1 for _ in kernel])}
        wanted, power = product({"up": up, "down": down}), _power(up, down, self.dtype)
        scaled = {"down": down * np.float32(power), "up": up * np.float32(power)}
        values = {short: spool.put(rounded(each, type_name(self.dtype))) for short, each in scaled.items()}
        alpha = rank / power**2
        return ModuleTensors("lora", self._keys("lora", values), values, shapes, alpha, self._key(ALPHA), wanted)

    def _dense(self, found: _Extracted) -> None:
        """Add the difference of weight and bias; tensors are computed again when they are written."""
        is_norm = self.ref.kind == "norm"
        first, second = ("weight", "bias") if is_norm else ("diff", "diff_b")
        names = {first: (self.place[0], f"{self.place[1]}.weight"), second: (self.place[0], f"{self.place[1]}.bias")}
        energies = {short: self.difference.energy(name) for short, name in names.items() if name in self.difference}
        found.held.update(names[short] for short in energies)
        if not any(energies.values()):
            found.same += 1
            return
        kept = [first, *([second] if energies.get(second) else [])]
        shapes = dict(zip(kept, (self.ref.shape, self.ref.shape[:1]), strict=False))
        values = {short: partial(self._numbers, names[short], shapes[short]) for short in kept}
        algorithm = "norm" if is_norm else "full"
        wanted = None if is_norm else product({"diff": values[first]()})
        found.modules.append(ModuleTensors(algorithm, self._keys(algorithm, kept), values, shapes, wanted=wanted))
        rank = min(self.ref.shape[0], math.prod(self.ref.shape[1:]))
        found.kept.append(KeptModule(self._written, self.place[0], rank, sum(energies.values()), 1.0))

    def _numbers(self, name: tuple[str, str], shape: tuple[int, ...]) -> Array:
        return self.difference.of(name).reshape(shape).numpy()

    def _keys(self, algorithm: str, shorts: Iterable[str]) -> dict[str, str]:
        suffixes = Algorithm.of(algorithm).keys
        return {short: self._key(suffixes[short]) for short in shorts}

    def _key(self, suffix: str) -> str:
        return Kohya().key(self._own_place, suffix, self.table)


def _power(up: Array, down: Array, dtype: Dtype) -> float:
    """Return a power of two for both factors, 1 unless they are so small that fp16 would lose digits; alpha undoes it."""
    largest = min(float(np.abs(up).max()), float(np.abs(down).max()))
    return 2.0 ** -math.floor(math.log2(largest)) if dtype == "fp16" and 0 < largest < SMALL else 1.0
