"""What every loss promises, whoever wrote it."""

from __future__ import annotations

import pytest
import torch

from lorapipe.training.losses import Loss
from lorapipe.training.losses.mse import Mse

NAMES = Loss.registry.names()


@pytest.mark.parametrize("name", NAMES)
def test_zero_where_equal_and_growing_with_the_error(name: str) -> None:
    loss = Loss.registry.get(name)()
    target = torch.randn(2, 4, 3, 3)
    assert torch.equal(loss(target, target), torch.zeros_like(target))
    small, large = (float(loss(target + shift, target).mean()) for shift in (0.1, 1.0))
    assert 0 < small < large


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_float32_elementwise_with_gradients(name: str, dtype: torch.dtype) -> None:
    loss = Loss.registry.get(name)()
    prediction = torch.randn(2, 4, 3, 3, dtype=dtype, requires_grad=True)
    values = loss(prediction, torch.zeros(2, 4, 3, 3, dtype=dtype))
    assert values.dtype == torch.float32
    assert values.shape == prediction.shape
    values.mean().backward()
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad.sign() == prediction.detach().sign()).all()  # downhill is towards the target


def test_mse_does_not_overflow_in_half_precision() -> None:
    prediction, target = torch.full((1, 1), 300.0, dtype=torch.float16), torch.zeros(1, 1, dtype=torch.float16)
    assert float(Mse()(prediction, target)) == 90_000  # above float16's largest, 65,504
