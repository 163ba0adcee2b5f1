"""What every optimizer promises, whoever wrote it."""

from __future__ import annotations

import io

import pytest
import torch

from lorapipe.training.flat import flatten
from lorapipe.training.optimizers import Optimizer

NAMES = Optimizer.registry.names()


def problem(seed: int = 0) -> tuple[list[torch.nn.Parameter], torch.Tensor, torch.Tensor]:
    """A low-rank regression, as an adapter's is: find up · down ≈ W from zero, of 6 × 8 with rank 2."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator)
    wanted = inputs @ (torch.randn(6, 2, generator=generator) @ torch.randn(2, 8, generator=generator) / 2).T
    down = torch.nn.Parameter(torch.randn(2, 8, generator=generator) / 8**0.5)
    return [down, torch.nn.Parameter(torch.zeros(6, 2))], inputs, wanted


def learn(optimizer: torch.optim.Optimizer, parts: list, inputs: torch.Tensor, wanted: torch.Tensor, steps: int):
    losses = []
    for _ in range(steps):
        loss = (inputs @ parts[0].T @ parts[1].T - wanted).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses.append(float(loss.detach()))
    return losses


def build(name: str, parts: list[torch.nn.Parameter], rate: float | None = None) -> torch.optim.Optimizer:
    spec = Optimizer.registry.get(name)()
    rate = rate or (1.0 if spec.adaptive else 1e-2)
    return spec.build([{"params": parts, "lr": rate, "name": "unet"}])


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name: str) -> None:
    parts, inputs, wanted = problem()
    losses = learn(build(name, parts), parts, inputs, wanted, 400)
    assert losses[-1] < losses[0] / 20


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_goes_on_bit_for_bit(name: str) -> None:
    """The state survives `torch.save` and a load that accepts tensors and plain values only."""
    parts, inputs, wanted = problem()
    optimizer = build(name, parts)
    learn(optimizer, parts, inputs, wanted, 20)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "parts": [p.detach() for p in parts]}, file)
    unbroken = learn(optimizer, parts, inputs, wanted, 20)

    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed_parts = [torch.nn.Parameter(tensor) for tensor in state["parts"]]
    resumed = build(name, resumed_parts)
    resumed.load_state_dict(state["optimizer"])
    assert learn(resumed, resumed_parts, inputs, wanted, 20) == unbroken


@pytest.mark.parametrize("name", NAMES)
def test_one_flat_tensor_learns_what_many_do(name: str) -> None:
    if not Optimizer.registry.get(name).elementwise:
        pytest.skip("says that it looks at shapes")
    many, inputs, wanted = problem()
    expected = learn(build(name, many), many, inputs, wanted, 30)
    windows, _, _ = problem()
    flat = flatten(windows)
    assert learn(build(name, [flat]), windows, inputs, wanted, 30) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_followed(name: str) -> None:
    """A part whose rate is lowered to 0 stands still while the other learns."""
    first, _, _ = problem(0)
    second, _, _ = problem(1)
    spec = Optimizer.registry.get(name)()
    rates = spec.usual_rates
    groups = [{"params": first, "lr": rates["unet"], "name": "unet"}]
    groups += [{"params": second, "lr": rates["text_encoder"], "name": "text_encoder"}]
    optimizer = spec.build(groups)
    assert [group["name"] for group in optimizer.param_groups] == ["unet", "text_encoder"]
    for parameter in first + second:
        parameter.grad = torch.ones_like(parameter)
    optimizer.param_groups[1]["lr"] = 0.0
    before = [[p.detach().clone() for p in parts] for parts in (first, second)]
    optimizer.step()
    assert not any(torch.equal(p, old) for p, old in zip(first, before[0], strict=True))
    assert all(torch.equal(p, old) for p, old in zip(second, before[1], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_figures(name: str) -> None:
    spec = Optimizer.registry.get(name)()
    parts, inputs, wanted = problem()
    optimizer = build(name, parts)
    learn(optimizer, parts, inputs, wanted, 5)
    figures = {key: float(value) for key, value in spec.estimates(optimizer).items()}
    assert bool(figures) == spec.adaptive


def test_prodigy_finds_a_rate_by_itself_and_says_so() -> None:
    spec = Optimizer.registry.get("prodigy")()
    parts, inputs, wanted = problem()
    optimizer = build("prodigy", parts)
    assert spec.estimates(optimizer)["d"] == spec.d0
    learn(optimizer, parts, inputs, wanted, 300)
    figures = spec.estimates(optimizer)
    assert figures["d"] > 1000 * spec.d0
    assert figures["d*lr"] == figures["d"] * optimizer.param_groups[0]["lr"]
