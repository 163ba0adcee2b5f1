"""Options of running a stage, written among its settings, which do not affect its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lorapipe.spec import Span, Spec, knobs, param


@dataclass(frozen=True)
class StageOptions(Spec):
    """Options that every stage has. They are not part of content keys."""

    retries: int = param(
        1,
        "how often the stage is restarted if its worker is lost: killed, out of memory, machine unreachable",
        ge=0,
        le=10,
    )
    timeout: Span | None = param(None, "time limit of the stage, such as 90 min or 8 h; its checkpoints are kept")


NAMES = tuple(knob.name for knob in knobs(StageOptions))
RESERVED = ("matrix", "when", *NAMES)
"""Keys of a stage that are not its own knobs."""


def split(plain: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Split a stage's mapping into options and knobs."""
    options = {key: value for key, value in plain.items() if key in NAMES}
    return options, {key: value for key, value in plain.items() if key not in RESERVED}
