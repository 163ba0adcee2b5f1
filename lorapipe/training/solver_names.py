"""The names of solvers: settings have them, and `lorapipe.training.diffusion` makes the solvers. Without torch."""

from __future__ import annotations

from typing import Literal

SolverName = Literal["dpm++", "ddim", "euler"]
