"""YAML → Pipeline, or every problem at once with line and column.

    vars: {images: ./photos}
    stages:
      dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
      penny:   {uses: train, dataset: $dataset, steps: 1000}

A document is read in this order: values from `--set vars.…`, variables, values from `--set stage.…`, each stage by its
own spec, references between stages. Nothing is executed or imported from YAML. (`matrix` and `extends`, which make
several stages of one, belong between the second step and the fourth.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Artifact, Ref
from lorapipe.pipeline.document import Document, open_document
from lorapipe.pipeline.overrides import put, split
from lorapipe.pipeline.variables import Variables
from lorapipe.spec import Address, Reading, read
from lorapipe.stages import Stage

STAGE_NAME = re.compile(r"(?!\d+$)\w[\w-]*")


@dataclass(frozen=True)
class Pipeline:
    """Stages by name, each after those it needs. `folder` (absolute): where relative paths start and the store lies."""

    name: str
    folder: Path
    stages: Mapping[str, Stage]

    @cached_property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """The stages that each stage refers to."""
        return {name: references.needs(stage) for name, stage in self.stages.items()}

    @classmethod
    def load(cls, path: Path | str, sets: Sequence[str] = ()) -> Self:
        """Read a pipeline file, changed by `stage.knob=value` settings; `InputError` holds every problem found."""
        path = Path(path)
        reader = _PipelineReader(open_document(path), path.parent.resolve(), sets)
        return cls(path.name, reader.folder, reader.stages())

    @classmethod
    def build(cls, name: str, folder: Path, stages: Mapping[str, Stage]) -> Self:
        """A pipeline made in Python rather than read; stages in any order."""
        order, cycle = references.in_order({each: references.needs(stage) for each, stage in stages.items()})
        if cycle:
            raise InputError(_cycle_problem(cycle))
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


class _PipelineReader:
    """One document on its way to stages."""

    def __init__(self, document: Document, folder: Path, sets: Sequence[str]) -> None:
        self.document = document
        self.folder = folder
        self.problems: list[Problem] = []
        self.sets: dict[Address, str] = {}
        self.values: list[tuple[Address, Any]] = []
        for text in sets:
            try:
                address, value = split(text)
            except InputError as error:
                self.problems += error.problems
                continue
            self.sets[address] = f"--set {text.partition('=')[0].strip()}"
            self.values.append((address, value))

    def stages(self) -> dict[str, Stage]:
        """The stages in order; raises `InputError`."""
        plain, broken = self._filled(self._outline())
        readings = {name: self._read(name, value, broken) for name, value in plain["stages"].items()}
        self._check_references(plain["stages"], readings)
        graph = {name: dict.fromkeys(ref.stage for _, _, ref in _refs(found)) for name, found in readings.items()}
        order, cycle = references.in_order(graph)
        if cycle:
            self._note(_cycle_problem(cycle))
        if self.problems:
            raise InputError(sorted(dict.fromkeys(self.problems), key=lambda each: self.document.position(each.path)))
        return {name: stage for name in order if (stage := readings[name].spec) is not None}

    def _outline(self) -> dict[str, Any]:
        """The document's top level, in order; raises where there is nothing to go on with."""
        plain = self.document.value
        if not isinstance(plain, dict):
            raise InputError("is not a mapping.", where=self.document.where(()), cure="A pipeline needs `stages:`.")
        for key in plain:
            if key not in ("vars", "stages"):
                self._note(Problem(f"unknown key {key!r}.", cure=near_miss(key, ["vars", "stages"]), path=(key,)))
        if not isinstance(plain.get("vars") or {}, dict):
            self._note(Problem("is not a mapping of names to values.", path=("vars",)))
        stages = plain.get("stages")
        if not isinstance(stages, dict) or not stages:
            self._note(Problem("there are no stages.", cure="Write `stages:` and below it `name: {uses: …}`.", path=()))
            raise InputError(self.problems)
        for name in stages:
            if not STAGE_NAME.fullmatch(name) or name == "vars":
                cure = "Use letters, digits, - and _; not `vars`."
                self._note(Problem(f"{name!r} cannot be a stage's name.", cure=cure, path=("stages", name)))
        variables = plain.get("vars") if isinstance(plain.get("vars"), dict) else {}
        return {"vars": variables, "stages": stages}

    def _filled(self, plain: dict[str, Any]) -> tuple[dict[str, Any], set[Address]]:
        """The document after `--set` and variables, and the addresses where a variable could not be filled in."""
        for address, value in self.values:
            if address[0] == "vars":
                self._note(put(plain, address, value))
        variables = Variables(plain["vars"])
        filled = {"vars": plain["vars"], "stages": variables.fill(plain["stages"], ("stages",))}
        for address, value in self.values:
            if address[0] == "stages":
                self._note(put(filled, address, variables.fill(value, address)))
        for problem in variables.problems:
            self._note(problem)
        return filled, variables.broken

    def _read(self, name: str, plain: Any, broken: set[Address]) -> Reading[Stage]:
        contract: Any = Stage  # which is abstract: what is read is one of its implementations
        reading: Reading[Stage] = read(contract, plain, self.folder)
        for problem in reading.problems:
            placed = problem.under("stages", name)
            if placed.path not in broken:
                self._note(placed)
        return reading

    def _check_references(self, plain: Mapping[str, Any], readings: Mapping[str, Reading[Stage]]) -> None:
        makes = {name: _makes(value) for name, value in plain.items()}
        for name, reading in readings.items():
            for at, wanted, ref in _refs(reading):
                problem = references.check(ref, wanted, makes, but=name)
                if problem is not None:
                    self._note(replace(problem, path=("stages", name, *at)))

    def _note(self, problem: Problem | None) -> None:
        """Add a problem, with the place that a person would look at."""
        if problem is None:
            return
        path = problem.path
        setting = next((text for at, text in self.sets.items() if path[: len(at)] == at), None)
        words = path[1:] if path[:1] == ("stages",) else path
        place = f"{setting or self.document.where(path)} {_dotted(words)}".strip()
        if setting and setting.endswith(f" {_dotted(words)}"):
            place = setting
        self.problems.append(replace(problem, where=problem.where or place))


def _refs(reading: Reading[Stage]) -> list[tuple[Address, type[Artifact], Ref]]:
    return [
        (at, kind, value) for at, kind, value in reading.values if isinstance(value, Ref) and issubclass(kind, Artifact)
    ]


def _makes(plain: Any) -> type[Artifact] | None:
    """What the stage written so makes, even where its knobs are wrong; None if that cannot be known."""
    name = plain.get(Stage.tag) if isinstance(plain, dict) else plain
    registry = Stage.registry
    assert registry is not None
    if not isinstance(name, str) or name not in registry:
        return None
    makes: type[Artifact] = registry.get(name).makes
    return makes


def _cycle_problem(cycle: Sequence[str]) -> Problem:
    what = f"stages go round in a circle: {' -> '.join(cycle)}."
    return Problem(what, cure="One of them must start from something else.", path=("stages", cycle[0]))


def _dotted(path: Address) -> str:
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.removeprefix(".")
