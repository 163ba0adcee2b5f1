"""Contract tests of all registered weightings; the papers' numbers are computed without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from lorapipe.training.diffusion import PREDICTIONS, Diffusion, Discrete, Flow, discrete
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


def process(prediction: str, snrs: Sequence[float]) -> tuple[Discrete, torch.Tensor]:
    """Return a noise schedule with these SNRs, and all its timesteps."""
    snr = torch.tensor(snrs, dtype=torch.float64)
    return discrete(prediction, (snr / (snr + 1)).float()), torch.arange(len(snrs))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_are_finite_one_for_each_sample(name: str, prediction: str) -> None:
    diffusion: Diffusion
    diffusion, t = (Flow(), torch.linspace(1, 999, 6)) if prediction == "flow" else process(prediction, SNRS)
    weights = Weighting.registry.get(name)()(diffusion, t)
    assert weights.shape == (len(SNRS),)
    assert torch.isfinite(weights).all() and (weights >= 0).all() and weights.max() > 0


@pytest.mark.parametrize(("name", "prediction"), FORMULAS)
def test_weights_are_the_papers(name: str, prediction: str) -> None:
    weights = Weighting.registry.get(name)()(*process(prediction, SNRS[1:]))
    expected = [FORMULAS[name, prediction](snr) for snr in SNRS[1:]]
    assert weights.tolist() == pytest.approx(expected, rel=1e-4)


def test_no_signal_weighs_1_for_epsilon_and_nothing_for_v() -> None:
    """SNR is 0 at the last timestep of a zero-terminal-SNR schedule."""
    weighting = Weighting.registry.get("min_snr")()
    epsilon, v = (weighting(discrete(name, torch.tensor([0.5, 0.0])), torch.tensor([1])) for name in PREDICTIONS)
    assert (epsilon.tolist(), v.tolist()) == ([1.0], [0.0])


def test_the_error_of_a_flow_counts_as_that_of_the_noise() -> None:
    """By definition, at the same x_t: ε = x_t + (1 − σ)·v, so two v differ by more than their implied ε."""
    flow, t = Flow(), torch.linspace(1, 999, 10)
    one, other = (torch.randn(10, 4, 2, 2) for _ in range(2))
    difference = (1 - t / 1000).reshape(-1, 1, 1, 1) * (one - other)
    weight = Weighting.registry.get("as_epsilon")()(flow, t)
    of_v = (one - other).square().flatten(1).mean(1)
    assert (of_v * weight).tolist() == pytest.approx(difference.square().flatten(1).mean(1).tolist(), rel=1e-4)


def test_the_error_of_v_is_larger_than_that_of_the_noise_by_what_as_epsilon_takes_off() -> None:
    """By definition: two ε differ by less than the v that imply them, at every timestep."""
    alphas, times = torch.linspace(0.999, 0.01, 10), torch.arange(10)
    noisy, one, other = (torch.randn(10, 4, 2, 2, dtype=torch.float64) for _ in range(3))
    mean, spread = (alphas.double() ** 0.5).reshape(-1, 1, 1, 1), ((1 - alphas.double()) ** 0.5).reshape(-1, 1, 1, 1)

    def velocity(epsilon: torch.Tensor) -> torch.Tensor:
        return mean * epsilon - spread * (noisy - spread * epsilon) / mean

    of_v = (velocity(one) - velocity(other)).square().flatten(1).mean(1)
    of_epsilon = (one - other).square().flatten(1).mean(1)
    weight = Weighting.registry.get("as_epsilon")()(discrete("v_prediction", alphas), times)
    assert (of_v * weight).tolist() == pytest.approx(of_epsilon.tolist(), rel=1e-4)
