"""diffusers' rules: `load_lora_weights` and `load_textual_inversion` of Stable Diffusion's pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from lorapipe.inspection.readers import MAGNITUDE, Reader, ReadModule, without_magnitude

if TYPE_CHECKING:
    from torch import Tensor

KOHYA = ("lora_te_", "lora_unet_", "lora_te1_", "lora_te2_")
CONVERTED = (".lora_down.weight", ".lora_up.weight", ".alpha")
FILTERED = "dora_scale"


class Diffusers(Reader):
    """diffusers. It loads only LoRA and LoCon, and refuses files with other kinds; a DoRA loses its magnitudes.

    In kohya's format every key must be a LoRA's; in others every key must contain “lora”.
    """

    title: ClassVar = "diffusers"
    source: ClassVar = "0.42: loaders/lora_pipeline.py, loaders/lora_conversion_utils.py"

    def refusal(self, modules: Sequence[ReadModule], keys: Sequence[str]) -> str:
        if not modules:
            return ""
        kept = [key for key in keys if FILTERED not in key]
        if all(key.startswith(KOHYA) for key in kept):
            odd = next((key for key in kept if not key.endswith(CONVERTED)), "")
            return f"{odd} is not a LoRA key" if odd else ""
        odd = next((key for key in kept if "lora" not in key), "")
        return f"{odd} is not a LoRA key" if odd else ""

    def ignores(self, module: ReadModule) -> str:
        if module.name.style in ("kohya", "kohya-ldm", "diffusers"):
            return ""
        return f"names in the style of {module.name.style or 'another program'} are not known"

    def misreads(self, module: ReadModule) -> str:
        return "leaves the magnitudes of a DoRA out" if MAGNITUDE in module.shorts else ""

    def change(
        self, module: ReadModule, tensors: Mapping[str, Tensor], weight: Tensor | None, strength: float
    ) -> Tensor:
        if MAGNITUDE in tensors:
            return strength * without_magnitude(module, tensors)
        return super().change(module, tensors, weight, strength)

    def words(self, encoders: Mapping[str, Sequence[str]], beside_modules: bool, keys: Sequence[str]) -> str:
        if len(encoders) == 1 and len(keys) == 1:
            return "is read; its word is the key, or the argument token="
        return "are not read from a file with several tensors: load each with load_textual_inversion"
