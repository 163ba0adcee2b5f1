"""The `merge` stage: adds adapters to a base model, as a new base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from lorapipe.errors import Problem, counted
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Base
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import Destination, param
from lorapipe.stages import Stage
from lorapipe.stages._merge_inputs import AdapterWeight, file_problems, told
from lorapipe.stages._merged_base import MergedBase


@dataclass(frozen=True)
class Merge(MergedBase, Stage):
    """Add adapters to a base at chosen strengths: a style in a checkpoint, or a base to train on (`checkpoint: $merged`)."""

    menu_title: ClassVar[str] = "Merge LoRA into base"
    search_words: ClassVar[tuple[str, ...]] = ("merge lora", "bake lora", "lora to checkpoint")
    makes: ClassVar[type[Artifact]] = Base

    base: Family = param(help="the base model that the adapters are added to")
    adapters: tuple[AdapterWeight, ...] = param(
        help="the adapters, of any kinds and formats: [{file: neon.safetensors, strength: 0.8}, {file: $penny}]",
        min_items=1,
    )
    dtype: Literal["own", "fp16", "bf16", "fp32"] = param(
        "own",
        "number type of the new base; own: as in the base, so that all that does not change keeps its bytes",
        kohya=("save_precision",),
        rare=True,
    )
    to: Destination | None = param(
        None,
        "where to write it too: a file, or a folder for a base that is one; empty: only into the store, for other stages",
        content=False,
        kohya=("save_to",),
    )
    title: str = param("", "a name written into the file's metadata; empty: the base's own", rare=True)
    overwrite: bool = param(
        False,
        "also replace a file that lorapipe has not made, or that was changed since; files of its own are always replaced",
        content=False,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        return self._problems_of_place()

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        return file_problems(self.adapters)

    def run(self, context: Context) -> Base:
        from lorapipe.lora_tools.checkpoint_merge import merge_adapters

        path = self._path(context)
        files = [each.weighted() for each in self.adapters]
        found = merge_adapters(self.base, files, path, dtype=self.dtype, title=self.title, tell=told(context))
        mix = ", ".join(f"{each.path.name} {each.strengths.in_words()}" for each in files)
        context.emit(Log(text=f"{counted(found.layers, 'layer')} changed by {mix}; read back as it was computed"))
        if found.words:
            what = f"A checkpoint has no place for words: {', '.join(found.words)}. Export them with what: embedding."
            context.emit(Log(text=what, level="warning"))
        return Base(path)
