"""`$stage` in a document: a reference to the result of another stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lorapipe.spec.base import JsonObject, Value

REFERENCE = re.compile(r"\$([\w-]+)((?:\.\w+)*)")
"""`$stage`, and the fields after it."""


@dataclass(frozen=True)
class Ref(Value):
    """A reference `$stage` or `$stage.field`: the value of a knob until the stage has run."""

    stage: str
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: object, folder: Path) -> Self:
        if not isinstance(value, str) or not (match := REFERENCE.fullmatch(value)):
            raise ValueError(f"{value!r} is not a reference to a stage; write $stage or $stage.field.")
        return cls(match[1], tuple(match[2].split(".")[1:]))

    def plain(self) -> str:
        return ".".join([f"${self.stage}", *self.fields])

    @classmethod
    def schema(cls) -> JsonObject:
        return {"type": "string", "pattern": r"^\$[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)*$"}
