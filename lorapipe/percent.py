"""How a share is written for people: `31 %`, as in pages, plans, logs and tables."""

from __future__ import annotations

import math


def percent(share: float, digits: int = 0) -> str:
    """Write a share, 1 being the whole, with so many digits after the point."""
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else "not a number"
