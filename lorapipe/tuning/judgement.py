"""What a report says of a round, as the search needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.evaluation.report_data import ReportData, at_full_strength


@dataclass(frozen=True)
class Advice:
    """An advice of the verdict: what to do, and the settings to change, if it names any."""

    what: str
    patch: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgement:
    """The verdict of one evaluate stage. `merit`, `identity` and `following` are of the best snapshot at strength 1."""

    judge: str
    state: str
    headline: str
    strength: float
    step: int
    merit: float
    identity: float = 0.0
    following: float | None = None
    advice: tuple[Advice, ...] = ()
    everywhere: bool = True
    """Whether it works at strength 1 on every base that the stage names."""
    prompts: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether it is good at strength 1, on every base."""
        return self.state == "good" and self.strength == 1 and self.everywhere


def judgement_of(judge: str, path: Path) -> Judgement:
    """Read a report's data. `InputError` if it is none."""
    try:
        data: ReportData = json.loads(path.read_text(encoding="utf-8"))
        return _judgement(judge, data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"is not a report: {error}.", where=str(path), cure="Run the pipeline again.") from None


def _judgement(judge: str, data: ReportData) -> Judgement:
    verdict = data["verdict"]
    chosen, bases = at_full_strength(data), data.get("bases", [])
    return Judgement(
        judge,
        verdict["state"],
        verdict["headline"],
        verdict["best"]["strength"],
        chosen["step"],
        min([chosen.get("merit") or 0.0, *(each["merit"] or 0.0 for each in bases)]),
        chosen.get("identity") or 0.0,
        chosen.get("following"),
        tuple(Advice(each["what"], _numbers(each["patch"])) for each in verdict["advice"]),
        all(each["works"] and each["strength"] == 1 for each in bases),
        tuple(data["prompts"]),
    )


def _numbers(patch: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in patch.items() if isinstance(value, (int, float))}
