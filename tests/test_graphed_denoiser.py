"""Sampling through static buffers gives the same pictures, also when calls are recorded and repeated.

A graph needs a GPU; as in `test_cuda_graphs`, operations are recorded and repeated on the CPU.
"""

from __future__ import annotations

from typing import Any

import families
import pytest
import torch
from operation_recorder import OperationRecorder

from lorapipe.evaluation.graphed_denoiser import GraphedDenoiser
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Family, Model
from lorapipe.pipeline.events import Event, Log
from lorapipe.training.adapters import Attached
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.cuda_graphs import WARM_UP
from lorapipe.training.model_contexts import attached

families.register()
STEPS = 14
PROMPTS = ["a red hat", "b"]


@pytest.fixture(scope="module", params=["sd15", "sdxl", families.NAME])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    kind: Any = Family.registry.get(request.param)  # type: ignore[union-attr]
    return kind.tiny(tmp_path_factory.mktemp(request.param)).load("cpu")


class Recorders:
    """Makes recorders, and keeps them."""

    def __init__(self) -> None:
        self.made: list[OperationRecorder] = []

    def __call__(self) -> OperationRecorder:
        self.made.append(OperationRecorder([]))
        return self.made[-1]

    @property
    def replays(self) -> list[int]:
        return [each.replayed for each in self.made]


def stir(handle: Attached) -> None:
    chance = torch.Generator().manual_seed(2)
    for found in handle.parameters().values():
        for parameter in found:
            parameter.data.copy_(torch.randn(parameter.shape, generator=chance) * 0.1)


def cells(sampler: Sampler, model: Model) -> list[torch.Tensor]:
    """Sample the base, then an adapter at two strengths, in two batches each."""
    found = []

    def sample() -> None:
        sampler.read(PROMPTS, batches=2)
        with torch.inference_mode():
            found.extend(sampler.latents(PROMPTS, [seed, seed + 1], lambda: None).clone() for seed in (1, 7))

    sample()
    with attached(LoRA(rank=2), model, [model.denoiser]) as handle:
        stir(handle)
        for strength in (1.0, 0.5):
            handle.set_strength({model.denoiser: strength})
            sample()
    return found


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_recorded_calls_sample_alike_whatever_the_strength(model: Model, cfg: float) -> None:
    recipe, recorders, told = SamplingOptions((64, 64), STEPS, cfg), Recorders(), list[Event]()
    plain = cells(Sampler(model, recipe), model)
    recorded = cells(Sampler(model, recipe, told.append, GraphedDenoiser(model, told.append, recorders)), model)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(recorded, plain, strict=True))
    assert not torch.allclose(plain[0], plain[2]) and not torch.allclose(plain[2], plain[4])
    assert recorders.replays == [2 * STEPS - WARM_UP] * 3
    assert not told


def test_a_single_short_batch_is_not_worth_a_graph(model: Model) -> None:
    recorders = Recorders()
    denoiser = GraphedDenoiser(model, lambda event: None, recorders)
    sampler = Sampler(model, SamplingOptions((64, 64), STEPS), denoiser=denoiser)
    sampler.read(PROMPTS)
    sampler.pictures(PROMPTS, [1, 2], lambda: None)
    assert recorders.replays == [0]


def test_a_network_that_cannot_be_a_graph_is_told_of_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, recorders, told = SamplingOptions((64, 64), STEPS), Recorders(), list[Event]()
    plain = cells(Sampler(model, recipe), model)
    predict = model.predict

    def reading(noisy: torch.Tensor, t: torch.Tensor, condition: Any) -> torch.Tensor:
        assert float(noisy.abs().max()) > 0
        return predict(noisy, t, condition)

    monkeypatch.setattr(model, "predict", reading)
    sampler = Sampler(model, recipe, told.append, GraphedDenoiser(model, told.append, recorders))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(cells(sampler, model), plain, strict=True))
    assert recorders.replays == [0]
    [line] = told
    assert isinstance(line, Log) and "the value of a tensor is read in Python (test_graphed_denoiser.py" in line.text


def test_memory_that_is_short_costs_the_graphs_and_no_picture(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, told = SamplingOptions((64, 64), STEPS), list[Event]()
    recorders = Recorders()
    sampler = Sampler(model, recipe, told.append, GraphedDenoiser(model, told.append, recorders))
    sampler.read(PROMPTS, batches=2)
    with torch.inference_mode():
        whole = sampler.latents(PROMPTS, [1, 2], lambda: None).clone()
        predict, failures = model.predict, [torch.OutOfMemoryError("CUDA out of memory.")]

        def full(noisy: torch.Tensor, t: torch.Tensor, condition: Any) -> torch.Tensor:
            if failures:
                raise failures.pop()
            return predict(noisy, t, condition)

        monkeypatch.setattr(model, "predict", full)
        (alone,) = sampler.latents(PROMPTS[:1], [1], lambda: None)  # another shape, while a graph is kept
    assert torch.nn.functional.cosine_similarity(alone.flatten(), whole[0].flatten(), dim=0) > 0.99
    assert ["memory is short" in line.text for line in told if isinstance(line, Log)] == [True]
