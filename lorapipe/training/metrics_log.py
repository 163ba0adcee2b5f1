"""The figures of a training by step: `metrics.jsonl` for programs, TensorBoard's files and a table for people.

Losses are read from the device a few times a second, many at once: reading each would make the device wait for us.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lorapipe.atomic import write_bytes
from lorapipe.errors import LorapipeError

AVERAGE = "loss/average"
MEMORY = 0.98
"""Share of the running mean that stays at each step: it looks over the last fifty steps or so."""
PATIENCE = 3
"""Losses in a row that may be infinite or NaN before a training is stopped (fp16's scaler may need two to settle)."""

SLOWER = "Divide the learning rates by 8; with precision fp16, try bf16 or fp32."

SHOWN_EVERY = 10
"""Seconds after which TensorBoard has new figures to show; it has a thread of its own to write them."""


@dataclass(frozen=True)
class MetricRow:
    """The figures after update `step`, from 1: `loss`, `loss/average`, `lr/unet`, `d` …"""

    step: int
    values: dict[str, float]

    def line(self) -> str:
        """As a line of `metrics.jsonl`; JSON has no NaN, so what is no number is null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.values.items()}
        return json.dumps({"step": self.step, **values}) + "\n"


@dataclass
class MetricsLog:
    """Writes the figures of steps into a folder: `metrics.jsonl` and `tensorboard/`."""

    folder: Path
    waiting: list[tuple[int, Mapping[str, float | torch.Tensor]]] = field(default_factory=list)
    patience: int = PATIENCE
    bad: int = 0
    average: float = math.nan
    board: Any = None

    def begin(self, step: int, curve: bytes = b"") -> None:
        """Go on after `step`, the `curve` so far being this, whatever was written since: it will be made again."""
        from tensorboardX import SummaryWriter

        if self.path.is_dir():
            shutil.rmtree(self.path)
        write_bytes(curve, self.path)
        for point in read(self.path):
            self.average = point.values.get(AVERAGE, math.nan)
        if step == 0:
            shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        self.board = SummaryWriter(
            str(self.folder / "tensorboard"), purge_step=step + 1 if step else None, flush_secs=SHOWN_EVERY
        )

    @property
    def path(self) -> Path:
        """A JSON line for each step."""
        return self.folder / "metrics.jsonl"

    def add(self, step: int, values: Mapping[str, float | torch.Tensor]) -> None:
        """Note the figures of a step; tensors are read when they are written."""
        self.waiting.append((step, values))

    def write(self) -> list[MetricRow]:
        """Write what is waiting, and return it. LorapipeError where the loss has ceased to be a number."""
        points = [self._point(step, values) for step, values in self.waiting]
        self.waiting.clear()
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(point.line() for point in points)
        for point in points:
            for name, value in point.values.items():
                self.board.add_scalar(name, value, point.step)
            self.bad = 0 if math.isfinite(point.values["loss"]) else self.bad + 1
            if self.bad >= self.patience:
                raise self.blown_up(point.step)
        return points

    def blown_up(self, step: int) -> LorapipeError:
        """What it means that a loss, or a weight, is no number after a step: at the first nothing was learnt yet."""
        since = step - self.bad + 1
        if since == 1:
            what = "the loss is not a number from step 1 on, before anything was learnt: the base itself answers NaN."
            cure = (
                "With precision fp16, try bf16 or fp32; else copy the base again, or take another (and the file of "
                "start_from)."
            )
            return LorapipeError(what, cure=cure)
        found = f"since step {since} its loss is not a number"
        if not self.bad:
            found = f"after step {step} its weights are no numbers"
        return LorapipeError(f"the training has blown up: {found}.", cure=SLOWER)

    def flush(self) -> None:
        """Have TensorBoard's file on the disk. It waits for the disk, so not with every figure."""
        self.board.flush()

    def _point(self, step: int, values: Mapping[str, float | torch.Tensor]) -> MetricRow:
        """The figures with the running mean of the loss after it: single losses jump with the timestep."""
        plain = {name: float(value) for name, value in values.items()}
        if math.isfinite(loss := plain["loss"]):
            self.average = loss if math.isnan(self.average) else MEMORY * self.average + (1 - MEMORY) * loss
        return MetricRow(step, {"loss": loss, AVERAGE: self.average, **plain})

    def close(self) -> None:
        """Let TensorBoard's file go."""
        if self.board is not None:
            self.board.close()


def read(path: Path) -> Iterator[MetricRow]:
    """The figures in a `metrics.jsonl`, as far as they are whole: a killed program leaves half a line."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            yield MetricRow(values.pop("step"), {n: math.nan if v is None else v for n, v in values.items()})
        except (ValueError, KeyError, AttributeError):
            return


def table(points: Iterator[MetricRow]) -> str:
    """The figures as CSV, for spreadsheets: a column for each, in the order in which they first appear."""
    rows = [{"step": point.step, **point.values} for point in points]
    columns = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
