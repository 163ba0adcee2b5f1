"""Turn a document into stages, in the order that `loader` describes; every problem gets its line and column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError, Problem, Problems, TooManyProblems, near_miss, shortened
from lorapipe.limits import MOST_PROBLEMS, MOST_STAGES
from lorapipe.pipeline import halved_matrix, presets, references
from lorapipe.pipeline.addresses import dotted
from lorapipe.pipeline.artifacts import Artifact, class_of
from lorapipe.pipeline.extends import EXTENDS
from lorapipe.pipeline.halved_matrix import HalvedMatrix
from lorapipe.pipeline.matrix import CELL, Expansion, expand
from lorapipe.pipeline.overrides import put, split
from lorapipe.pipeline.stage_options import StageOptions
from lorapipe.pipeline.stage_options import split as split_options
from lorapipe.pipeline.tune_options import TUNE, TuneOptions
from lorapipe.pipeline.tune_options import problems as tune_problems
from lorapipe.pipeline.variables import Variables
from lorapipe.pipeline.when import holds
from lorapipe.pipeline.yaml_document import Document
from lorapipe.pipeline.yaml_values import Position
from lorapipe.spec import Address, Parsed, PathPolicy, ProblemCache, Ref, Source, parse_spec, show
from lorapipe.stages import Stage

KEYS = ("vars", "stages", TUNE, EXTENDS)
NO_PIPELINE = f"is not a pipeline: it has none of {', '.join(KEYS)}."
NO_STAGES = "Write `stages:` and below it `name: {uses: …}`."
MOST_NOTICES = 10
STAGE_NAME = re.compile(r"(?!\d+$)\w[\w-]*")


def name_complaint(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a stage's name, and the cure; None if it can be one."""
    if STAGE_NAME.fullmatch(name) and name != "vars":
        return None
    return f"{shortened(name, 100)!r} cannot be a stage's name.", "Use letters, digits, - and _; not `vars`."


