"""What is true of a painted cell: what the classifier sees in each of its pictures, and how surely two cells differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.judging import subjects, truth
from benchmarks.judging.grids import Bench
from benchmarks.judging.trainings import PENS, Training
from lorapipe.evaluation.selection import jackknife_error

MOST_REPEATS = 3
"""Evaluations of one training that count for what is true of its cells."""


@dataclass(frozen=True)
class CellTruth:
    """A cell's pictures, 0 … 1 each, (n,): how much of the subject each shows (`shown`), of what its prompt asks for
    (`followed`), and of the scene that it asks for (`scene`); the last two NaN where nothing is asked for."""

    shown: NDArray[np.float32]
    followed: NDArray[np.float32]
    scene: NDArray[np.float32]

    @property
    def value(self) -> float:
        """What a cell is worth: identity × following, 0 … 1."""
        return float(self.shown.mean() * np.nanmean(self.followed))

    def without(self, place: int) -> CellTruth:
        """All pictures but one."""
        return CellTruth(*(np.delete(getattr(self, field.name), place) for field in fields(self)))


def difference(one: CellTruth, other: CellTruth) -> tuple[float, float]:
    """How much more a cell is worth than another, and the standard error, by a jackknife over pairs of pictures."""
    without = [one.without(place).value - other.without(place).value for place in range(len(one.shown))]
    return one.value - other.value, jackknife_error(without)


def is_painted(bench: Bench) -> bool:
    """Whether a training is painted, and its pictures were shown to the classifier."""
    return bench.done and (bench.folder / "said.npz").exists()


def truths_of(work: Path, training: Training) -> dict[str, CellTruth]:
    """What is true of every painted cell of a training, by the cell's slug, by the pictures of all its repeats."""
    repeats = [Bench(work, replace(training, repeat=number)) for number in range(MOST_REPEATS)]
    every = [_truths(each) for each in repeats if is_painted(each)]
    return {slug: _joined([each[slug] for each in every]) for slug in every[0]}


def _joined(some: Sequence[CellTruth]) -> CellTruth:
    return CellTruth(*(np.concatenate([getattr(each, field.name) for each in some]) for field in fields(CellTruth)))


def _truths(bench: Bench) -> dict[str, CellTruth]:
    training, images = bench.training, bench.images
    asked = [list(training.prompts().values())[prompt] for prompt in images.prompt_of]
    scenes = [{name: tag for name, tag in each.items() if name == "background"} for each in asked]
    with np.load(bench.folder / "said.npz") as stored:
        said = {name: truth.by_head(stored[name]) for name in stored.files if name != "training"}
    return {
        slug: CellTruth(_shown(training, each), truth.following(each, asked), truth.following(each, scenes))
        for slug, each in said.items()
    }


def _shown(training: Training, said: truth.Said) -> NDArray[np.float32]:
    """How much of what is trained each picture shows."""
    match training.what:
        case "subject":
            return truth.identity(said, subjects.subject(training.subject))
        case "style":
            return truth.style(said, PENS[training.subject].__name__.lower())
        case _:
            return truth.concept(said)
