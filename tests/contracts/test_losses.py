"""Contract tests of all registered losses."""

from __future__ import annotations

import math

import pytest
import torch

from lorapipe.training.diffusion import Diffusion, EpsilonPrediction, Flow
from lorapipe.training.losses import Loss
from lorapipe.training.losses.huber import Huber
from lorapipe.training.losses.mse import Mse
from lorapipe.training.losses.smooth_l1 import SmoothL1

NAMES = Loss.registry.names()
SCHEDULE = torch.linspace(0.999, 0.005, 1000)
DISCRETE = EpsilonPrediction(SCHEDULE)
T = torch.tensor([40, 900])


@pytest.mark.parametrize("diffusion", [DISCRETE, Flow()], ids=["discrete", "flow"])
@pytest.mark.parametrize("name", NAMES)
def test_zero_where_equal_and_growing_with_the_error(name: str, diffusion: Diffusion) -> None:
    loss = Loss.registry.get(name)()
    target = torch.randn(2, 4, 3, 3)
    assert torch.equal(loss(target, target, diffusion, T), torch.zeros_like(target))
    small, large = (float(loss(target + shift, target, diffusion, T).mean()) for shift in (0.1, 1.0))
    assert 0 < small < large


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_float32_elementwise_with_gradients(name: str, dtype: torch.dtype) -> None:
    loss = Loss.registry.get(name)()
    prediction = torch.randn(2, 4, 3, 3, dtype=dtype, requires_grad=True)
    values = loss(prediction, torch.zeros(2, 4, 3, 3, dtype=dtype), DISCRETE, T)
    assert values.dtype == torch.float32
    assert values.shape == prediction.shape
    values.mean().backward()
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad.sign() == prediction.detach().sign()).all()  # downhill is towards the target


def test_mse_does_not_overflow_in_half_precision() -> None:
    prediction, target = torch.full((1, 1), 300.0, dtype=torch.float16), torch.zeros(1, 1, dtype=torch.float16)
    assert float(Mse()(prediction, target, DISCRETE, T[:1])) == 90_000  # above float16's largest, 65,504


@pytest.mark.parametrize("error", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("schedule", ["constant", "exponential", "snr"])
def test_rounded_losses_are_the_reference_trainers(schedule: str, error: float) -> None:
    """The reference is computed without torch, by sd-scripts' `conditional_loss` and `get_huber_threshold_if_needed`."""
    for place, t in enumerate(T.tolist()):
        alpha_bar = float(SCHEDULE[t])
        c = {
            "constant": 0.1 * 0.5,
            "exponential": math.exp(math.log(0.1) / 1000 * t) * 0.5,
            "snr": 0.9 / (1 + math.sqrt((1 - alpha_bar) / alpha_bar)) ** 2 + 0.1,
        }[schedule]
        root = math.sqrt(error**2 + c**2) - c
        wanted = {Huber: 2 * c * root, SmoothL1: 2 * root}
        for kind, expected in wanted.items():
            loss = kind(schedule=schedule, c=0.1, scale=0.5)
            found = loss(torch.full((2, 1, 1, 1), error), torch.zeros(2, 1, 1, 1), DISCRETE, T)
            assert float(found[place]) == pytest.approx(expected, rel=2e-3, abs=1e-7)


def test_a_far_error_pulls_no_harder_than_a_near_one() -> None:
    far, near = (torch.full((1, 1, 1, 1), value, requires_grad=True) for value in (50.0, 5.0))
    for prediction in (far, near):
        Huber(schedule="constant")(prediction, torch.zeros(1, 1, 1, 1), DISCRETE, T[:1]).sum().backward()
    assert float(far.grad) == pytest.approx(float(near.grad), rel=1e-2)


def test_l1_is_the_size_of_the_error() -> None:
    prediction = torch.tensor([[[[-3.0, 0.5]]]])
    assert Loss.registry.get("l1")()(prediction, torch.zeros(1, 1, 1, 2), DISCRETE, T[:1]).tolist() == [[[[3.0, 0.5]]]]