class PipelineReader:
    """Reads the stages of one document."""

    def __init__(self, document: Document, folder: Path, sets: Sequence[str], places: PathPolicy | None = None) -> None:
        self.document = document
        self.folder = folder
        self.places = places
        self.complaints = ProblemCache()
        self.problems = Problems()
        self.options: dict[str, StageOptions] = {}
        self.tune: TuneOptions | None = None
        self.halved: HalvedMatrix | None = None
        self.sets: dict[Address, str] = {}
        self.values: list[tuple[Address, object]] = []
        self.variables = Variables({})
        self.expansion = Expansion()
        for text in sets:
            try:
                address, value = split(text)
            except InputError as error:
                self.problems.add_all(error.problems)
                continue
            self.sets[address] = f"--set {text.partition('=')[0].strip()}"
            self.values.append((address, value))

    def stages(self) -> dict[str, Stage]:
        """Return the stages in topological order. Raises `InputError`. Afterwards `options` has their options."""
        try:
            return self._stages()
        except TooManyProblems as many:
            if many.found != tuple(self.problems):  # raised by a part of the language that has only addresses
                with suppress(TooManyProblems):
                    self._note_all(many.found)
            raise TooManyProblems(self._sorted()) from None
        except InputError as error:
            if all(problem.where for problem in error.problems):
                raise
            raise InputError([*self._sorted(), *map(self.located, error.problems)]) from None

    def _stages(self) -> dict[str, Stage]:
        filled = self._filled(self._outline())
        self.expansion = expanded = expand(filled)
        self._note_all(expanded.problems)
        if len(expanded.stages) > MOST_STAGES:
            self._note(
                Problem(f"there are {len(expanded.stages)} stages; {MOST_STAGES} is the most.", path=("stages",))
            )
            self._raise()
        readings = {name: self._read(name, value) for name, value in expanded.stages.items()}
        self._check_references(expanded.stages, readings)
        graph = {name: dict.fromkeys(ref.stage for _, _, ref in _refs(found)) for name, found in readings.items()}
        order, cycle = references.in_order(graph)
        if cycle:
            self._note(references.cycle_problem(cycle))
        self._raise()
        stages: dict[str, Stage] = {name: stage for name in order if (stage := readings[name].spec) is not None}
        for name, stage in stages.items():
            for problem in stage.problems_among(stages):
                self._note(problem.under("stages", name))
        self._raise()
        self._read_tune(stages)
        self._read_halved(stages)
        return stages

    def _read_halved(self, stages: Mapping[str, Stage]) -> None:
        """Read the matrix with `keep`, where there is one. Raises if it cannot be halved, or the tuning is wrong."""
        keeps, cells = self.expansion.keeps, self.expansion.cells
        if self.tune is not None and keeps:
            self._note(Problem("a pipeline is tuned, or its matrix is halved (keep), not both.", path=(TUNE,)))
        self._note_all(halved_matrix.problems(keeps, cells, stages))
        self._raise()
        for name, keep in keeps.items():
            self.halved = halved_matrix.halved(name, tuple(cells[name]), keep, stages)

    def _read_tune(self, stages: Mapping[str, Stage]) -> None:
        """Read `tune:`, where there is one; `--set tune.NAME=VALUE` sets one, unless a stage is called that."""
        given = [] if TUNE in stages else [(at, value) for at, value in self.values if at[:2] == ("stages", TUNE)]
        if self.document.value.get(TUNE) is None and not given:
            return
        filled = self.variables.fill(self.document.value.get(TUNE) or {}, (TUNE,))
        if isinstance(filled, dict):
            filled |= {".".join(map(str, at[2:])): value for at, value in given}
        reading = parse_spec(TuneOptions, filled, self.folder)
        found = [*reading.problems] if reading.spec is None else [*tune_problems(reading.spec, stages)]
        self._note_all([*self.variables.problems, *(each.under(TUNE) for each in found)])
        self.tune = reading.spec

    def notices(self, stages: Mapping[str, Stage]) -> tuple[Problem, ...]:
        """Return the notices of valid stages; those of a matrix's cells only once, at their place in the document."""
        found = (notice.under("stages", name) for name, stage in stages.items() for notice in stage.notices())
        written = (replace(notice, path=self.expansion.origin(notice.path)) for notice in islice(found, MOST_PROBLEMS))
        placed = dict.fromkeys(map(self.located, written))
        return tuple(islice(placed, MOST_NOTICES))

    def _raise(self) -> None:
        """Raise all problems found so far, in the order of the document, if there are any."""
        if self.problems:
            raise InputError(self._sorted())

    def _sorted(self) -> list[Problem]:
        return sorted(dict.fromkeys(self.problems), key=lambda each: self._position(each.path))

    def _outline(self) -> dict[str, dict[str, Any]]:
        """Return the document's top level. Raises if the rest cannot be read."""
        plain = self.document.value
        if not isinstance(plain, dict):
            raise InputError("is not a mapping.", where=self.document.where(()), cure="A pipeline needs `stages:`.")
        cures = self._unknown_keys(plain)
        variables = plain.get("vars") or {}
        if not isinstance(variables, dict):
            self._note(Problem("is not a mapping of names to values.", path=("vars",)))
            variables = {}
        stages = plain.get("stages")
        if not isinstance(stages, dict) or not stages:
            if not any("'stages'" in cure for cure in cures):
                self._note(Problem("there are no stages.", cure=NO_STAGES, path=()))
            raise InputError(self.problems)
        self._check_names(stages)
        return {"vars": variables, "stages": stages}

    def _unknown_keys(self, plain: Mapping[str, object]) -> list[str]:
        """Add problems for unknown keys, and return their cures. Raises if it is not a pipeline at all."""
        cures = {key: near_miss(key, KEYS) for key in plain if key not in KEYS}
        if len(cures) == len(plain) and not any(cure.startswith("Did") for cure in cures.values()):
            raise InputError(NO_PIPELINE, where=self.document.where(()), cure=NO_STAGES)
        for key, cure in cures.items():
            self._note(Problem(f"unknown key {show(key)}.", cure=cure, path=(key,)))
        return [*cures.values()]

    def _check_names(self, stages: Collection[str]) -> None:
        """Add problems for invalid names. Raises if there are too many stages."""
        if len(stages) > MOST_STAGES:
            self._note(Problem(f"there are {len(stages)} stages; {MOST_STAGES} is the most.", path=("stages",)))
            self._raise()
        for name in stages:
            if (complaint := name_complaint(name)) is not None:
                self._note(Problem(complaint[0], cure=complaint[1], path=("stages", name)))

    def _filled(self, plain: dict[str, dict[str, Any]]) -> dict[str, object]:
        """Return the stages whose `when` is true, after `--set` and variables."""
        for address, value in self.values:
            if address[0] == "vars":
                self._note(put(plain, address, value))
        self.variables = Variables(plain["vars"])
        wanted = {name: stage for name, stage in plain["stages"].items() if self._is_wanted(name, stage)}
        filled = {name: self._fill(stage, ("stages", name), stage) for name, stage in wanted.items()}
        for address, value in self.values:
            if address[0] == "stages" and (address[1] != TUNE or TUNE in filled):
                filling = self._fill(value, address, filled.get(str(address[1])))
                self._note(put({"stages": filled}, address, filling))
        self._note_all(self.variables.problems)
        return filled

    def _is_wanted(self, name: str, stage: object) -> bool:
        """Whether a stage's condition is true. If it is invalid, the stage is kept, so that the rest is checked."""
        condition = stage.get("when") if isinstance(stage, dict) else None
        if condition is None or isinstance(condition, bool):
            return condition is not False
        at: Address = ("stages", name, "when")
        before = len(self.variables.problems)
        try:
            return holds(str(condition), lambda variable: self.variables.fill(f"${{{variable}}}", at))
        except ValueError as error:
            if len(self.variables.problems) > before:
                return True  # a missing variable, which is reported already
            cure = "Compare variables: ${quality} == best, ${final} and not ${draft}, ${size} in [512, 768]."
            self._note(Problem(str(error), "", cure, at))
            return True

    def _fill(self, value: object, at: Address, stage: object) -> object:
        """Fill in variables; `${cell}` is left for the matrix."""
        self.variables.keep = (CELL,) if isinstance(stage, dict) and "matrix" in stage else ()
        return self.variables.fill(value, at)

    def _read(self, name: str, plain: object) -> Parsed[Stage]:
        contract: Any = Stage  # abstract: the result is one of its implementations
        options, knobs = split_options(plain) if isinstance(plain, dict) else ({}, plain)
        problems: tuple[Problem, ...] = ()
        if options:
            how = parse_spec(StageOptions, options, self.folder)
            self.options[name], problems = how.spec or StageOptions(), how.problems
        reading: Parsed[Stage] = parse_spec(
            contract, knobs, lambda at: self._folder_at(("stages", name, *at)), self.places, self.complaints
        )
        for problem in (*problems, *reading.problems):
            placed = problem.under("stages", name)
            if self.expansion.origin(placed.path) not in self.variables.broken:
                self._note(self._about_cells(placed))
        return reading

    def _about_cells(self, problem: Problem) -> Problem:
        """Explain a reference to a stage with a matrix where a single stage is needed."""
        reference = self.expansion.spread.get(problem.path)
        if reference is None:
            return problem
        name = reference[1:].partition(".")[0]
        cells = self.expansion.cells[name]
        what = f"{reference} stands for {len(cells)} stages, but one is needed here."
        cure = f"Write `matrix: ${name}` to make one of this stage for each, or name one: ${cells[0]}."
        return replace(problem, what=what, cure=cure)

    def _folder_at(self, address: Address) -> Path:
        """Return the start of a relative path at this address: the folder of the file that contains it."""
        address = self.expansion.origin(address)
        written = self.variables.origin(address)
        if self._setting(address) or self._setting(written):
            return self.folder
        variable = self.variables.begins.get(written)
        file = self.document.position(written if variable is None else ("vars", variable)).file
        folder = Path(file).parent
        return self.folder if file == self.document.name or folder == presets.FOLDER else folder.resolve()

    def _check_references(self, plain: Mapping[str, object], readings: Mapping[str, Parsed[Stage]]) -> None:
        makes = {name: _makes(value) for name, value in plain.items()}
        left_out = {*self.document.value["stages"]} - {*self.expansion.cells} - {*plain}
        for name, reading in readings.items():
            for at, wanted, ref in _refs(reading):
                if ref.stage in left_out:
                    what = f"{ref.stage!r} is left out: its `when` does not hold."
                    problem: Problem | None = Problem(what, cure="Give this stage the same `when`.")
                else:
                    problem = references.check(ref, wanted, makes, but=name)
                if problem is not None:
                    self._note(replace(problem, path=("stages", name, *at)))

    def _setting(self, path: Address) -> str | None:
        """Return the `--set` that gave the value at an address, or inside it if the document has no value there."""
        names = tuple(map(str, path))
        sets = {tuple(map(str, at)): text for at, text in self.sets.items()}
        above = next((text for at, text in sets.items() if names[: len(at)] == at), None)
        if above or path in self.document.positions:
            return above
        return next((text for at, text in sets.items() if at[: len(names)] == names), None)

    def _position(self, path: Address) -> Position:
        return self.document.position(self.variables.origin(self.expansion.origin(path)))

    def _note(self, problem: Problem | None) -> None:
        """Add a problem with its line and column."""
        if problem is None:
            return
        self.problems.add(self.located(problem))

    def _note_all(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self._note(problem)

    def located(self, problem: Problem) -> Problem:
        """Return a problem with its position: where the value is written, and where it is used."""
        used = self.expansion.origin(problem.path)
        setting = self._setting(used)
        path = used if setting else self.variables.origin(used)
        setting = setting or self._setting(path)
        shown = dotted(problem.path if len(problem.path) > 1 else used)
        if path != used:
            shown = f"{dotted(path)}, for {shown}"
        place = f"{setting or self.document.where(path)} {shown}".strip()
        if setting and setting.endswith(f" {shown.partition(', for ')[0]}"):
            place = f"{setting}{shown[len(setting.rpartition(' ')[2]) :]}"
        excerpt = "" if setting or problem.where else self.document.excerpt(path)
        return replace(problem, where=problem.where or place, excerpt=problem.excerpt or excerpt)


def _refs(reading: Parsed[Stage]) -> list[tuple[Address, type[Artifact], Ref]]:
    """Return the references in a stage, each with the class of artifact that is allowed there."""
    found = [(at, kind, value) for at, kind, value in reading.values if isinstance(value, Ref)]
    return [
        (at, kind if issubclass(kind, Artifact) else class_of(kind.artifact), value)
        for at, kind, value in found
        if issubclass(kind, (Artifact, Source))
    ]


def _makes(plain: object) -> type[Artifact] | None:
    """Return the artifact class of a stage, even if its knobs are wrong; None if it cannot be known."""
    name = plain.get(Stage.tag) if isinstance(plain, dict) else plain
    registry = Stage.registry
    assert registry is not None
    if not isinstance(name, str) or name not in registry:
        return None
    kind: type[Stage] = registry.get(name)
    return kind.makes_with(plain if isinstance(plain, dict) else {})
