"""Check the paths outside the store that stages write to, before a run and again at delivery.

    check, plan     `check`: writes nothing
    run             the same, and `probe`, which creates and deletes a file beside each path
    a result        `deliver`

A file is replaced only if lorapipe has written it (see `delivery_log`) or with `overwrite: true`, but never if it is a
source of the pipeline.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.atomic import PART_SUFFIX
from lorapipe.errors import InputError, LorapipeError, Problem, problem_of
from lorapipe.pipeline.artifacts import Artifact
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.delivery_log import DeliveryLog
from lorapipe.pipeline.digests import read_digest
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.sources import Sources
from lorapipe.spec import knobs
from lorapipe.stages import Stage

if TYPE_CHECKING:
    from lorapipe.pipeline.pipeline import Pipeline

MOUNTS = ("/", "/mnt", "/media", "/media/*", "/run/media", "/run/media/*", "/Volumes")
"""Mount points of drives: a missing folder directly below is a drive that is not connected, so it is not created."""
LONGEST_NAME = 255
OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EIO})
"""System errors that would occur at any path."""
RESERVED = r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?"
REFUSED = r'[<>:"|?*\x00-\x1f]'
"""Reserved names and forbidden characters of Windows."""


class Goal(NamedTuple):
    """A file that a stage will deliver; `place` is the complete target path."""

    stage: str
    delivery: Delivery
    place: Path

    def problem(self, what: str, cure: str) -> Problem:
        """Return a problem of the target, at its knob."""
        return Problem(what, cure=cure, path=("stages", self.stage, self.delivery.knob))


def check(pipelines: Sequence[Pipeline]) -> None:
    """Raise an `InputError` with all reasons why these pipelines cannot deliver their files.

    Nothing is written, so only problems that can be seen without writing are found.
    """
    found = [each for pipeline in pipelines for each in Destinations(pipeline, Ledger(pipeline.folder)).problems()]
    if found:
        raise InputError(found)


class Destinations:
    """The paths outside the store that a pipeline writes to. `digest` returns the digest of a file."""

    def __init__(self, pipeline: Pipeline, ledger: Ledger, digest: Callable[[str], str] = read_digest) -> None:
        self._pipeline = pipeline
        self._delivered = DeliveryLog(ledger, digest)
        self._sources = Sources(pipeline)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each path that cannot be written."""
        taken: dict[str, str] = {}
        for goal in self._goals():
            who = taken.setdefault(_identity(goal.place), goal.stage)
            if who == goal.stage:
                found = self._problem(goal)
            else:
                found = (
                    f"{who} writes there too: {goal.place}.",
                    "Give each its own name; in a matrix, write ${cell} in it.",
                )
            if found is not None:
                yield self._pipeline.located(goal.problem(*found))

    def outlook(self, stage: str) -> Iterator[str]:
        """Yield lines about a stage's targets: the full path if it was completed, and files that will be replaced."""
        for goal in self._goals(stage):
            if goal.place != goal.delivery.to.path:
                yield f"writes {goal.place}"
            maker = self._delivered.maker(goal.place)
            if maker not in ("", self._maker(stage)):
                yield f"replaces {goal.place}, which {maker} has made"

    def probe(self) -> None:
        """Create and delete a file beside each path, and missing folders. `InputError` if that fails."""
        found, tried = list[Problem](), set[Path]()
        for goal in self._goals():
            folder = Path(os.path.realpath(goal.place)).parent
            if folder in tried:
                continue
            tried.add(folder)
            try:
                _probe(folder, goal.place.stem)
            except OSError as error:
                if error.errno in OF_THE_MACHINE:  # another path would not help
                    raise LorapipeError(problem_of(error, str(goal.place))) from None
                what = f"{goal.place} cannot be written: {_reason(error)}."
                found.append(self._pipeline.located(goal.problem(what, "Name a place where you may write.")))
        if found:
            raise InputError(found)

    def deliver(self, stage: str, spec: Stage, artifact: Artifact) -> list[Path]:
        """Copy a result's files to their targets and return these. `InputError` if one may not be replaced."""
        made = list[Path]()
        for goal, file in self._files(stage, spec, artifact):
            try:
                if not self._delivered.holds(goal.place, file) and (found := self._problem(goal)) is not None:
                    raise InputError(found[0])
                self._delivered.put(file, goal.place, self._maker(stage), overwrite=goal.delivery.overwrite)
            except (InputError, OSError) as error:
                if isinstance(error, InputError):
                    what = error.problems[0].what
                else:
                    what = f"{goal.place} cannot be written: {_reason(error)}."
                cure = f"The result is kept as {file} and need not be made again. Choose another name, or copy it."
                raise InputError(what, cure=cure) from None
            made.append(goal.place)
        return made

    def _files(self, stage: str, spec: Stage, artifact: Artifact) -> Iterator[tuple[Goal, Path]]:
        """Yield each file of a result with its target; the files of a folder keep their relative paths."""
        for goal in self._goals(stage, spec):
            made = goal.delivery.file(artifact)
            if not goal.delivery.is_folder:
                yield goal, made
                continue
            for file in sorted(each for each in made.rglob("*") if each.is_file()):
                delivery = goal.delivery._replace(is_folder=False)
                yield Goal(stage, delivery, goal.place / file.relative_to(made)), file

    def _goals(self, only: str | None = None, spec: Stage | None = None) -> Iterator[Goal]:
        """Yield all deliveries. A file in a folder that a knob names gets the pipeline's name."""
        name = Path(self._pipeline.name).stem or "lora"
        stages = self._pipeline.stages if only is None else {only: spec or self._pipeline.stages[only]}
        for stage, each in stages.items():
            for delivery in each.deliveries():
                yield Goal(stage, delivery, delivery.place(name))

    def _maker(self, stage: str) -> str:
        return f"{stage} of {self._pipeline.name}"

    def _problem(self, goal: Goal) -> tuple[str, str] | None:
        """Return why a file cannot be written to its target, and the cure."""
        return _bad_name(goal.place) or self._path_problem(goal)

    def _path_problem(self, goal: Goal) -> tuple[str, str] | None:
        place, cure = goal.place, "Give another name."
        real = Path(os.path.realpath(place))
        if ".lorapipe" in real.parts:
            return f"{place} is inside lorapipe's store.", "Name another folder, such as out/."
        try:
            place.lstat()
            place.stat()
        except FileNotFoundError:
            return _unwritable(real.parent, self._pipeline.folder)
        except NotADirectoryError:
            return f"{_file_above(place)} is a file, not a folder.", cure
        except OSError as error:
            return f"{place} cannot be written: {_reason(error)}.", cure
        if real.is_dir():
            if goal.delivery.is_folder:
                return _unwritable(real, self._pipeline.folder)
            return f"{place} is a folder.", f"Write {place.name}/ for a file in it."
        return self._file_problem(goal, real)

    def _file_problem(self, goal: Goal, real: Path) -> tuple[str, str] | None:
        """Return why a file may not replace the one at its target, and the cure."""
        place, cure = goal.place, "Give another name."
        if self._sources.has(place, self._delivered):
            return f"{place} is a source of this pipeline, which is never replaced.", cure
        objection = self._delivered.objection(place)
        if objection and not (goal.delivery.overwrite and real.is_file()):
            can_go = real.is_file() and _has_overwrite(self._pipeline.stages[goal.stage])
            return f"{place}: {objection}", f"Give another name{', or write overwrite: true' if can_go else ''}."
        return _unwritable(real.parent, self._pipeline.folder)


