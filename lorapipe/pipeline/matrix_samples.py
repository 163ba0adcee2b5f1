"""`sample: 12` in a matrix: a seeded Latin hypercube over ranges and lists  (McKay, Beckman & Conover 1979).

Each setting's range is cut into as many pieces as there are samples, and each piece has one sample, in an order drawn for
each setting. So every setting is tried over its whole range, which neither a grid nor free draws do with as few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeGuard

from lorapipe.errors import Problem, near_miss
from lorapipe.limits import MOST_CELLS
from lorapipe.spec import Address, show

SAMPLE, KEEP = "sample", "keep"
RANGE = ("from", "to", "log")
EXAMPLE = "{from: 5e-5, to: 5e-4, log: true}"


@dataclass(frozen=True)
class Range:
    """The range of a setting; `log` spreads by factors and not by differences, `whole` gives whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """The value at a share, 0 … 1, of the width; to two digits, and never beyond an end."""
        if self.log:
            found = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            found = self.low + share * (self.high - self.low)
        if self.whole:
            return min(max(round(found), math.ceil(self.low)), math.floor(self.high))
        return min(max(float(f"{found:.2g}"), self.low), self.high)


Axis = Range | Sequence[object]


def samples(axes: Mapping[str, Axis], count: int, seed: int) -> list[dict[str, object]]:
    """The samples, each a value for every setting; those that rounding has made equal are there once.

    A setting's values depend on its own name, the count and the seed, so a further setting does not move the others.
    """
    found: list[dict[str, object]] = [{} for _ in range(count)]
    for name, axis in axes.items():
        rng = Random(f"{seed} {name}")
        order = [*range(count)]
        rng.shuffle(order)
        for place, piece in enumerate(order):
            found[place][name] = _value(axis, (piece + rng.random()) / count)
    return [each for place, each in enumerate(found) if each not in found[:place]]


def _value(axis: Axis, share: float) -> object:
    return axis.at(share) if isinstance(axis, Range) else axis[min(int(share * len(axis)), len(axis) - 1)]


def asked(plain: Mapping[str, object], at: Address) -> tuple[int, int] | Problem:
    """The number of samples and the seed of a matrix with `sample: 12` or `sample: {count: 12, seed: 1}`."""
    given = plain[SAMPLE]
    found = given if isinstance(given, dict) else {"count": given}
    count, seed = found.get("count"), found.get("seed", 0)
    if {*found} - {"count", "seed"} or type(count) is not int or type(seed) is not int:
        return Problem("is no number of samples.", cure="Write 12, or {count: 12, seed: 1}.", path=(*at, SAMPLE))
    if not 1 <= count <= MOST_CELLS:
        return Problem(f"{count} samples are not possible: 1 to {MOST_CELLS} are.", path=(*at, SAMPLE))
    return count, seed


def axis_of(plain: object, at: Address) -> Axis | Problem:
    """A setting's values to sample: a list, or a range."""
    if isinstance(plain, list) and plain:
        return plain
    if not isinstance(plain, dict):
        return Problem("is neither a list of values nor a range.", cure=f"Write {EXAMPLE}.", path=at)
    unknown = next((key for key in plain if key not in RANGE), None)
    if unknown is not None:
        return Problem(f"a range has no {show(unknown)}.", cure=near_miss(str(unknown), RANGE), path=(*at, unknown))
    return _range(plain.get("from"), plain.get("to"), plain.get("log", False), at)


def _range(low: object, high: object, log: object, at: Address) -> Range | Problem:
    if not _is_number(low) or not _is_number(high):
        return Problem("a range begins and ends with numbers.", cure=f"Write {EXAMPLE}.", path=at)
    if not isinstance(log, bool):
        return Problem(f"{show(log)} is neither true nor false.", path=(*at, "log"))
    if not low < high:
        return Problem(f"begins at {show(low)} and ends at {show(high)}.", cure="Write the lower first.", path=at)
    if log and low <= 0:
        return Problem("a range by factors (log) begins above 0.", path=(*at, "from"))
    return Range(float(low), float(high), log, type(low) is int and type(high) is int)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
