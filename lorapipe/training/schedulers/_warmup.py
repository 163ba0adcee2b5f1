"""How long a warm-up is: `100 steps`, `1 epoch`, `10 %`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

from lorapipe.spec import Value


@dataclass(frozen=True)
class Warmup(Value):
    """The beginning of a training: so many steps, epochs, or per cent of it. 0 is none."""

    count: float
    unit: Literal["steps", "epochs", "%"] = "steps"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`: a bare number is steps, a bare number below 1 a share, as in kohya's sd-scripts."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if 0 < value < 1:
                return cls(round(value * 100, 9), "%")
            value = f"{value} steps" if isinstance(value, int) else value
        found = isinstance(value, str) and re.fullmatch(r"(\d+(?:\.\d+)?)\s*(steps|epochs|step|epoch|%)", value.strip())
        if not found:
            raise ValueError(f"{value!r} is not the length of a warm-up; write 100, '100 steps', '1 epoch' or '10 %'.")
        count, unit = float(found[1]), found[2] if found[2] == "%" else f"{found[2].rstrip('s')}s"
        if unit == "%" and count >= 100:
            raise ValueError(f"a warm-up of {count:g} % would leave nothing of the training; 5 to 10 % is usual.")
        if unit == "steps" and not count.is_integer():
            raise ValueError(f"{count:g} steps: there are no parts of a step.")
        return cls(count, cast(Literal["steps", "epochs", "%"], unit))

    def plain(self) -> int | str:
        """See `Value.plain`."""
        return f"{self.count:g} {self.unit}" if self.count else 0

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        steps = {"type": "string", "pattern": r"^\s*[0-9]+(\.0+)?\s*steps?\s*$"}
        epochs = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*epochs?\s*$"}
        percent = {"type": "string", "pattern": r"^\s*0*[0-9]{1,2}(\.[0-9]+)?\s*%\s*$"}
        return {"anyOf": [{"type": "integer", "minimum": 0}, share, steps, epochs, percent]}

    def steps(self, total: int, per_epoch: float) -> int:
        """The steps of it, of `total`, an epoch being `per_epoch` long; at least one step is left for the rest."""
        share = {"steps": 1.0, "epochs": per_epoch, "%": total / 100}[self.unit]
        return min(int(self.count * share), total - 1)