# --------------------------------------------------------------------------------------------------------------- problems


def _bad_name(place: Path) -> tuple[str, str] | None:
    try:
        encoded = len(os.fsencode(place.name))
    except UnicodeEncodeError:
        return f"{place.name!r} cannot be a file's name here.", "Give another name."
    if encoded > LONGEST_NAME:
        return f"the name has {encoded} bytes; {LONGEST_NAME} is the most.", "Give a shorter one."
    if sys.platform == "win32":
        for part in place.parts[1:]:
            if re.fullmatch(RESERVED, part) or re.search(REFUSED, part) or part.endswith((" ", ".")):
                return f"Windows allows no file or folder {part!r}.", "Give another name."
    return None


def _unwritable(folder: Path, project: Path) -> tuple[str, str] | None:
    """Return why a folder cannot be written or made. In the project all folders are made, elsewhere only the last."""
    there = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), None)
    if there is None:
        return f"{folder.anchor or folder} is not there.", "Is the drive connected?"
    if not there.is_dir():
        return f"{there} is a file, not a folder.", "Give another name."
    if not folder.is_relative_to(os.path.realpath(project)) and (found := _missing(folder, there)):
        return found
    if not _may_be_written(there):
        if there.is_relative_to(os.path.realpath(project)) and not _may_be_written(project):
            return None  # the whole project is read-only, which a run reports
        return f"nothing can be written in {there}.", "Name a place where you may write."
    return None


def _missing(folder: Path, there: Path) -> tuple[str, str] | None:
    """Return why a folder outside the project is not made: more than its last part is missing, or a drive is."""
    missing = folder.relative_to(there).parts
    if missing and any(there == Path(each) or there.match(each) for each in MOUNTS):
        return f"the folder {there / missing[0]} is not there.", "Is the drive connected? Else make it."
    if len(missing) > 1:
        return f"the folder {folder.parent} is not there.", "Is it spelled rightly? If it is, make it."
    return None


def _may_be_written(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK) and not _is_read_only(folder)


def _is_read_only(folder: Path) -> bool:
    if sys.platform == "win32":
        return False
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _file_above(place: Path) -> Path:
    return next((each for each in place.parents if each.is_file()), place.parent)


def _has_overwrite(stage: Stage) -> bool:
    return any(knob.name == "overwrite" for knob in knobs(type(stage)))


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


# ---------------------------------------------------------------------------------------------------------------- helpers


def _identity(place: Path) -> str:
    """Return a text that is equal for two names of one file, even if the file does not exist yet."""
    real = os.path.normcase(os.path.realpath(place))
    return real.casefold() if sys.platform == "darwin" else real


def _probe(folder: Path, stem: str) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    made = list[Path]()
    try:
        for each in reversed(missing):
            with suppress(FileExistsError):  # another run has just made it
                each.mkdir()
                made.append(each)
        part = (
            folder / f".{os.urandom(4).hex()}-{stem[:40]}{PART_SUFFIX}"
        )  # contains the name's characters, which the file system may refuse
        try:
            part.write_bytes(b"\0" * 4096)
        finally:
            part.unlink(missing_ok=True)
    finally:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
