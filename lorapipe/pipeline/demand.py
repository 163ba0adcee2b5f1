"""An upper bound of the work that a pipeline's settings request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Demand:
    """The work of a stage: `steps` are training batches, `painted` sampled pictures (one with more than a hundred steps
    counts as several), `snapshots` saved adapters."""

    steps: int = 0
    painted: int = 0
    snapshots: int = 0

    def __add__(self, other: Self) -> Demand:
        return Demand(self.steps + other.steps, self.painted + other.painted, self.snapshots + other.snapshots)
