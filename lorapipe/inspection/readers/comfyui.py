"""ComfyUI's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lorapipe.inspection.readers import MAGNITUDE, Reader, ReadModule
from lorapipe.inspection.readers._comfyui_rules import decomposed, is_tucker_lokr, misread_dora, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

STYLES = frozenset({"kohya", "kohya-ldm", "lycoris", "diffusers"})
LOADED = frozenset({"lora", "loha", "lokr", "glora", "oft", "full", "norm"})


class ComfyUI(Reader):
    """ComfyUI. It loads modules that it has a name and a loader for, and logs the keys of the others.

    For OFT, it does not multiply the limit by the outputs, ignores `rescale`, and applies the strength twice. It divides a
    DoRA with a magnitude per output by the norm of W.
    """

    title: ClassVar = "ComfyUI"
    source: ClassVar = "October 2025: comfy/lora.py, comfy/weight_adapter/"

    def ignores(self, module: ReadModule) -> str:
        if why := unknown_name(module, STYLES):
            return why
        if module.algorithm.name not in LOADED or "diag" in module.shorts or "bm" in module.shorts:
            return f"{module.algorithm.name} of this form has no loader"
        return "a convolutional LoKr in Tucker form fails, and is skipped" if is_tucker_lokr(module) else ""

    def misreads(self, module: ReadModule) -> str:
        if module.algorithm.name == "oft":
            left_out = " and leaves out its rescale" if "rescale" in module.shorts else ""
            limit = " and misreads its limit" if module.alpha else ""
            return f"counts the strength of an OFT twice{limit}{left_out}"
        return misread_dora(module)

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        if weight is not None and MAGNITUDE in tensors:
            return decomposed(module, tensors, weight, strength)
        if weight is not None and "blocks" in tensors:
            limit = module.alpha_or_usual(tensors) / weight.shape[0]  # the algorithm multiplies by the outputs
            return strength**2 * module.algorithm.delta({"blocks": tensors["blocks"]}, limit, weight)
        return super().change(module, tensors, weight, strength)

    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        if beside_modules or len(encoders) > 1:
            return "are read if the file is also in models/embeddings; the LoRA loader skips them"
        return "is read under the file's name (embedding:NAME)"
