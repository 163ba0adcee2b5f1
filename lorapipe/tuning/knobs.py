"""Settings of a train stage by dotted names: what they are, and the same stage with others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lorapipe.pipeline.tune_options import knob_at
from lorapipe.spec import Duration, Knob, Spec

if TYPE_CHECKING:
    from lorapipe.stages import Stage
    from lorapipe.training.options import TrainingOptions

STEPS = "steps"


def values_of(stage: Stage, names: frozenset[str], steps: int) -> dict[str, float]:
    """The values of the settings `names` of a train stage, as its training used them for so many steps.

    Left out are settings without a number, and rates of parts that are not trained.
    """
    found = {name: _value(stage, name) for name in sorted(names)}
    return {name: float(value) for name, value in found.items() if value is not None} | (
        {STEPS: float(steps)} if STEPS in names else {}
    )


def _value(stage: Stage, name: str) -> float | None:
    holder: Any = stage
    for part in name.split("."):
        holder = getattr(holder, part)
    rates = cast("TrainingOptions", stage).rates_by_option() if name.endswith("_lr") else {}
    if name.endswith("_lr"):
        return rates.get(name)
    return holder if isinstance(holder, (int, float)) and not isinstance(holder, bool) else None


def with_values(stage: Stage, values: Mapping[str, float]) -> Stage:
    """The stage with these settings, each within its limits: whole numbers rounded, rates to two digits."""
    changed: Spec = stage
    for name, value in values.items():
        changed = _with_value(changed, name.split("."), value)
    return cast("Stage", changed)


def _with_value(spec: Any, path: list[str], value: float) -> Any:
    name, *rest = path
    if rest:
        return replace(spec, **{name: _with_value(getattr(spec, name), rest, value)})
    knob = knob_at(spec, name)
    assert knob is not None, name
    return replace(spec, **{name: written(knob, value)})


def written(knob: Knob, value: float) -> object:
    """A value as the setting takes it: within its limits, and as short as people write it."""
    limits = knob.param
    low = max((each for each in (limits.ge, limits.gt) if each is not None), default=-math.inf)
    high = min((each for each in (limits.le, limits.lt) if each is not None), default=math.inf)
    value = min(max(value, low), high)
    if knob.type is Duration:
        return Duration(max(1, round(_digits(value, 2 if value >= 100 else 3))))
    if knob.shape.kind == "integer":
        return max(round(value), math.ceil(low) if math.isfinite(low) else round(value))
    return _digits(value, 2)


def shown(value: float) -> str:
    """A value in a sentence, as people write it."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _digits(value: float, count: int) -> float:
    return float(f"{value:.{count}g}")
