"""Any optimizer of the pytorch-optimizer package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from lorapipe.errors import Problem, near_miss
from lorapipe.spec import param
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers._signature import defaults_of, package_folder

ADAPTIVE = 0.1
"""Default learning rates of at least this are factors on a step size that the optimizer estimates."""


@dataclass(frozen=True)
class Library(Optimizer):
    """Any optimizer of the pytorch-optimizer package by its name, with its own arguments: adan, ademamix, lamb, sophiah …

    For experiments: the defaults are the package's, not ours. Prefer optimizers that are registered here under their own
    names (lion, prodigy, came).
    """

    states: ClassVar[float] = 4  # the most of all
    waits: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False  # some depend on shapes

    use: str = param("adan", "the optimizer's name in pytorch-optimizer, in small letters: adan, ademamix, lamb …")

    @property
    def implementation(self) -> str:  # type: ignore[override]
        return known().get(self.use, "pytorch_optimizer:")

    @property
    def denoiser_rate(self) -> float:  # type: ignore[override]
        """The package's default."""
        return float(str(defaults_of(self.implementation).get("lr") or Optimizer.denoiser_rate))

    adaptive = property(lambda self: self.denoiser_rate >= ADAPTIVE)
    per_parameter = property(lambda self: False)  # nobody says

    def usual_rate(self, role: str) -> float:
        return self.denoiser_rate if self.adaptive else super().usual_rate(role)

    def problems(self) -> Iterator[Problem]:
        if self.use not in known():
            cure = near_miss(self.use, sorted(known()))
            yield Problem(f"pytorch-optimizer has no optimizer {self.use!r} for this.", cure=cure, path=("use",))
            return
        yield from super().problems()

    def keywords(self) -> dict[str, Any]:
        return {}


@cache
def known() -> dict[str, str]:
    """Return name → `module:Class` of optimizers that need only parameters and a learning rate, without importing them."""
    folder = package_folder("pytorch_optimizer")
    found = {}
    for file in sorted((folder / "optimizer").glob("*.py")) if folder else ():
        for name in re.findall(r"^class (\w+)\(BaseOptimizer", file.read_text(encoding="utf-8"), re.MULTILINE):
            implementation = f"pytorch_optimizer.optimizer.{file.stem}:{name}"
            if [*defaults_of(implementation)][:2] == ["params", "lr"]:
                found[name.lower()] = implementation
    return found
