"""What every weighting promises, and the papers' numbers, computed without torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lorapipe.training import noise
from lorapipe.training.weightings import Weighting

NAMES = Weighting.registry.names()
SNRS = [0.0, 1e-4, 0.3, 5.0, 7.0, 2000.0]

Formula = Callable[[float], float]
FORMULAS: dict[tuple[str, str], Formula] = {
    ("min_snr", "epsilon"): lambda snr: min(snr, 5) / snr,
    ("min_snr", "v_prediction"): lambda snr: min(snr, 5) / (snr + 1),
    ("soft_min_snr", "epsilon"): lambda snr: 1 / (1 / snr + 1 / 5) / snr,
    ("soft_min_snr", "v_prediction"): lambda snr: 1 / (1 / snr + 1 / 5) / (snr + 1),
    ("debiased", "epsilon"): lambda snr: 1 / math.sqrt(min(snr, 1000)),
    ("debiased", "v_prediction"): lambda snr: 1 / (snr + 1),
    ("as_epsilon", "v_prediction"): lambda snr: snr / (snr + 1),
    ("v_like", "epsilon"): lambda snr: 1 + 1 / (min(snr, 1000) / (min(snr, 1000) + 1)),
    ("none", "epsilon"): lambda snr: 1.0,
    ("none", "v_prediction"): lambda snr: 1.0,
}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_are_finite_one_for_each_sample(name: str, prediction: str) -> None:
    weights = Weighting.registry.get(name)()(prediction, torch.tensor(SNRS))
    assert weights.shape == (len(SNRS),)
    assert torch.isfinite(weights).all() and (weights >= 0).all() and weights.max() > 0


@pytest.mark.parametrize(("name", "prediction"), FORMULAS)
def test_weights_are_the_papers(name: str, prediction: str) -> None:
    weights = Weighting.registry.get(name)()(prediction, torch.tensor(SNRS[1:]))
    expected = [FORMULAS[name, prediction](snr) for snr in SNRS[1:]]
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


def test_no_signal_weighs_1_for_epsilon_and_nothing_for_v() -> None:
    """The last timestep of a zero-terminal schedule."""
    last = noise.snr(torch.tensor([1]), torch.tensor([0.5, 0.0]))
    weighting = Weighting.registry.get("min_snr")()
    assert (weighting("epsilon", last).tolist(), weighting("v_prediction", last).tolist()) == ([1.0], [0.0])


def test_the_error_of_v_is_larger_than_that_of_the_noise_by_what_as_epsilon_takes_off() -> None:
    """From the definitions: two answers ε differ by less than the two v that say the same, at every timestep."""
    alphas, times = torch.linspace(0.999, 0.01, 10), torch.arange(10)
    noisy, one, other = (torch.randn(10, 4, 2, 2, dtype=torch.float64) for _ in range(3))
    mean, spread = (alphas.double() ** 0.5).reshape(-1, 1, 1, 1), ((1 - alphas.double()) ** 0.5).reshape(-1, 1, 1, 1)

    def velocity(epsilon: torch.Tensor) -> torch.Tensor:
        return mean * epsilon - spread * (noisy - spread * epsilon) / mean

    of_v = (velocity(one) - velocity(other)).square().flatten(1).mean(1)
    of_epsilon = (one - other).square().flatten(1).mean(1)
    weight = Weighting.registry.get("as_epsilon")()("v_prediction", noise.snr(times, alphas))
    assert (of_v * weight).tolist() == pytest.approx(of_epsilon.tolist(), rel=1e-4)
