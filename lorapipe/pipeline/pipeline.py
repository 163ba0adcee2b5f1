"""A pipeline as a value: stages by name, in topological order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.pipeline import references
from lorapipe.pipeline.addresses import dotted
from lorapipe.pipeline.halved_matrix import HalvedMatrix
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.pipeline.tune_options import TuneOptions
from lorapipe.stages import Stage


def _named(problem: Problem) -> Problem:
    """Locate a problem of a pipeline without a file by the knob's name."""
    return replace(problem, where=problem.where or dotted(problem.path[1:]))


@dataclass(frozen=True)
class Pipeline:
    """Stages by name, each after those it needs. `folder` (absolute) is the start of relative paths and contains the store.

    `files` are the files it was read from; `located` adds a position in them to problems that are found later.
    """

    name: str
    folder: Path
    stages: Mapping[str, Stage]
    options: Mapping[str, StageOptions] = field(default_factory=dict)
    notices: tuple[Problem, ...] = ()
    """Warnings about settings that are valid but probably not intended, with their positions."""
    files: tuple[Path, ...] = ()
    located: Callable[[Problem], Problem] = field(default=_named, repr=False, compare=False)
    tune: TuneOptions | None = None
    """How the pipeline is tuned (`tune:`); None: it is run as it is."""
    halved: HalvedMatrix | None = None
    """The matrix of which only some cells train to the end (`keep:`); None: there is none."""

    @classmethod
    def build(cls, name: str, folder: Path, stages: Mapping[str, Stage]) -> Self:
        """Make a pipeline in Python from stages in any order. `InputError` if they depend on one another in a cycle."""
        order, cycle = references.in_order({each: references.needs(stage) for each, stage in stages.items()})
        if cycle:
            raise InputError(references.cycle_problem(cycle))
        return cls(name, folder.resolve(), {each: stages[each] for each in order})

    def options_of(self, stage: str) -> StageOptions:
        """Return the options of a stage."""
        return self.options.get(stage) or StageOptions()

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """The stages that each stage refers to."""
        return {name: references.needs(stage) for name, stage in self.stages.items()}

    def with_needs(self, names: Iterable[str]) -> Self:
        """Return the pipeline of these stages and all that they need; a matrix of which cells are missing is not halved."""
        waiting, wanted = self.known(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += self.needs[name]
        halved = self.halved if self.halved is not None and self.halved.is_within(wanted) else None
        stages = {name: stage for name, stage in self.stages.items() if name in wanted}
        return replace(self, stages=stages, halved=halved)

    def and_after(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names of these stages and of all that depend on them."""
        found = set(self.known(names))
        for name, needs in self.needs.items():  # topological order: needed stages come first
            if found.intersection(needs):
                found.add(name)
        return frozenset(found)

    def known(self, names: Iterable[str]) -> list[str]:
        """Return these names. `InputError`, with similar names, if there are no such stages."""
        names = list(names)
        problems = [
            Problem(f"there is no stage {name!r}.", self.name, near_miss(name, [*self.stages]))
            for name in names
            if name not in self.stages
        ]
        if problems:
            raise InputError(problems)
        return names
