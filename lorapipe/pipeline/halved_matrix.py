"""`keep: 3` in a matrix: of its cells only so many train to the end; `tuning.successive_halving` says which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from lorapipe.errors import Problem
from lorapipe.pipeline.matrix_samples import KEEP
from lorapipe.pipeline.tune_options import judges_of
from lorapipe.stages import Stage


@dataclass(frozen=True)
class HalvedMatrix:
    """The stage whose matrix it is, its cells, how many of them are kept, and the stages that judge each."""

    stage: str
    cells: tuple[str, ...]
    keep: int
    judges: Mapping[str, tuple[str, ...]]

    def is_within(self, names: Set[str]) -> bool:
        """Whether all its cells and all that judges them are among these stages."""
        return names >= {*self.cells, *(judge for each in self.judges.values() for judge in each)}


def halved(stage: str, cells: tuple[str, ...], keep: int, stages: Mapping[str, Stage]) -> HalvedMatrix:
    """Return the halved matrix of a stage; `problems` must have found nothing."""
    return HalvedMatrix(stage, cells, keep, {cell: tuple(judges_of(cell, stages)) for cell in cells})


def problems(
    keeps: Mapping[str, int], cells: Mapping[str, list[str]], stages: Mapping[str, Stage]
) -> Iterator[Problem]:
    """Yield what keeps the matrices with `keep` (stage → number) from being halved."""
    for place, (name, keep) in enumerate(keeps.items()):
        path = ("stages", name, "matrix", KEEP)
        own = cells[name]
        if place:
            yield Problem("only one matrix of a pipeline can be halved.", cure="Take one away.", path=path)
        elif not all(stages[cell].trains and hasattr(stages[cell], "until") for cell in own):
            yield Problem("only trainings can be halved.", cure="Take it away.", path=path)
        elif keep >= len(own):
            yield Problem(f"{keep} of {len(own)} cells leaves none out.", cure="Keep fewer.", path=path)
        elif any(getattr(stages[cell], knob) for cell in own for knob in ("until", "resume_from", "stop")):
            what = "its trainings have until, resume_from or stop, which decide when they end."
            yield Problem(what, cure="Take these away.", path=path)
        elif not all(judges_of(cell, stages) for cell in own):
            cure = f"Add `grid: {{uses: evaluate, matrix: ${name}, weights: ${name}}}`."
            yield Problem("nothing judges its cells, so none is better than another.", cure=cure, path=path)
