"""The `merge_loras` stage: several adapters as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.errors import Problem
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import param
from lorapipe.stages import Stage
from lorapipe.stages._kept import modules_told
from lorapipe.stages._merge_inputs import AdapterWeight, file_problems

NOTABLE = 0.1
"""The relative error of a re-compression above which it is reported as a warning."""


@dataclass(frozen=True)
class MergeLoras(Stage):
    """Add adapters to one adapter, at chosen strengths: exactly, or re-compressed to a rank."""

    menu_title: ClassVar[str] = "Merge LoRAs"
    search_words: ClassVar[tuple[str, ...]] = ("merge lora", "combine loras")
    makes: ClassVar[type[Artifact]] = Weights

    adapters: tuple[AdapterWeight, ...] = param(
        help="the adapters, of any kinds and formats: [{file: $penny, strength: 0.7}, {file: neon.safetensors}]",
        min_items=1,
    )
    base: Family = param(help="the base model that they are for; its weights are read only for DoRA, OFT and such")
    rank: int | None = param(
        None,
        "re-compress every module to this rank, with the error in the log; empty: exact, of the ranks' sum, and a dense "
        "difference where kinds without a rank are added",
        ge=1,
        le=768,
        kohya=("new_rank",),
    )

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        return file_problems(self.adapters)

    def run(self, context: Context) -> Weights:
        from lorapipe.formats.kohya import Kohya
        from lorapipe.lora_tools.adapter_sum import merge_loras
        from lorapipe.lora_tools.merge_metadata import lora_metadata

        path = context.out / "merged.safetensors"
        files = [each.weighted() for each in self.adapters]
        names = self.base.module_names()
        found = merge_loras(
            self.base, names, files, path, Kohya(), rank=self.rank, dtype="fp32", metadata=lora_metadata(self.base),
            tell=modules_told(context),
        )  # fmt: skip
        is_worse = found.error > NOTABLE or bool(found.biases)
        context.emit(Log(text=found.in_words(), level="warning" if is_worse else "info"))
        return Weights((Snapshot(1, 0, path),), base=self.base)
