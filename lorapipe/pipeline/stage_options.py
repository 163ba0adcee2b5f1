"""How a stage is run: settings that stand among a stage's own and change nothing of what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lorapipe.spec import Span, Spec, knobs, param


@dataclass(frozen=True)
class StageOptions(Spec):
    """What every stage takes, whatever its type. None of it enters a key."""

    retries: int = param(
        1,
        "how often the stage is started again when its worker is lost: killed, out of memory, machine gone",
        ge=0,
        le=10,
    )
    timeout: Span | None = param(
        None, "the longest that the stage may take, such as 90 min or 8 h; what it has saved is kept"
    )


NAMES = tuple(knob.name for knob in knobs(StageOptions))
RESERVED = ("matrix", "when", *NAMES)
"""Keys of a stage that are not its own knobs."""


def split(plain: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """A stage's mapping as its options and its own knobs."""
    options = {key: value for key, value in plain.items() if key in NAMES}
    return options, {key: value for key, value in plain.items() if key not in RESERVED}
