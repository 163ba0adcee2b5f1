"""Adafactor whose steps do not wait for the GPU."""

from __future__ import annotations

import math
from typing import Any

import transformers.optimization
from torch import Tensor


class Adafactor(transformers.optimization.Adafactor):
    """transformers' (Shazeer & Stern 2018, arXiv:1804.04235), which compares each parameter's size with a number in Python.

    With weight decay it waits all the same: torch reads the rate, a tensor, where it multiplies a decay.
    """

    @staticmethod
    def _get_lr(param_group: dict[str, Any], param_state: dict[str, Any]) -> float | Tensor:
        rate: float = param_group["lr"]
        if param_group["relative_step"]:
            first = 1e-6 * param_state["step"] if param_group["warmup_init"] else 1e-2
            rate = min(first, 1 / math.sqrt(param_state["step"]))
        if not param_group["scale_parameter"]:
            return rate
        size: Tensor = param_state["RMS"].clamp(min=param_group["eps"][1])
        return size * rate
