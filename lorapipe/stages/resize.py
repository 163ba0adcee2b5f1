"""The `resize` stage: an adapter with lower ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import Problem
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages._kept import emit_report, modules_told
from lorapipe.stages._merge_inputs import AdapterFile, header_problems

if TYPE_CHECKING:
    from lorapipe.lora_tools.resize import ResizeRules

CHOICES = ("energy", "sv_ratio", "sv_fro", "sv_cumulative")
"""Settings of which at most one chooses the ranks."""


@dataclass(frozen=True)
class Resize(Stage):
    """Slim an adapter to lower ranks: the best approximation of each module's update; LoHa and LoKr become LoRAs."""

    menu_title: ClassVar[str] = "Resize LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("resize lora", "reduce rank", "compress lora", "prune")
    makes: ClassVar[type[Artifact]] = Weights

    lora: AdapterFile = param(
        help="a LoRA's file of any kind and format, or a stage's weights: $penny, $grid.best", shelf="loras"
    )
    base: Family = param(help="the base model that it is for; its weights are not read")
    rank: int = param(
        16, "the new rank; the largest one, where another setting chooses", ge=1, le=768, kohya=("new_rank",)
    )
    conv_rank: int | None = param(
        None, "the new rank of 3×3 convolutions; empty: as rank", ge=1, le=768, kohya=("new_conv_rank",)
    )
    energy: float | None = param(
        None, "choose each module's rank so that it keeps this share of its update's squared norm: 0.95", gt=0, le=1
    )
    sv_ratio: float | None = param(
        None,
        "keep singular values above the module's largest one divided by this: 20",
        gt=1,
        kohya=("dynamic_param",),
        rare=True,
    )
    sv_fro: float | None = param(None, "keep this share of the update's Frobenius norm: 0.9", gt=0, le=1, rare=True)
    sv_cumulative: float | None = param(
        None, "keep this share of the sum of singular values: 0.9", gt=0, le=1, rare=True
    )
    like: Literal["exact", "kohya"] = param(
        "exact",
        "how sv_ratio, sv_fro and sv_cumulative count: exact, the fewest directions that suffice; kohya, one more, as "
        "resize_lora.py does",
        rare=True,
    )
    dtype: Literal["own", "fp16", "bf16", "fp32"] = param(
        "own", "number type of the file; own: as it was", kohya=("save_precision",), rare=True
    )
    with_original: bool = param(
        False,
        "also keep the adapter as it was, as snapshot 1 before the slim one, 2, so that one evaluate grid compares them",
    )

    def problems(self) -> Iterator[Problem]:
        given = [name for name in CHOICES if getattr(self, name) is not None]
        if len(given) > 1:
            what = f"{' and '.join(given)} all choose ranks."
            yield Problem(what, cure="Keep one of them.", path=(given[1],))
        if isinstance(self.lora, Source) and not self.lora.path.is_dir():
            yield from header_problems(self.lora, "lora")

    def rules(self) -> ResizeRules:
        """Return the settings that say which ranks."""
        from lorapipe.lora_tools.resize import ResizeRules

        return ResizeRules(**{each.name: getattr(self, each.name) for each in fields(ResizeRules)})

    def run(self, context: Context) -> Weights:
        from lorapipe.lora_tools.resize import resize

        path = context.out / "resized.safetensors"
        found = resize(self.lora.path, self.rules(), path, dtype=self.dtype, tell=modules_told(context))
        emit_report(found, context)
        before = (Snapshot(1, 0, self.lora.path),) if self.with_original else ()
        return Weights((*before, Snapshot(len(before) + 1, 0, path)), base=self.base)
