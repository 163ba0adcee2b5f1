"""A1111's rules (stable-diffusion-webui)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lorapipe.inspection.readers import MAGNITUDE, Reader, ReadModule, divided_by_norms, without_magnitude

if TYPE_CHECKING:
    from torch import Tensor

STYLES = frozenset({"kohya", "kohya-ldm", "kohya-oft"})
LOADED = frozenset({"lora", "loha", "lokr", "glora", "oft", "full", "norm", "ia3"})
NEEDED: Mapping[str, frozenset[str]] = {"norm": frozenset({"weight", "bias"})}
"""Tensors that A1111 requires in addition to those that every program needs."""
NEED_ALPHA = frozenset({"oft", "glora"})


class A1111(Reader):
    """Stable Diffusion web UI. One module of an unknown kind makes it refuse the file.

    It divides a DoRA by norms per input, also if the magnitudes are per output. It expects a GLoRA's factors in the order
    that LyCORIS wrote before 2.0.
    """

    title: ClassVar = "A1111"
    source: ClassVar = "1.10: extensions-builtin/Lora/"

    def refusal(self, modules: Sequence[ReadModule], keys: Sequence[str]) -> str:
        for module in (module for module in modules if module.name.style in STYLES):
            kind = module.algorithm.name
            if kind not in LOADED:
                return f"it does not know {kind}"
            if lacking := NEEDED.get(kind, frozenset()) - module.shorts:
                return f"it does not know a {kind} without {', '.join(sorted(lacking))}"
            if kind in NEED_ALPHA and module.alpha is None:
                return f"a {kind} without alpha fails"
        return ""

    def ignores(self, module: ReadModule) -> str:
        if module.name.style not in STYLES:
            return f"names in the style of {module.name.style or 'another program'} are not known"
        return "a GLoRA of LyCORIS 2.0 or later fails" if module.algorithm.name == "glora" else ""

    def misreads(self, module: ReadModule) -> str:
        return "divides the weights of a DoRA of outputs by norms of inputs" if module.of_outputs else ""

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        if weight is None or MAGNITUDE not in tensors:
            return super().change(module, tensors, weight, strength)
        product = without_magnitude(module, tensors).reshape(weight.shape)
        return strength * divided_by_norms(weight, product, tensors[MAGNITUDE], weight + product, 1)

    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        return "are read with the LoRA, by their words" if beside_modules else "is read under the file's name"
