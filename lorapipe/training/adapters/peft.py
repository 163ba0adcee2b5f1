"""PEFT's methods: VeRA, BOFT, HRA and others, saved as PEFT's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError, Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapter_layers.targets import HasModules, Targets
from lorapipe.training.adapters import Attached
from lorapipe.training.peft_methods import Method

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.models import Family, Model
    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class Peft(TargetKnobs):
    """A method of PEFT, Hugging Face's library. `export` with `format: peft` writes the folder that PEFT loads.

    ComfyUI, Forge and A1111 read none of them: for these programs export with `convert: lora` or `convert: diff`.
    """

    search_words: ClassVar[tuple[str, ...]] = ("hugging face peft", "vera", "boft", "fourierft")

    method: Method = param(
        Method.default("boft"),
        "the method, by PEFT's name, with its settings: boft, or {type: vera, rank: 256}",
    )

    @property
    def algorithm(self) -> str:  # type: ignore[override]  # of the instance
        return self.method.algorithm

    @property
    def rate_factor(self) -> float:  # type: ignore[override]  # of the instance
        return self.method.rate_factor

    def width(self, pointwise: bool) -> Width:
        return Width(self.method.size, self.method.alpha)

    def numbers(self, shape: Sequence[int], width: Width) -> int:
        import math

        return sum(map(math.prod, self.method.shapes(shape, width.rank).values()))

    def layer(self, base: Module, width: Width) -> AdapterLayer:
        from lorapipe.training.adapter_layers.peft_layer import PeftLayer

        return PeftLayer(base, width, self.method)

    def _targets(self) -> Targets:
        return replace(super()._targets(), linear_only=not self.method.convolutions)

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        if problems := [replace(each, where="adapter.method") for each in self._unfit(model, parts)]:
            raise InputError(problems)
        return super().attach(model, parts, seed)

    def objections(self, base: Family) -> Iterator[Problem]:
        yield from super().objections(base)
        if footprint := base.footprint():
            try:
                yield from self._unfit(footprint, [footprint.denoiser])
            except InputError:
                return  # without a module, as the training says

    def _unfit(self, model: HasModules, parts: Sequence[str]) -> Iterator[Problem]:
        """Yield the first module whose shape the method cannot have."""
        for part in parts:
            for ref in self._targets().of(model, part):
                if what := self.method.unfit(ref.shape, self.method.size):
                    cure = "Choose another size, or leave the module out with exclude."
                    yield Problem(f"{part} {ref.path} {what}.", cure=cure, path=("method",))
                    return

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if not self.method.sizes_differ and (odd := [pattern for pattern, rank in self.module_ranks.items() if rank]):
            what = f"PEFT has one size for all modules of {self.method.name}."
            yield Problem(what, cure="Only 0, which leaves modules out, can be here.", path=("module_ranks", odd[0]))

    @classmethod
    def network_dim(cls, settings: Mapping[str, object]) -> int:
        found = settings.get("method")
        rank = found.get("rank") if isinstance(found, Mapping) else None
        return rank if isinstance(rank, int) else 0
