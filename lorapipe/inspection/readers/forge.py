"""Forge's rules: its loader was forked from ComfyUI's in 2024, and knows fewer kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lorapipe.inspection.readers import MAGNITUDE, Reader, ReadModule
from lorapipe.inspection.readers._comfyui_rules import decomposed, is_tucker_lokr, misread_dora, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

STYLES = frozenset({"kohya", "kohya-ldm", "diffusers"})
LOADED = frozenset({"lora", "loha", "lokr", "glora", "full", "norm"})


class Forge(Reader):
    """Forge. It has no loader for OFT and (IA)³; DoRA is as in ComfyUI."""

    title: ClassVar = "Forge"
    source: ClassVar = "June 2025: packages_3rdparty/comfyui_lora_collection/lora.py, backend/patcher/lora.py"

    def ignores(self, module: ReadModule) -> str:
        if why := unknown_name(module, STYLES):
            return why
        if module.algorithm.name not in LOADED or "bm" in module.shorts:
            return f"{module.algorithm.name} of this form has no loader"
        return "a convolutional LoKr in Tucker form fails" if is_tucker_lokr(module) else ""

    def misreads(self, module: ReadModule) -> str:
        return misread_dora(module)

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        if weight is not None and MAGNITUDE in tensors:
            return decomposed(module, tensors, weight, strength)
        return super().change(module, tensors, weight, strength)

    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        return "are not read from a LoRA file" if beside_modules else "is read under the file's name"
