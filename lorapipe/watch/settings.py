"""The settings of a watched inbox."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.taggers import Tagger
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.overrides import split
from lorapipe.spec import Spec, from_dict, param
from lorapipe.training.subjects import SUBJECTS, Difficulty, Subject
from lorapipe.watch.folder_state import SizeLimits

PREFIX = "watch."
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class InboxCaptioning(Spec):
    """How dropped folders without any caption are captioned."""

    tagger: Tagger = param(help="the model that captions the pictures: pocket, or {type: wd14, folder: models/wd14}")
    edits: tuple[Edit, ...] = param(
        (), "changes of the tagger's captions, in order: [{type: blacklist, tags: ['* background']}]"
    )


@dataclass(frozen=True)
class WatchSettings(Spec):
    """The settings of `lorapipe watch`, given as `--set watch.NAME=VALUE`."""

    quiet: float = param(
        10.0,
        "seconds without any change after which a dropped folder counts as complete; more for a slow share",
        ge=0.1,
        le=86_400,
    )
    patience: float = param(
        60.0,
        "seconds without any change after which an incomplete zip, or files that cannot be read, count as a failure",
        ge=0,
        le=86_400,
    )
    least: int = param(5, "least number of pictures of a folder; a character needs 10 to 25", ge=1, le=100_000)
    subject: Subject = param(
        "character", "what the dropped folders show, as for `lorapipe new`: " + ", ".join(SUBJECTS)
    )
    difficulty: Difficulty = param(
        "D",
        "how difficult that is, A (a plain person) to I (eldritch), see docs/rules.md; D has room for most, since nobody is "
        "asked",
    )
    quality: Literal["good", "poor"] = param("good", "how good the pictures are, or the best that there are (poor)")
    aim: Literal["quality", "training-speed"] = param("quality", "what matters more: the result, or the time")
    vram: float = param(12.0, "memory of the graphics card in GB, which the settings are made to fit", gt=0, le=1000)
    outputs: Path | None = param(None, "the folder for results; by default outputs, beside the inbox")
    room: float = param(2.0, "GB that must be free on the disk of the results; a job waits until they are", ge=0)
    largest_file: float = param(10.0, "most GB of one file of a dropped folder; no picture is as large", gt=0)
    largest_folder: float = param(500.0, "most GB of all files of a dropped folder", gt=0)
    largest_zip: float = param(20.0, "most GB of a zip, packed and unpacked", gt=0)
    most_files: int = param(20_000, "most files in a zip", ge=1)
    largest_settings: float = param(100.0, "most kB of a dropped lorapipe.yaml", gt=0, le=1000)
    reading_seconds: float = param(
        10.0, "most seconds of CPU time to read a dropped lorapipe.yaml; ordinary ones take almost none", ge=1
    )
    most_stages: int = param(100, "most stages of a dropped folder; each cell of a matrix counts", ge=1)
    most_steps: int = param(100_000, "most training steps of a dropped folder, all trainings together", ge=1)
    most_painted: int = param(
        20_000, "most pictures that are generated to evaluate the trainings of a dropped folder", ge=1
    )
    most_snapshots: int = param(500, "most snapshots of a dropped folder, all trainings together", ge=1)
    most_edits: int = param(
        100, "most caption edits of a dropped folder; a regular expression may take 20 seconds", ge=1
    )
    most_rank: int = param(512, "highest rank of a dropped folder", ge=1)
    most_batch: int = param(64, "largest batch size of a dropped folder", ge=1)
    largest_resolution: int = param(2048, "most pixels of a picture's side in a dropped folder's trainings", ge=16)
    tune: bool = param(
        False,
        "tune each folder's training: train it again with what its verdict says, until it is good at strength 1",
    )
    command: str = param(
        "",
        "a program to start when a job is done or has failed, with its arguments; it is not run by a shell. Its environment "
        "has LORAPIPE_JOB, _NAME, _STATE, _REASON, _FOLDER, _FILE",
    )
    captioning: InboxCaptioning | None = param(
        None,
        "captions for folders that have none, by the built-in pipeline: {tagger: pocket}. The trigger word goes before them",
    )
    webhook: str = param("", "an http(s) URL to which the same values are posted as JSON")

    def problems(self) -> Iterator[Problem]:
        if self.webhook and not re.match(r"https?://[^\s/]+", self.webhook):
            yield Problem(f"{self.webhook!r} is not an http URL.", cure="Write https://…", path=("webhook",))
        try:
            self.argv()
        except ValueError as error:
            yield Problem(f"cannot be split into words: {error}.", cure="Close the quotes.", path=("command",))

    def sizes(self) -> SizeLimits:
        """Return the limits on the size of dropped files."""
        return SizeLimits(self.largest_file * GIGABYTE, self.largest_folder * GIGABYTE, self.largest_zip * GIGABYTE)

    def argv(self) -> list[str]:
        """Return the command's arguments; it is run without a shell."""
        return shlex.split(self.command, posix=os.name != "nt")


def watching(sets: Sequence[str], folder: Path) -> tuple[WatchSettings, list[str]]:
    """Split `--set` texts into watch settings and the others. Raises `InputError` with all problems."""
    own = [text for text in sets if text.lstrip().startswith(PREFIX)]
    given: dict[str, object] = {}
    for text in own:
        address, value = split(text)
        _put(given, [*map(str, address[2:])], value)
    try:
        settings = from_dict(WatchSettings, given, folder)
    except InputError as error:
        raise InputError(map(_placed, error.problems)) from None
    return settings, [text for text in sets if text not in own]


def _put(given: dict[str, object], names: list[str], value: object) -> None:
    """Put a value into nested settings: `captioning.tagger`."""
    for name in names[:-1]:
        inner = given.setdefault(name, {})
        if not isinstance(inner, dict):
            inner = given[name] = {}
        given = inner
    given[names[-1]] = value


def _placed(problem: Problem) -> Problem:
    return replace(problem, where=f"--set {PREFIX}{'.'.join(map(str, problem.path))}".rstrip("."))
