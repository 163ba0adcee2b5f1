"""Full fine-tuning and DreamBooth: trains the base's own weights, for export as a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import InputError, Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers.targets import is_meant, pattern_problems
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    from lorapipe.models import Footprint, Model, ModuleRef


@dataclass(frozen=True)
class Finetune(Adapter):
    """Trains every weight of the denoiser (U-Net) and of text encoders with a rate  (kohya's `fine_tune.py`, `train_db.py`).

    With `regularisation` pictures this is DreamBooth (Ruiz et al. 2022, arXiv:2208.12242). A snapshot holds ΔW of each
    weight; `export` with `convert: checkpoint` writes the base with ΔW added.
    """

    search_words: ClassVar[tuple[str, ...]] = ("dreambooth", "fine-tune", "full fine-tuning", "train checkpoint")
    has_norms: ClassVar[bool] = False
    in_place: ClassVar[bool] = True
    usual_snapshots: ClassVar[int] = 1
    snapshot_dtype: ClassVar[Literal["fp32", "bf16"]] = "bf16"
    rate_factor: ClassVar[float] = 0.05

    include: tuple[str, ...] = param(
        (),
        "regular expressions: train only layers whose path contains a match, such as attn2 (cross-attention alone)",
        rare=True,
    )
    exclude: tuple[str, ...] = param(
        (), "regular expressions: do not train layers whose path contains a match, such as norm", rare=True
    )
    weights: Literal["fp32", "bf16"] = param(
        "fp32",
        "dtype of the weights that the optimizer updates. fp32: with precision bf16 or fp16 this is a master copy, 4 bytes "
        "more per weight. bf16: no copy, but stochastic rounding, by which steps below bf16's resolution count on average; "
        "needs precision: bf16",
        kohya=("full_bf16",),
    )
    fused_backward: bool = param(
        False,
        "update each weight in the backward pass as soon as its gradient is complete, and free the gradient: less memory. "
        "max_grad_norm then clips each tensor's gradient separately. Not with accumulation or several devices",
        kohya=("fused_backward_pass",),
        rare=True,
    )

    @property
    def steps_apart(self) -> bool:
        return self.fused_backward or self.weights == "bf16"

    @property
    def steps_in_backward(self) -> bool:
        return self.fused_backward

    @property
    def needs_precision(self) -> str:
        return "bf16" if self.weights == "bf16" else ""

    def chosen(self, refs: Sequence[ModuleRef]) -> list[ModuleRef]:
        """Return the layers that are trained."""
        return [ref for ref in refs if is_meant(ref.path, self.include, self.exclude)]

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        """Count as if every layer had a bias: slightly too many where some have none."""
        refs = [ref for part in parts for ref in (*footprint.modules(part), *footprint.outer_modules(part))]
        return sum(math.prod(ref.shape) + ref.shape[0] for ref in self.chosen(refs))

    def bytes_each(self, states: float, precision: int) -> float:
        """Count gradients unless `fused_backward` frees them, a master copy for `weights: fp32`, and optimizer states."""
        is_copied = precision < 4 and self.weights == "fp32"
        return 4 * (is_copied + (not self.fused_backward) + states)

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        from lorapipe.training.adapter_layers.finetuned_weights import FinetunedWeights

        places = []
        for part in parts:
            found = self.chosen([*model.modules(part), *model.outer_modules(part)])
            if not found:
                rate = "unet_lr" if part == model.denoiser else f"{part}_lr"
                what = f"include and exclude leave nothing of the {part.replace('_', ' ')}."
                raise InputError(what, where="adapter", cure=f"Write {rate}: 0, or take others.")
            places += [(part, ref.path) for ref in found]
        return FinetunedWeights(model, places, self.weights == "bf16", self.fused_backward)

    def problems(self) -> Iterator[Problem]:
        for name in ("include", "exclude"):
            yield from pattern_problems(name, enumerate(getattr(self, name)), noun="layer")
