"""The `merge_checkpoints` stage: a weighted sum of base models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from lorapipe.errors import InputError, Problem
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Artifact, Base
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import Destination, param
from lorapipe.stages import Stage
from lorapipe.stages._merge_inputs import CheckpointWeight, told
from lorapipe.stages._merged_base import MergedBase


@dataclass(frozen=True)
class MergeCheckpoints(MergedBase, Stage):
    """Mix base models of one family: a weighted sum, or with a weight below 0 the difference of two added to a third."""

    menu_title: ClassVar[str] = "Merge checkpoints"
    search_words: ClassVar[tuple[str, ...]] = ("model merge", "weighted sum", "add difference")
    makes: ClassVar[type[Artifact]] = Base

    base: Family = param(help="the first base, which has what the others' weights leave of 1; its layout is kept")
    others: tuple[CheckpointWeight, ...] = param(
        help="the others: [{checkpoint: b.safetensors, weight: 0.3}] is 0.7 A + 0.3 B; with weights 0.8 of B and -0.8 of C "
        "it is A + 0.8 (B - C), A1111's add difference",
        min_items=1,
    )
    dtype: Literal["own", "fp16", "bf16", "fp32"] = param(
        "own", "number type of the new base; own: as in the first", kohya=("save_precision",), rare=True
    )
    to: Destination | None = param(
        None,
        "where to write it too: a file, or a folder for a base that is one; empty: only into the store, for other stages",
        content=False,
    )
    title: str = param("", "a name written into the file's metadata; empty: the first base's own", rare=True)
    overwrite: bool = param(
        False,
        "also replace a file that lorapipe has not made, or that was changed since; files of its own are always replaced",
        content=False,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        if not self.base.is_pending:
            for place, each in enumerate(self.others):
                other = replace(self.base, checkpoint=each.checkpoint)
                if not other.is_pending:
                    found = (problem for problem in other.problems() if problem.path[:1] == ("checkpoint",))
                    yield from (problem.under("others", place) for problem in found)
        yield from self._problems_of_place()

    def run(self, context: Context) -> Base:
        from lorapipe.lora_tools.checkpoint_sum import WeightedBase, first_weight, merge_checkpoints

        if problems := [*self.problems()]:
            raise InputError(problems)
        path = self._path(context)
        others = [WeightedBase(replace(self.base, checkpoint=each.checkpoint), each.weight) for each in self.others]
        count = merge_checkpoints(self.base, others, path, dtype=self.dtype, title=self.title, tell=told(context))
        shares = [first_weight([each.weight for each in self.others]), *(each.weight for each in self.others)]
        mix = " + ".join(f"{share:g}" for share in shares)
        context.emit(Log(text=f"{count} tensors mixed, {mix}; read back as it was computed"))
        return Base(path)
