"""Value types that any stage may use: durations and source files."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

from lorapipe.spec.base import JsonObject, Value, ValueKind
from lorapipe.spec.paths import must_exist, path_of
from lorapipe.spec.serialization import show

MOST = 10**12 - 1
"""Most steps, epochs or units of time: twelve digits."""


@dataclass(frozen=True)
class Duration(Value):
    """A length of training: `1000 steps`, `10 epochs`, or a bare number of steps."""

    count: int
    unit: Literal["steps", "epochs"] = "steps"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        if isinstance(value, int) and not isinstance(value, bool):
            count, unit = value, "steps"
        elif isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,12})\s*(step|epoch)s?", value.strip())):
            count, unit = int(match[1]), f"{match[2]}s"
        else:
            raise ValueError(f"{show(value)} is not a duration; write 1000, '1000 steps' or '10 epochs'.")
        if count > MOST:
            raise ValueError(f"{count:.0e} {unit} is longer than any training; the most is {MOST:.0e}.")
        if count < 1:
            raise ValueError(f"a duration of {count} {unit} is too short; the least is 1.")
        return cls(count, "steps" if unit == "steps" else "epochs")

    def plain(self) -> str:
        return f"{self.count} {self.unit}"

    def steps(self, per_epoch: float) -> int:
        """Return the length in steps; an epoch has `per_epoch` steps."""
        return self.count if self.unit == "steps" else math.ceil(self.count * per_epoch)

    @classmethod
    def schema(cls) -> JsonObject:
        text = {"type": "string", "pattern": r"^\s*0*[1-9][0-9]{0,11}\s*(step|epoch)s?\s*$"}
        return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST}, text]}


@dataclass(frozen=True)
class Span(Value):
    """A length of time: `90 min`, `8 h`, or a bare number of minutes."""

    seconds: float
    text: str = ""

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        units = {"": 60.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(s|min|h|d|)", str(value).strip())
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or not found:
            raise ValueError(f"{show(value)} is not a length of time; write '90 min', '8 h' or a number of minutes.")
        seconds = float(found[1]) * units[found[2]]
        if seconds <= 0:
            raise ValueError("a length of time must be above 0.")
        return cls(seconds, f"{found[1]} {found[2] or 'min'}")

    def plain(self) -> str:
        return self.text or f"{self.seconds:g} s"

    @classmethod
    def schema(cls) -> JsonObject:
        text = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(s|min|h|d)?\s*$"}
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": MOST}, text]}


@dataclass(frozen=True)
class Source(Value):
    """A file or folder of the user that must exist. In a content key it is represented by its bytes, not its name."""

    path: Path

    value_kind: ClassVar[ValueKind] = "source"
    words: ClassVar[tuple[str, ...]] = ()
    """Words that may be written instead of a path."""
    artifact: ClassVar[str] = ""
    """The stored name of an artifact that is allowed here too, as `$stage`; its path is used. Empty: none."""

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """Parse a path. The `ValueError` for a missing one names a neighbour with a similar name."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"{show(value)} is not a path.")
        path = path_of(value, folder)
        must_exist(path)
        return cls(path)

    def plain(self) -> str:
        return self.path.as_posix()

    @classmethod
    def schema(cls) -> JsonObject:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Warmup(Value):
    """The length of a warm-up in steps, epochs, or per cent of the training. 0 is none."""

    count: float
    unit: Literal["steps", "epochs", "%"] = "steps"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """Parse a warm-up: a bare number is steps, a bare number below 1 a share, as in kohya's sd-scripts."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if 0 < value < 1:
                return cls(round(value * 100, 9), "%")
            value = f"{value} steps" if isinstance(value, int) else value
        found = isinstance(value, str) and re.fullmatch(
            r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(steps|epochs|step|epoch|%)", value.strip()
        )
        if not found:
            raise ValueError(
                f"{show(value)} is not the length of a warm-up; write 100, '100 steps', '1 epoch' or '10 %'."
            )
        count, unit = float(found[1]), found[2] if found[2] == "%" else f"{found[2].rstrip('s')}s"
        if unit == "%" and count >= 100:
            raise ValueError(f"a warm-up of {count:g} % would leave nothing of the training; 5 to 10 % is usual.")
        if unit == "steps" and not count.is_integer():
            raise ValueError(f"{count:g} is not a whole number of steps.")
        return cls(count, cast(Literal["steps", "epochs", "%"], unit))

    def plain(self) -> int | str:
        return f"{self.count:g} {self.unit}" if self.count else 0

    @classmethod
    def schema(cls) -> JsonObject:
        share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        steps = {"type": "string", "pattern": r"^\s*[0-9]+(\.0+)?\s*steps?\s*$"}
        epochs = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*epochs?\s*$"}
        percent = {"type": "string", "pattern": r"^\s*0*[0-9]{1,2}(\.[0-9]+)?\s*%\s*$"}
        return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST}, share, steps, epochs, percent]}

    def steps(self, total: int, per_epoch: float) -> int:
        """Return the warm-up in steps, at most `total - 1`; an epoch has `per_epoch` steps."""
        share = {"steps": 1.0, "epochs": per_epoch, "%": total / 100}[self.unit]
        return min(int(self.count * share), total - 1)
