"""Metrics of a training by step: `metrics.jsonl` for programs, TensorBoard event files and a CSV table for people.

Each row has the loss and its exponential moving average (EMA). Losses are read from the device in batches, a few times a
second: reading each would synchronise with the device at every step.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lorapipe.atomic import write_bytes
from lorapipe.errors import LorapipeError
from lorapipe.pipeline.events import METRICS

AVERAGE = "loss/average"
EMA_DECAY = 0.98
"""Decay of the exponential moving average (EMA) of the loss: it covers about the last fifty steps."""
PATIENCE = 3
"""Consecutive infinite or NaN losses that stop a training (fp16's scaler may need two to adjust)."""
SLOWER = "Divide the learning rates by 8; with precision fp16, try bf16 or fp32."

SHOWN_EVERY = 10
"""Seconds between two flushes of the TensorBoard file, by TensorBoard's own thread."""


@dataclass(frozen=True)
class MetricRow:
    """The metrics after `step`, from 1: `loss`, `loss/average`, `lr/unet`, `d` …"""

    step: int
    values: dict[str, float]

    def line(self) -> str:
        """Return a line of `metrics.jsonl`; NaN and infinity, which JSON lacks, become null."""
        values = {name: value if math.isfinite(value) else None for name, value in self.values.items()}
        return json.dumps({"step": self.step, **values}) + "\n"


class MetricsLog:
    """Writes the metrics of a training into a folder: `metrics.jsonl` and `tensorboard/`."""

    def __init__(self, folder: Path, step: int = 0, curve: bytes = b"", patience: int = PATIENCE) -> None:
        """Continue after `step`, with `curve` as the log's bytes so far; later rows are discarded and written again.

        `patience` is the number of consecutive infinite or NaN losses that stop the training.
        """
        from tensorboardX import SummaryWriter

        self.folder = folder
        self.patience = patience
        self.bad = 0
        self.ema = math.nan
        self._waiting: list[tuple[int, Mapping[str, float | torch.Tensor]]] = []
        if self.path.is_dir():
            shutil.rmtree(self.path)
        write_bytes(curve, self.path)
        for row in read(self.path):
            self.ema = row.values.get(AVERAGE, math.nan)
        if step == 0:
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        purge = step + 1 if step else None
        self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=purge, flush_secs=SHOWN_EVERY)

    @property
    def path(self) -> Path:
        """The file with a JSON line for each step."""
        return self.folder / METRICS

    def add(self, step: int, values: Mapping[str, float | torch.Tensor]) -> None:
        """Add the metrics of a step; tensors stay on the device until `write`."""
        self._waiting.append((step, values))

    def write(self) -> list[MetricRow]:
        """Write the rows added since the last time, and return them. `LorapipeError` if the training has diverged."""
        rows = [self._row(step, values) for step, values in self._waiting]
        self._waiting.clear()
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(row.line() for row in rows)
        for row in rows:
            for name, value in row.values.items():
                self._tensorboard.add_scalar(name, value, row.step)
            self.bad = 0 if math.isfinite(row.values["loss"]) else self.bad + 1
            if self.bad >= self.patience:
                raise self.divergence(row.step)
        return rows

    def divergence(self, step: int) -> LorapipeError:
        """Return the error for a loss or weight that is not finite after `step`."""
        since = step - self.bad + 1
        if since == 1:
            what = (
                "the loss is NaN or infinite from step 1 on, before anything was learned: the base itself predicts NaN."
            )
            cure = (
                "With precision fp16, try bf16 or fp32; otherwise copy the base file again or use another one; the same for "
                "the file of start_from."
            )
            return LorapipeError(what, cure=cure)
        found = f"since step {since} its loss is NaN or infinite"
        if not self.bad:
            found = f"after step {step} its weights are NaN or infinite"
        return LorapipeError(f"the training has diverged: {found}.", cure=SLOWER)

    def flush(self) -> None:
        """Flush the TensorBoard file to the disk, which is slow."""
        self._tensorboard.flush()

    def _row(self, step: int, values: Mapping[str, float | torch.Tensor]) -> MetricRow:
        """Return the metrics with the EMA of the loss: single losses vary strongly with the timestep."""
        plain = {name: float(value) for name, value in values.items()}
        if math.isfinite(loss := plain["loss"]):
            self.ema = loss if math.isnan(self.ema) else EMA_DECAY * self.ema + (1 - EMA_DECAY) * loss
        return MetricRow(step, {"loss": loss, AVERAGE: self.ema, **plain})

    def close(self) -> None:
        """Close the TensorBoard file."""
        self._tensorboard.close()


def read(path: Path) -> Iterator[MetricRow]:
    """Yield the rows of a `metrics.jsonl` up to the first incomplete line, which a killed program leaves."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            yield MetricRow(values.pop("step"), {n: math.nan if v is None else v for n, v in values.items()})
        except (ValueError, KeyError, AttributeError):
            return


def table(rows: Iterator[MetricRow]) -> str:
    """Return the rows as CSV, with a column for each metric, in the order of their first appearance."""
    lines = [{"step": row.step, **row.values} for row in rows]
    columns = dict.fromkeys(name for line in lines for name in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
