"""Intervals of snapshots and previews: `10` times, `every 100 steps`, `every 2 epochs`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from lorapipe.spec import Value
from lorapipe.spec.types import Duration


@dataclass(frozen=True)
class Interval(Value):
    """A number of times, evenly over a training, or a distance in steps or epochs. The last step is always included."""

    count: int
    unit: Literal["times", "steps", "epochs"] = "times"
    is_usual: bool = field(default=False, compare=False)
    """Whether nobody has asked for it: a training that has better reasons may take another."""

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """Parse `10` (times), or `every 100 steps` (a distance)."""
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError(f"{value} times is never; the least is 1.")
            return cls(value)
        try:
            if not isinstance(value, str):
                raise ValueError
            every = Duration.parse(value.strip().removeprefix("every "), folder)
        except ValueError:
            hint = "write 10 for ten times in all, or 'every 100 steps', or 'every 2 epochs'."
            raise ValueError(f"{value!r} does not say how often; {hint}") from None
        return cls(every.count, every.unit)

    def plain(self) -> int | str:
        return self.count if self.unit == "times" else f"every {self.count} {self.unit}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^\s*(every )?\s*[0-9]+\s*(step|epoch)s?\s*$"}
        return {"anyOf": [{"type": "integer", "minimum": 1}, text]}

    def times(self, total: int, per_epoch: int) -> int:
        """Return an upper bound of the number of times within `total` steps."""
        return min(total, self.count if self.unit == "times" else self._distances(total, per_epoch))

    def _distances(self, total: int, per_epoch: int) -> int:
        return 1 + total // (self.count * (per_epoch if self.unit == "epochs" else 1))

    def steps(self, total: int, per_epoch: float) -> frozenset[int]:
        """Return the steps of 1 … `total` that end an interval; an epoch is `per_epoch` steps long."""
        if self.unit == "times":
            count = min(self.count, total)
            return frozenset(math.ceil(total * place / count) for place in range(1, count + 1))
        distance = self.count * (per_epoch if self.unit == "epochs" else 1)
        marks = (math.ceil(distance * place) for place in range(1, math.ceil(total / distance) + 1))
        return frozenset(mark for mark in marks if mark <= total) | {total}
