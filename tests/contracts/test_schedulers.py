"""What every scheduler promises, whoever wrote it."""

from __future__ import annotations

import math

import pytest

from lorapipe.training.schedulers import Scheduler
from lorapipe.training.schedulers.cosine import Cosine

NAMES = Scheduler.registry.names()


@pytest.mark.parametrize("total", [1, 2, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_factors_are_between_0_and_1_and_not_all_0(name: str, total: int) -> None:
    scheduler = Scheduler.registry.get(name)()
    factors = [scheduler.factor(step, total) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_a_factor_depends_on_the_step_alone(name: str) -> None:
    """Asked out of order, as a resumed training asks, the answers are the same."""
    kind = Scheduler.registry.get(name)
    forward = [kind().factor(step, 50) for step in range(50)]
    scheduler = kind()
    assert [scheduler.factor(step, 50) for step in reversed(range(50))] == forward[::-1]


def test_cosine_halves_at_half_time_and_meets_the_end() -> None:
    factors = [Cosine().factor(step, 100) for step in range(100)]
    assert factors[0] == 1
    assert math.isclose(factors[50], 0.5)
    assert math.isclose(factors[25], (1 + math.sqrt(0.5)) / 2)
    assert 0 < factors[99] < 0.001
    assert factors == sorted(factors, reverse=True)
