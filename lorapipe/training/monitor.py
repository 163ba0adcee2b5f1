"""A training under way: what is done with each step that the loop yields.

Figures are told a few times a second, snapshots and previews made when it is time, and the state kept, so that a killed
program goes on where it was and ends with the same file, bit for bit on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lorapipe.errors import Interrupted
from lorapipe.pipeline.events import Event, Log, Metric, Progress
from lorapipe.training.loop import Step
from lorapipe.training.metrics_log import AVERAGE, PATIENCE, MetricRow, MetricsLog
from lorapipe.training.optimizers import settled
from lorapipe.training.resume_state import Checkpoints, Trainable
from lorapipe.training.throughput import Throughput

GRADIENT_NORM = "gradient_norm"
CHECKPOINT_SECONDS = 60.0
"""The most that a killed training loses, about; snapshots are checkpoints too."""
CHECKPOINT_SHARE = 0.02
"""The most that checkpoints may take of a training's time: where one takes seconds, fewer are made between snapshots."""


@dataclass(frozen=True)
class Marks:
    """The steps, from 1, after which something is to be made."""

    snapshots: frozenset[int]
    previews: frozenset[int] = frozenset()


@dataclass
class Monitor:
    """The consumer of the loop's steps. `folder` outlives a killed attempt; `total` is the number of the last step.

    `snapshot(step)` and `preview(step)` make their files, the snapshot's is returned; `estimates()` are the optimizer's own
    figures.
    """

    folder: Path
    total: int
    marks: Marks
    trainable: Trainable
    estimates: Callable[[], Mapping[str, float | torch.Tensor]]
    snapshot: Callable[[int], Path]
    preview: Callable[[int], None]
    emit: Callable[[Event], None]
    stopping: Callable[[], bool]

    def begin(self) -> int:
        """Take up where an earlier attempt was: how many steps it had made."""
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        self.curves = MetricsLog(self.folder, patience=min(PATIENCE, self.total))
        found = self.checkpoints.load(self.trainable)
        for text in found.complaints:
            self.emit(Log(text=text, level="warning"))
        if found.step:
            self.emit(Log(text=f"Goes on after step {found.step} of {self.total}."))
        self.curves.begin(found.step, found.curve)
        self.throughput = Throughput(self.total, found.step)
        self.saved, self.pause = time.monotonic(), CHECKPOINT_SECONDS
        return found.step

    def follow(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Do what is to be done after each step, and pass it on. `Interrupted` where asked to stop, all saved."""
        try:
            for step in steps:
                self._take(step)
                yield step
        finally:
            self.curves.close()

    def _take(self, step: Step) -> None:
        number, stopping = step.step, self.stopping()
        rates = {f"lr/{name}": rate for name, rate in step.rates.items()}
        norm = {} if step.gradient_norm is None else {GRADIENT_NORM: step.gradient_norm}
        self.curves.add(number, {"loss": step.loss, **rates, **self.estimates(), **norm})
        marked = number in self.marks.snapshots or number in self.marks.previews
        if marked or stopping or self.throughput.due():
            self._tell(self.curves.write())
        if number in self.marks.snapshots:
            with settled(self.trainable.optimizer):
                if not _is_finite(self.trainable):
                    raise self.curves.blown_up(number)
                self.checkpoints.add(self.snapshot(number))
        if marked or stopping or time.monotonic() - self.saved > self.pause:
            self._save(number)
        if stopping and number < self.total:
            raise Interrupted(f"Stopped after step {number} of {self.total}; run the same command again to go on.")
        if number in self.marks.previews:
            with settled(self.trainable.optimizer):
                self.preview(number)  # last: it takes long, and may be interrupted

    def _save(self, step: int) -> None:
        begun = time.monotonic()
        self._tell(self.curves.write())  # the curve is never behind the state
        self.curves.flush()
        self.checkpoints.save(step, self.trainable, self.curves.path.read_bytes())
        self.saved = time.monotonic()
        self.pause = max(CHECKPOINT_SECONDS, (self.saved - begun) / CHECKPOINT_SHARE)

    def _tell(self, points: list[MetricRow]) -> None:
        if not points:
            return
        for point in points:
            self.emit(Metric(step=point.step, values=point.values))
        last = points[-1]
        self.throughput.update(last.step)
        shown = {name: value for name, value in last.values.items() if name not in (AVERAGE, GRADIENT_NORM)}
        values = {**shown, "loss": last.values[AVERAGE], "s/it": self.throughput.seconds_per_step}
        self.emit(Progress(step=last.step, total=self.total, seconds_left=self.throughput.seconds_left, values=values))


def _is_finite(trainable: Trainable) -> bool:
    """Whether every weight is a number; asked where they are about to be read from the device in any case."""
    return all(bool(each.isfinite().all()) for parameters in trainable.parameters.values() for each in parameters)
