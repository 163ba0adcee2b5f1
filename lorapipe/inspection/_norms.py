"""Norms of a file's updates by block, and what is suspicious about them. NumPy is enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING, cast

from lorapipe.formats._reader import Contents, NamedModule
from lorapipe.formats._tensor_file import TensorFile
from lorapipe.inspection._module_names import ModuleName

if TYPE_CHECKING:
    from lorapipe.formats.algorithms import Tensors

OUTLIER = 30.0
"""A module whose update is this many times the median of its part is named."""
FEW = 8
"""Parts with fewer modules have no median to compare with."""
SHOWN = 3


def module_norms(file: TensorFile, found: Contents) -> dict[str, float]:
    """Return module → ‖ΔW‖ (Frobenius), for modules whose algorithm gives it without the base."""
    norms = {}
    for module in found.modules:
        if not module.flaw and (norm := _norm(file, module)) is not None:
            norms[module.name] = norm
    return norms


def _norm(file: TensorFile, module: NamedModule) -> float | None:
    tensors = {short: file.numbers(key) for short, key in module.keys.items()}
    if any(numbers is None for numbers in tensors.values()):
        return None
    told = file.numbers(module.alpha_key) if module.alpha_key else None
    alpha = float(told.reshape(-1)[0]) if told is not None and told.size else module.usual_alpha(file.stored)
    norm = module.algorithm.norm(cast("Tensors", tensors), alpha)
    return norm if norm is not None and norm == norm else None


def by_block(norms: Mapping[str, float], names: Mapping[str, ModuleName]) -> dict[str, dict[str, float]]:
    """Return part → block → ‖ΔW‖ of all its modules together, (Σ‖ΔW‖²)^½; the blocks in the model's order."""
    squares: dict[str, dict[str, float]] = {}
    for module, norm in norms.items():
        name = names[module]
        part = squares.setdefault(name.part, {})
        part[name.block] = part.get(name.block, 0.0) + norm**2
    return {
        part: {block: blocks[block] ** 0.5 for block in sorted(blocks, key=_order)} for part, blocks in squares.items()
    }


def _order(block: str) -> tuple[bool, str, int]:
    """Return a sort key: `layers 2` before `layers 10`, and what is in no block last."""
    name, _, number = block.partition(" ")
    return block == "others", name, int(number or 0)


def suspicions(norms: Mapping[str, float], names: Mapping[str, ModuleName]) -> Iterator[str]:
    """Yield what is odd though it can be used: modules without an effect, and modules far stronger than the others."""
    idle = [module for module, norm in norms.items() if norm == 0]
    if idle:
        yield f"{_counted(idle)} no effect, since the update is 0: {_some(idle)}."
    for part in dict.fromkeys(name.part for name in names.values()):
        own = {module: norm for module, norm in norms.items() if names[module].part == part and norm > 0}
        yield from _outliers(own)


def _outliers(norms: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence on the modules of one part whose update is far above the median, if there are any."""
    if len(norms) < FEW:
        return
    usual = median(norms.values())
    strong = [module for module, norm in norms.items() if norm > OUTLIER * usual]
    if strong:
        most = max(norms[module] for module in strong) / usual
        yield f"{_counted(strong)} an update of up to {most:.0f} times the median of its part: {_some(strong)}."


def _counted(modules: list[str]) -> str:
    return f"{len(modules)} module has" if len(modules) == 1 else f"{len(modules)} modules have"


def _some(modules: list[str]) -> str:
    more = f" and {len(modules) - SHOWN} more" if len(modules) > SHOWN else ""
    return ", ".join(modules[:SHOWN]) + more
