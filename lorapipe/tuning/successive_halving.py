"""Successive halving of a matrix (Jamieson & Talwalkar 2016): all cells train a part, the better half of them goes on.

`keep: 3` of twelve cells gives three rungs: 12 cells train a sixth of their steps, the better 6 go on to a third, the best 3
to the end: 42 % of the steps of all. A cell that goes on takes up where it was (`resume_from`), so its result is that of a
training in one go, and has the same key. Cells are ranked by the merit at strength 1 of the stages that judge them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from lorapipe.errors import listed
from lorapipe.percent import percent
from lorapipe.pipeline.artifacts import Report
from lorapipe.pipeline.events import Event, Log
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.halved_matrix import HalvedMatrix
from lorapipe.pipeline.plan import plan
from lorapipe.spec import Duration, Ref
from lorapipe.tuning.judgement import judgement_of
from lorapipe.tuning.multi_run import MultiRun

if TYPE_CHECKING:
    from lorapipe.pipeline.artifacts import Artifact
    from lorapipe.pipeline.ledger import Ledger
    from lorapipe.pipeline.pipeline import Pipeline
    from lorapipe.stages import Stage

LAST = Fraction(1, 3)
"""The part of its steps that a cell trains before the last rung; each rung before trains half of the next one's."""


@dataclass(frozen=True)
class Rung:
    """So many cells train on to this part of their steps."""

    cells: int
    part: Fraction


def rungs(count: int, keep: int) -> list[Rung]:
    """The rungs of `count` cells, of which `keep` train to the end."""
    counts = [count]
    while counts[-1] > keep:
        counts.append(max(keep, math.ceil(counts[-1] / 2)))
    parts = [Fraction(1), *(LAST / 2**place for place in range(len(counts) - 1))]
    return [Rung(cells, part) for cells, part in zip(counts, reversed(parts), strict=True)]


def share_of_steps(found: Sequence[Rung]) -> float:
    """The steps of all rungs as a share of those of all cells to the end."""
    befores = [Fraction(0), *(each.part for each in found)]
    steps = sum(rung.cells * (rung.part - before) for rung, before in zip(found, befores, strict=False))
    return float(steps / found[0].cells)


def words(found: Sequence[Rung]) -> str:
    """The rungs in a sentence."""
    told = [f"{each.cells} train {'all' if each.part == 1 else each.part} of their steps" for each in found]
    return f"{', '.join(told)}: {percent(share_of_steps(found))} of the steps of all"


def going_on(merits: Mapping[str, float], count: int) -> list[str]:
    """The `count` cells of the highest merit, in their own order; of equals, the first."""
    order = [*merits]
    best = sorted(order, key=lambda cell: (-merits[cell], order.index(cell)))[:count]
    return [cell for cell in order if cell in best]


def length(whole: Duration, part: Fraction) -> Duration:
    """A part of a length of training, rounded up."""
    return Duration(math.ceil(whole.count * part), whole.unit)


def pipeline_of(pipeline: Pipeline, of: HalvedMatrix, found: Sequence[Rung], levels: Mapping[str, int]) -> Pipeline:
    """The pipeline in which each cell has trained up to the rung of its level, by way of those before."""
    stages: dict[str, Stage] = {}
    for name, stage in pipeline.stages.items():
        if name not in levels:
            stages[name] = stage
            continue
        before: str | None = None
        for level in range(levels[name] + 1):
            until = None if found[level].part == 1 else length(cast(Any, stage).steps, found[level].part)
            own = name if level == levels[name] else f"{name}-until-{cast(Duration, until).count}"
            settings: dict[str, Any] = {"until": until, "resume_from": Ref(before) if before else None}
            stages[own] = replace(stage, **settings)
            before = own
    return replace(pipeline, stages=stages)


def final(pipeline: Pipeline, of: HalvedMatrix, kept: Sequence[str]) -> Pipeline:
    """The pipeline without what follows the cells that were left out alone: their reports stay, for comparison."""
    out = {*of.cells} - {*kept}
    judges = {judge for cell in of.cells for judge in of.judges[cell]}
    below: dict[str, frozenset[str]] = {}
    for name, needs in pipeline.needs.items():
        own = frozenset([name]) if name in of.cells else frozenset[str]()
        below[name] = own.union(*(below[need] for need in needs))
    wanted = [name for name in pipeline.stages if not below[name] or name in judges or below[name] - out]
    return pipeline.with_needs(wanted)


@dataclass(frozen=True)
class HalvingState:
    """How far a halved matrix has come.

    `cells` are those that train on, `levels` the rung that each cell has reached, `told` what a plan and the log say of all
    that was before.
    """

    pipeline: Pipeline
    of: HalvedMatrix
    cells: Sequence[str]
    levels: Mapping[str, int]
    told: tuple[str, ...]
    level: int = 0

    @property
    def rungs(self) -> list[Rung]:
        """All rungs, those that are done too."""
        return rungs(len(self.of.cells), self.of.keep)

    @property
    def is_last(self) -> bool:
        """Whether the cells that are left train to the end."""
        return self.level == len(self.rungs) - 1

    @property
    def following(self) -> Pipeline:
        """What runs next: the next rung up to its judges, or at the end all that is wanted of the whole pipeline."""
        whole = pipeline_of(self.pipeline, self.of, self.rungs, self.levels)
        if self.is_last:
            return final(whole, self.of, self.cells)
        return whole.with_needs([judge for cell in self.cells for judge in self.of.judges[cell]])

    def after(self, artifacts: Mapping[str, Artifact]) -> HalvingState:
        """The state when the artifacts of `following` are there."""

        def merit(judge: str) -> float:
            return judgement_of(judge, cast(Report, artifacts[judge]).data).merit

        merits = {cell: min(map(merit, self.of.judges[cell])) for cell in self.cells}
        level = self.level + 1
        cells = going_on(merits, self.rungs[level].cells)
        levels = {**self.levels, **dict.fromkeys(cells, level)}
        which = f"after {self.rungs[self.level].part} of the steps go on: {listed(cells, 100)}"
        return replace(self, cells=cells, levels=levels, told=(*self.told, which), level=level)


def begun(pipeline: Pipeline) -> HalvingState:
    """Nothing has been trained yet."""
    of = pipeline.halved
    assert of is not None
    which = f"keep: {of.keep} of {of.stage}'s {len(of.cells)} cells: {words(rungs(len(of.cells), of.keep))}"
    return HalvingState(pipeline, of, [*of.cells], dict.fromkeys(of.cells, 0), (which,))


def stored(pipeline: Pipeline, ledger: Ledger) -> HalvingState:
    """Return how far the results in the store have come. Runs and writes nothing."""
    state = begun(pipeline)
    while not state.is_last and (artifacts := plan(state.following, ledger).artifacts) is not None:
        state = state.after(artifacts)
    return state


class SuccessiveHalving(MultiRun):
    """A pipeline whose matrix is halved, as one stream of events; used as `Run` is."""

    def _in_pool(self, pool: Pool) -> Generator[Event, None, None]:
        state = begun(self.pipeline)
        stage = state.of.stage
        yield Log(stage, text=state.told[-1], level="warning")
        while not state.is_last:
            if not (yield from self._run(state.following, pool)):
                return
            state = state.after(self.artifacts)
            yield Log(stage, text=state.told[-1], level="warning")
        yield from self._run(state.following, pool)
