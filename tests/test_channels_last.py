"""A base whose convolutions lie with channels last trains as one whose do not, within rounding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from contracts.test_adapters import NAMES, made
from contracts.test_pivotal_tuning import learnt

from lorapipe.models import Model, Saving
from lorapipe.models.sd15 import SD15
from lorapipe.training import loop
from lorapipe.training.losses.mse import Mse
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers.sgd_nesterov import SgdNesterov
from lorapipe.training.param_groups import grouped
from lorapipe.training.weightings.min_snr import MinSnr

STEPS = 3
ALIKE = 5e-6
"""How far weights may be apart, of those that have moved by four times as much at least."""

ROUNDING = 1e-7
"""How far weights may be apart that have hardly moved."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SD15:
    return SD15.tiny(tmp_path_factory.mktemp("base"))


def in_channels_last(model: Model) -> Model:
    """Lay a model as `part` does on a GPU."""
    torch.nn.Module.to(model.part("unet"), memory_format=torch.channels_last)
    return model


Weights = Mapping[str, torch.Tensor]


def losses_and_weights(model: Model, name: str) -> tuple[list[float], Weights]:
    attached = made(name).attach(model, ["unet"], 1)
    trainable = grouped(attached, {"unet": 1e-2}, SgdNesterov(), model)
    chance, condition = torch.Generator().manual_seed(3), model.encode_text(["a red hat", "b"])
    updates = [
        loop.Update(step, [loop.MicroBatch(torch.randn(2, 4, 8, 8, generator=chance), lambda: condition)])
        for step in range(STEPS)
    ]
    objective = loop.Objective(model, Mse(), MinSnr(), NoiseOptions().draw, 5)
    losses = []
    for step in loop.train(updates, objective, trainable.optimizer, lambda step: 1.0):
        losses.append(float(step.loss))
        if trainable.addresses is not None:
            trainable.addresses.check()
    learned = learnt(attached.learned())
    attached.detach()
    return losses, learned


def beginning(model: Model, name: str) -> Weights:
    attached = made(name).attach(model, ["unet"], 1)
    found = {key: tensor.clone() for key, tensor in learnt(attached.learned()).items()}
    attached.detach()
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("embedding", "trilora")])
def test_every_adapter_trains_alike(base: SD15, name: str) -> None:
    losses, weights = losses_and_weights(base.load("cpu"), name)
    ours, learned = losses_and_weights(in_channels_last(base.load("cpu")), name)
    assert ours == pytest.approx(losses, rel=1e-5)
    assert learned.keys() == weights.keys()
    before = beginning(base.load("cpu"), name)
    moved = {key: float((tensor - before[key]).abs().max()) for key, tensor in weights.items()}
    assert max(moved.values()) > 4 * ALIKE
    for key, tensor in learned.items():
        assert tensor.is_contiguous()
        torch.testing.assert_close(tensor, weights[key], rtol=1e-4, atol=ALIKE)
        apart = float((tensor - weights[key]).abs().max())
        assert apart <= ROUNDING + 0.01 * moved[key], "a hundredth of what a tensor has learnt"


def test_it_is_the_convolutions_weights_that_lie_otherwise(base: SD15) -> None:
    weights = in_channels_last(base.load("cpu")).part("unet").conv_in.weight
    assert not weights.is_contiguous() and weights.is_contiguous(memory_format=torch.channels_last)
    assert base.load("cpu").part("unet").conv_in.weight.is_contiguous(), "on a CPU it is slower"


def test_a_saved_checkpoint_is_the_same(base: SD15, tmp_path: Path) -> None:
    saving = Saving({}, "fp32", lambda digest: {})
    for name, model in (("plain", base.load("cpu")), ("last", in_channels_last(base.load("cpu")))):
        model.save_checkpoint(tmp_path / f"{name}.safetensors", "single_file", saving)
    assert (tmp_path / "plain.safetensors").read_bytes() == (tmp_path / "last.safetensors").read_bytes()
