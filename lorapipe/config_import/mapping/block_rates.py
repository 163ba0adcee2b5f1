"""kohya's weights of blocks: numbers or named shapes for the blocks before, in and after the middle."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.config_import.option_table import BLOCK_RATES
from lorapipe.config_import.option_values import converted

BLOCKS = {"sd15": (12, 12), "sd2": (12, 12), "sdxl": (9, 9)}
"""Blocks before and after the middle block."""
SHAPES: Mapping[str, Callable[[float], float]] = {
    "sine": lambda share: math.sin(math.pi * share / 2), "linear": lambda share: share,
    "cosine": lambda share: math.sin(math.pi * (1 - share) / 2), "reverse_linear": lambda share: 1 - share,
    "zeros": lambda share: 0.0,
}  # fmt: skip
"""kohya's named weights of blocks, by the block's place from 0 to 1."""


def plain_number(text: str) -> float | int | None:
    """Return a number, whole where it is; None if it is none."""
    value = converted(text, "number")
    if not isinstance(value, float):
        return None
    return int(value) if value.is_integer() else value


def block_rates(made: Translation) -> None:
    """Write kohya's weights of blocks as one list."""
    options = made.options
    if options.given("network_args.block_lr"):
        rates = [plain_number(part) for part in str(options.value("network_args.block_lr")).split(",")]
        if None not in rates:
            made.use("network_args.block_lr", "adapter.block_rates", rates)
        else:
            made.refuse("network_args.block_lr", "it is no list of numbers")
        return
    names = [f"network_args.{name}" for name in BLOCK_RATES[:3] if options.given(f"network_args.{name}")]
    weights = _of_parts(made)
    if weights is None:
        for name in names:
            made.refuse(name, "it is neither a list of numbers nor a known shape")
        return
    made.draft.put(f"{TRAIN}.adapter.block_rates", _by_block(made.family, weights), options.mark(*names))
    for name in names:
        made.say(name, "adapter.block_rates")


def _of_parts(made: Translation) -> list[float] | None:
    """Return the weights of the blocks before, in and after the middle; None if a list cannot be read."""
    down, up = BLOCKS[made.family]
    found: list[float] = []
    for name, count in zip(BLOCK_RATES, (down, 1, up), strict=False):
        part = _weights(str(made.options.value(f"network_args.{name}") or 1), count)
        if part is None:
            return None
        found += part
    least = float(plain_number(str(made.options.value("network_args.block_lr_zero_threshold") or 0)) or 0)
    return [0.0 if rate <= least else round(rate, 9) for rate in found]


def _by_block(family: str, weights: list[float]) -> list[float]:
    """Return the weights for every block of a family: SDXL's middle has three, and its ends have none."""
    return [1.0, *weights[:9], *[weights[9]] * 3, *weights[10:], 1.0] if family == "sdxl" else weights


def _weights(text: str, count: int) -> list[float] | None:
    """Return a list of `count` weights from numbers or a named shape, `cosine+0.25`; None if it is neither."""
    name, _, base = text.strip().partition("+")
    if name in SHAPES:
        added = plain_number(base) if base else 0.0
        return None if added is None else [SHAPES[name](place / max(1, count - 1)) + added for place in range(count)]
    found = [plain_number(part) for part in re.split(r"[,\s]+", text.strip("[]() ")) if part]
    rates = [float(rate) for rate in found if rate is not None]
    if len(rates) != len(found) or not rates:
        return None
    return (rates + [rates[-1]] * count)[:count]
