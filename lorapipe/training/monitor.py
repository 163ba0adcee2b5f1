"""The monitor of a training: logs each step's metrics, saves the resume state, and says what is due after a step.

Metrics are written a few times a second. A killed training resumes from the saved state and ends with the same file, bit
for bit on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.pipeline.events import Event, Log, Metric, Progress
from lorapipe.training.loop import Step
from lorapipe.training.metrics_log import AVERAGE, PATIENCE, MetricRow, MetricsLog
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.resume_state import Checkpoints, Trainable
from lorapipe.training.throughput import Throughput

GRADIENT_NORM = "gradient_norm"
CHECKPOINT_SECONDS = 60.0
"""Seconds between two checkpoints: about the most that a killed training loses. Each snapshot is also followed by one."""
CHECKPOINT_SHARE = 0.02
"""Largest share of a training's time for checkpoints: slow checkpoints are made less often."""


@dataclass(frozen=True)
class Milestones:
    """The last step of a training, and the steps, from 1, after which snapshots and previews are due.

    `end` is the step after which it ends before, with a snapshot; None if it does not.
    """

    total: int
    snapshots: frozenset[int]
    previews: frozenset[int] = frozenset()
    end: int | None = None

    @property
    def last(self) -> int:
        """The step after which it ends."""
        return self.total if self.end is None else self.end

    @property
    def made(self) -> frozenset[int]:
        """The steps whose snapshots it has at its end, unless it is stopped early."""
        end = self.end
        return self.snapshots if end is None else frozenset([*(step for step in self.snapshots if step < end), end])


@dataclass(frozen=True)
class Due:
    """What is due after a step, in this order: `stop` comes before the preview, which takes long."""

    snapshot: bool
    checkpoint: bool
    stop: bool
    preview: bool


class Monitor:
    """Logs the steps of a training. `done` is the number of steps that earlier attempts have completed, `checks` those that
    early stopping has made until then."""

    def __init__(
        self,
        folder: Path,
        milestones: Milestones,
        trainable: Trainable,
        optimizer: Optimizer,
        emit: Callable[[Event], None],
        stopping: Callable[[], bool],
    ) -> None:
        """Load the newest resume state of `folder` into `trainable`. `stopping()` turns true when the user asks to stop."""
        self.milestones = milestones
        self.trainable = trainable
        self.optimizer = optimizer
        self.emit = emit
        self.stopping = stopping
        self._checkpoints = Checkpoints(folder / "checkpoints")
        found = self._checkpoints.load(trainable)
        for text in found.complaints:
            emit(Log(text=text, level="warning"))
        if found.step:
            emit(Log(text=f"Resumes after step {found.step} of {milestones.total}."))
        self.done = found.step
        self.checks = found.checks
        self._metrics = MetricsLog(folder, found.step, found.curve, min(PATIENCE, milestones.total))
        self._throughput = Throughput(milestones.total, found.step)
        self._saved, self._pause = time.monotonic(), CHECKPOINT_SECONDS

    def follow(self, steps: Iterator[Step]) -> Generator[tuple[Step, Due], None, None]:
        """Log each step, and yield it with what is due after it."""
        try:
            for step in steps:
                self._log(step)
                due = self._due(step.step)
                if due.checkpoint or self._throughput.due():
                    self._write()
                yield step, due
        finally:
            self._metrics.close()

    def check_weights(self, step: int) -> None:
        """Raise `LorapipeError` if a weight is not finite. Called before snapshots, which read the weights anyway."""
        parameters = (each for found in self.trainable.parameters.values() for each in found)
        if not all(bool(each.isfinite().all()) for each in parameters):
            raise self._metrics.divergence(step)

    def keep(self, file: Path) -> None:
        """Add a file that the training has written to the resume state, which is valid only if the file is intact."""
        self._checkpoints.add(file)

    def save(self, step: int, checks: Sequence[Mapping[str, Any]] = ()) -> None:
        """Save the resume state after `step`, with the checks of early stopping."""
        begun = time.monotonic()
        self._write()  # the log is never behind the state
        self._metrics.flush()
        self._checkpoints.save(step, self.trainable, self._metrics.path.read_bytes(), checks)
        self._saved = time.monotonic()
        self._pause = max(CHECKPOINT_SECONDS, (self._saved - begun) / CHECKPOINT_SHARE)

    def _due(self, step: int) -> Due:
        snapshot, preview = step in self.milestones.snapshots, step in self.milestones.previews
        stopping = self.stopping()
        late = time.monotonic() - self._saved > self._pause
        stop = stopping and step < self.milestones.last
        return Due(snapshot, snapshot or preview or stopping or late, stop, preview)

    def _log(self, step: Step) -> None:
        rates = {f"lr/{name}": rate for name, rate in step.rates.items()}
        norm = {} if step.gradient_norm is None else {GRADIENT_NORM: step.gradient_norm}
        metrics = self.optimizer.effective_learning_rates(self.trainable.optimizer)
        self._metrics.add(step.step, {"loss": step.loss, **rates, **metrics, **norm})

    def _write(self) -> None:
        """Write the metrics of the steps since the last time, and report the newest as progress."""
        rows = self._metrics.write()
        if rows:
            for row in rows:
                self.emit(Metric(step=row.step, values=row.values))
            self._show(rows[-1])

    def _show(self, last: MetricRow) -> None:
        self._throughput.update(last.step)
        shown = {name: value for name, value in last.values.items() if name not in (AVERAGE, GRADIENT_NORM)}
        values = {**shown, "loss": last.values[AVERAGE], "s/it": self._throughput.seconds_per_step}
        left = self._throughput.seconds_left
        self.emit(Progress(step=last.step, total=self.milestones.total, seconds_left=left, values=values))
