"""YAML → Pipeline, or every problem at once with line and column.

    vars: {images: ./photos}
    stages:
      dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
      penny:   {uses: train, dataset: $dataset, steps: 1000}

A document is read in this order: the files that it extends, values from `--set vars.…`, conditions (`when`), variables,
values from `--set stage.…`, matrices, each stage by its own spec, references between stages. Nothing is executed or
imported from YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.extends import open_layers
from lorapipe.pipeline.pipeline_reader import PipelineReader, cycle_problem, dotted
from lorapipe.pipeline.stage_options import Options
from lorapipe.pipeline.yaml_document import Document
from lorapipe.spec import PathPolicy
from lorapipe.stages import Stage

if TYPE_CHECKING:
    from lorapipe.pipeline.events import Event
    from lorapipe.pipeline.plan import Plan


@dataclass(frozen=True)
class Pipeline:
    """Stages by name, each after those it needs. `folder` (absolute): where relative paths start and the store lies.

    `files` are those that it was read from; `located` gives a problem that is found later its place in them.
    """

    name: str
    folder: Path
    stages: Mapping[str, Stage]
    options: Mapping[str, Options] = field(default_factory=dict)
    notices: tuple[Problem, ...] = ()
    """What works and is seldom meant, with its place."""
    files: tuple[Path, ...] = ()
    located: Callable[[Problem], Problem] = field(default=lambda problem: _named(problem), repr=False, compare=False)

    def options_of(self, stage: str) -> Options:
        """How a stage is run."""
        return self.options.get(stage) or Options()

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """The stages that each stage refers to."""
        return {name: references.needs(stage) for name, stage in self.stages.items()}

    @classmethod
    def load(cls, path: Path | str, sets: Sequence[str] = (), places: PathPolicy | None = None) -> Self:
        """Read a pipeline file, changed by `stage.knob=value` settings; `InputError` holds every problem found.

        `places` says which paths it may name, where a part of it is a stranger's.
        """
        path = Path(path)
        return cls.read(open_layers(path), path.parent.resolve(), sets, places)

    @classmethod
    def read(cls, document: Document, folder: Path, sets: Sequence[str] = (), places: PathPolicy | None = None) -> Self:
        """The pipeline of a document; relative paths start at `folder`."""
        reader = PipelineReader(document, folder, sets, places)
        stages = reader.stages()
        name, files = Path(document.name).name, tuple(Path(file).absolute() for file in document.lines)
        notices = reader.notices(stages)
        return cls(name, reader.folder, stages, reader.options, notices, files, reader.located)

    def run(self, on_event: Callable[[Event], None] | None = None, **where: Any) -> dict[str, Artifact]:
        """Run it, telling `on_event` of everything; the artifacts by stage name. Keywords: see `run.run`.

        Raises `LorapipeError` with what failed, when all that does not depend on it is done.
        """
        from lorapipe.pipeline.execution.runner import run_to_end

        return run_to_end(self, on_event, **where)

    def plan(self) -> Plan:
        """What running it would do now, and why."""
        from lorapipe.pipeline.ledger import Ledger
        from lorapipe.pipeline.plan import plan

        with closing(Ledger(self.folder)) as ledger:
            return plan(self, ledger)

    def with_needs(self, names: Iterable[str]) -> Self:
        """The pipeline of these stages and all that they need."""
        waiting, wanted = self.known(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += self.needs[name]
        return replace(self, stages={name: stage for name, stage in self.stages.items() if name in wanted})

    def and_after(self, names: Iterable[str]) -> frozenset[str]:
        """These stages and all that depend on them."""
        found = set(self.known(names))
        for name, needs in self.needs.items():  # in order: what a stage needs stands before it
            if found.intersection(needs):
                found.add(name)
        return frozenset(found)

    def known(self, names: Iterable[str]) -> list[str]:
        """These names, if there are such stages; else an `InputError` with the near misses."""
        problems = [
            Problem(f"there is no stage {name!r}.", self.name, near_miss(name, [*self.stages]))
            for name in names
            if name not in self.stages
        ]
        if problems:
            raise InputError(problems)
        return list(names)

    @classmethod
    def build(cls, name: str, folder: Path, stages: Mapping[str, Stage]) -> Self:
        """A pipeline made in Python rather than read; stages in any order."""
        order, cycle = references.in_order({each: references.needs(stage) for each, stage in stages.items()})
        if cycle:
            raise InputError(cycle_problem(cycle))
        return cls(name, folder.resolve(), {each: stages[each] for each in order})


def load_all(files: Sequence[Path], sets: Sequence[str] = ()) -> list[Pipeline]:
    """Read several pipelines; `InputError` holds the problems of all of them."""
    pipelines, problems = [], list[Problem]()
    for file in files:
        try:
            pipelines.append(Pipeline.load(file, sets))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    return pipelines


def _named(problem: Problem) -> Problem:
    """A problem of a pipeline that was not read: its place is the knob's name."""
    return replace(problem, where=problem.where or dotted(problem.path[1:]))
