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
