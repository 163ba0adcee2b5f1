"""Steps at which early stopping checks a training, and their cost; without torch, for plans."""

from __future__ import annotations

import math
from collections.abc import Mapping

PICTURES = 8
"""Pictures per set."""
LEVELS: Mapping[str, int] = {"fit": 2, "held_out": 4, "drift": 2}
"""Number of noise levels for each set of pictures."""
CHECK_PASSES = PICTURES * sum(LEVELS.values())
"""Largest number of forward passes of a check."""
CHECKS = 20
"""Number of checks in a training, unless `SHARE` allows fewer."""
SHARE = 0.2
"""Largest cost of all checks, as a share of the training's."""
BACKWARD = 3
"""Cost of a training step per picture, in forward passes."""


def check_steps(total: int, pictures: int) -> frozenset[int]:
    """Return the steps of checks, without the last step, for `total` steps of `pictures` each.

    Their distance is 1/`CHECKS` of the training, or more where checks would cost more than `SHARE` of it.
    """
    dear = CHECK_PASSES / (BACKWARD * pictures * SHARE)
    distance = max(math.ceil(total / CHECKS), math.ceil(dear))
    return frozenset(range(distance, total, distance))
