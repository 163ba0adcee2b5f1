"""Inputs of the merge stages: adapters and checkpoints with their weights; and the progress of writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import Problem
from lorapipe.models import Checkpoint
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Progress
from lorapipe.spec import Source, Spec, param

if TYPE_CHECKING:
    from lorapipe.lora_tools.weighted_adapters import WeightedFile


@dataclass(frozen=True)
class AdapterFile(Source):
    """An adapter's file, or a stage that makes weights: `$penny`, `$grid.best`."""

    artifact: ClassVar[str] = "Weights"


@dataclass(frozen=True)
class AdapterWeight(Spec):
    """An adapter and how strongly it is added."""

    file: AdapterFile = param(
        help="a LoRA's file of any kind and format, or a stage's weights: $penny, $grid.best", shelf="loras"
    )
    strength: float = param(
        1.0, "factor on its update: 0.8 adds it as <lora:name:0.8> does; below 0 takes it away", ge=-4, le=4
    )
    text_encoder_strength: float | None = param(
        None, "factor for the text encoders; empty: as strength, 0 leaves them as they are", ge=-4, le=4
    )
    block_strengths: tuple[float, ...] = param(
        (),
        "a further factor for each block of the denoiser (U-Net), in the order of block_ranks: 25 numbers for SD1.x and "
        "SD2, 23 for SDXL; 0 leaves a block out",
        ge=-4,
        le=4,
    )

    def weighted(self) -> WeightedFile:
        """Return the file and its strengths."""
        from lorapipe.lora_tools.weighted_adapters import Strengths, WeightedFile

        return WeightedFile(
            self.file.path, Strengths(self.strength, self.text_encoder_strength, tuple(self.block_strengths))
        )


@dataclass(frozen=True)
class CheckpointWeight(Spec):
    """A checkpoint and its weight in a sum."""

    checkpoint: Checkpoint = param(help="a checkpoint of the same family, or a stage's: $merged", shelf="checkpoints")
    weight: float = param(
        0.5, "its share: 0.3 mixes 30 % of it in; below 0 takes it away, as the second of a difference", ge=-4, le=4
    )


def file_problems(adapters: Sequence[AdapterWeight]) -> Iterator[Problem]:
    """Yield what the headers of adapters' files say is wrong; those that a stage still has to make are left out."""
    for place, each in enumerate(adapters):
        if isinstance(each.file, Source):
            yield from header_problems(each.file, "adapters", place, "file")


def header_problems(file: Source, *knob: str | int) -> Iterator[Problem]:
    """Yield what the header of an adapter's file says is wrong; `knob` is the path of the setting that names it."""
    from lorapipe.formats import complaints

    for problem in complaints(file.path):
        yield replace(problem, what=f"{file.path.name} {problem.what}", path=knob)


def told(context: Context) -> Callable[[int, int], None]:
    """Return a function that tells the bytes done as progress, in megabytes, and stops when the user wants to."""
    last = -1

    def tell(done: int, total: int) -> None:
        nonlocal last
        context.check()
        percent = 100 * done // max(1, total)
        if percent != last:
            last = percent
            context.emit(Progress(step=done // 1_000_000, total=total // 1_000_000, unit="MB"))

    return tell
