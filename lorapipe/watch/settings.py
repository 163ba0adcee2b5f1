"""How an inbox is watched."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.overrides import split
from lorapipe.spec import Spec, from_dict, param
from lorapipe.watch.folder_state import SizeLimits

PREFIX = "watch."
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class WatchSettings(Spec):
    """The settings of `lorapipe watch`, each reached as `--set watch.NAME=VALUE`."""

    quiet: float = param(
        10.0,
        "seconds without any change after which what was dropped counts as complete; more for a slow share",
        ge=0.1,
        le=86_400,
    )
    patience: float = param(
        60.0,
        "seconds of quiet for a zip that is not whole, or files that cannot be read, before that is a failure",
        ge=0,
        le=86_400,
    )
    least: int = param(5, "pictures that a folder must have; 10 to 25 is what a character needs", ge=1, le=100_000)
    outputs: Path | None = param(None, "the folder for results; by default outputs, beside the inbox")
    room: float = param(
        2.0, "GB that must be free on the disk of the results before a job begins; until then it waits", ge=0
    )
    largest_file: float = param(10.0, "GB that one file of a dropped folder may have; no picture has as many", gt=0)
    largest_folder: float = param(500.0, "GB that all files of a dropped folder may have", gt=0)
    largest_zip: float = param(20.0, "GB that a zip may unpack to, and have packed", gt=0)
    most_files: int = param(20_000, "files that a zip may hold", ge=1)
    largest_settings: float = param(100.0, "kB that a dropped lorapipe.yaml may have", gt=0, le=1000)
    reading_seconds: float = param(
        10.0, "seconds of computing that a dropped lorapipe.yaml may take to be read; one of a person takes none", ge=1
    )
    most_stages: int = param(100, "stages that a dropped folder may ask for, each cell of a matrix being one", ge=1)
    most_steps: int = param(
        100_000, "steps of training that a dropped folder may ask for, all trainings together", ge=1
    )
    most_painted: int = param(20_000, "pictures that a dropped folder may have painted to judge its trainings", ge=1)
    most_snapshots: int = param(500, "snapshots that a dropped folder may have kept, all trainings together", ge=1)
    most_rank: int = param(512, "rank that a dropped folder may ask for", ge=1)
    most_batch: int = param(64, "pictures at once that a dropped folder may ask for", ge=1)
    largest_resolution: int = param(2048, "pixels of a picture's side that a dropped folder may ask for", ge=16)
    command: str = param(
        "",
        "a program to start when a job is done or has failed, with its arguments. It is no shell line; what it should know "
        "is in its environment: LORAPIPE_JOB, _NAME, _STATE, _REASON, _FOLDER, _FILE",
    )
    webhook: str = param("", "an http(s) address to which the same is posted as JSON")

    def problems(self) -> Iterator[Problem]:
        if self.webhook and not re.match(r"https?://[^\s/]+", self.webhook):
            yield Problem(f"{self.webhook!r} is no http address.", cure="Write https://…", path=("webhook",))
        try:
            self.argv()
        except ValueError as error:
            yield Problem(f"cannot be split into words: {error}.", cure="Close the quotes.", path=("command",))

    def sizes(self) -> SizeLimits:
        """Limits on the size of what is dropped."""
        return SizeLimits(self.largest_file * GIGABYTE, self.largest_folder * GIGABYTE, self.largest_zip * GIGABYTE)

    def argv(self) -> list[str]:
        """The words of the command, which is run without a shell."""
        return shlex.split(self.command, posix=os.name != "nt")


def watching(sets: Sequence[str], folder: Path) -> tuple[WatchSettings, list[str]]:
    """Splits `--set` texts into the settings of watching and the others. Raises `InputError` with all that is wrong."""
    own = [text for text in sets if text.lstrip().startswith(PREFIX)]
    given: dict[str, object] = {}
    for text in own:
        address, value = split(text)
        given[".".join(map(str, address[2:]))] = value
    try:
        settings = from_dict(WatchSettings, given, folder)
    except InputError as error:
        raise InputError(map(_placed, error.problems)) from None
    return settings, [text for text in sets if text not in own]


def _placed(problem: Problem) -> Problem:
    return replace(problem, where=f"--set {PREFIX}{'.'.join(map(str, problem.path))}".rstrip("."))
