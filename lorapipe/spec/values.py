"""Value types that any stage may use: how long, and from which file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from lorapipe.errors import near_miss
from lorapipe.spec.knobs import Value


@dataclass(frozen=True)
class Duration(Value):
    """A length of training: `1000 steps`, `10 epochs`, or a bare number of steps."""

    count: int
    unit: Literal["steps", "epochs"] = "steps"

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        if isinstance(value, int) and not isinstance(value, bool):
            count, unit = value, "steps"
        elif isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*(step|epoch)s?", value.strip())):
            count, unit = int(match[1]), f"{match[2]}s"
        else:
            raise ValueError(f"{value!r} is not a duration; write 1000, '1000 steps' or '10 epochs'.")
        if count < 1:
            raise ValueError(f"a duration of {count} {unit} is no duration; the least is 1.")
        return cls(count, "steps" if unit == "steps" else "epochs")

    def plain(self) -> str:
        """See `Value.plain`."""
        return f"{self.count} {self.unit}"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        text = {"type": "string", "pattern": r"^\s*0*[1-9][0-9]*\s*(step|epoch)s?\s*$"}
        return {"anyOf": [{"type": "integer", "minimum": 1}, text]}


@dataclass(frozen=True)
class Span(Value):
    """A length of time: `90 min`, `8 h`, or a bare number of minutes."""

    seconds: float
    text: str = ""

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`."""
        units = {"": 60.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|)", str(value).strip())
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or not found:
            raise ValueError(f"{value!r} is not a length of time; write '90 min', '8 h' or a number of minutes.")
        seconds = float(found[1]) * units[found[2]]
        if seconds <= 0:
            raise ValueError("a time of 0 is no time.")
        return cls(seconds, f"{found[1]} {found[2] or 'min'}")

    def plain(self) -> str:
        """See `Value.plain`."""
        return self.text or f"{self.seconds:g} s"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        text = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(s|min|h|d)?\s*$"}
        return {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, text]}


@dataclass(frozen=True)
class Source(Value):
    """A file or folder of the user's that must exist. It enters a content key by its bytes, not by its name."""

    path: Path

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        """See `Value.parse`; a missing path lists the near miss beside it."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"{value!r} is not a path.")
        path = Path(value).expanduser()
        path = path if path.is_absolute() else folder / path
        if not path.exists():
            parent = path.parent
            beside = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
            hint = near_miss(path.name, beside[:200]) if beside else f"The folder {parent} does not exist either."
            raise ValueError(f"{path} does not exist. {hint if len(hint) < 200 else ''}".strip())
        return cls(path)

    def plain(self) -> str:
        """See `Value.plain`."""
        return self.path.as_posix()

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """See `Value.schema`."""
        return {"type": "string", "minLength": 1}
