"""A copy of the weights in half precision changes no bit of a training, and nothing but passes sees it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from operation_recorder import OperationRecorder
from torch.utils._python_dispatch import TorchDispatchMode

from lorapipe.models import Model
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training import loop
from lorapipe.training.adapter_layers.lora_layer import LoraLayer
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.cuda_graphs import WARM_UP, GraphedPasses
from lorapipe.training.graph_obstacles import Places
from lorapipe.training.interval import Interval
from lorapipe.training.losses.mse import Mse
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adamw import AdamW
from lorapipe.training.param_groups import grouped
from lorapipe.training.resume_state import Trainable
from lorapipe.training.weightings.min_snr import MinSnr
from lorapipe.training.working_copy import CopiedPasses, with_copies

TRAININGS: dict[str, dict[str, Any]] = {
    "accumulation": {"accumulation": 3},
    "150 tokens": {"max_tokens": 150},
    "rates apart": {"adapter": LoRA(rank=2, lora_plus=4.0)},
    "convolutions": {"adapter": LoCon(rank=2, conv_rank=2)},
    "dropouts": {"adapter": LoRA(rank=4, dropout=0.2, rank_dropout=0.2, module_dropout=0.2, noise_rank=2)},
    "recomputed": {"gradient_checkpointing": True},
    "average and limits": {"ema": 0.9, "scale_weight_norms": 0.01, "preview_prompts": ("penny",)},
    "schedule-free": {"optimizer": Optimizer.registry.get("schedule_free_adamw")()},
    "a word": {"embedding": WordEmbedding(trigger="penny", vectors=2)},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tiny.dataset(tmp_path_factory.mktemp("working-copy"))


def trained(folder: Path, dataset: Dataset, name: str, **knobs: Any) -> tuple[list[float], list[bytes]]:
    """Train in bf16; return losses and snapshots."""
    usual = {"steps": Duration(4), "snapshots": Interval(1), "adapter": LoRA(rank=2, alpha=1.0), "batch": 2}
    weights = Train(dataset=dataset, precision="bf16", **{**usual, **knobs}).run(tiny.Bench(folder).context(name))
    losses = [json.loads(line)["loss"] for line in weights.log.read_text().splitlines()]
    return losses, [each.path.read_bytes() for each in weights.snapshots]


@pytest.mark.one_in(2)
@pytest.mark.slow
@pytest.mark.parametrize("case", TRAININGS)
def test_it_changes_no_training(dataset: Dataset, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = trained(tmp_path, dataset, "with", **TRAININGS[case])
    monkeypatch.setattr(LoraLayer, "may_have_copies", lambda layer, dtype: False)
    assert trained(tmp_path, dataset, "without", **TRAININGS[case]) == ours


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return SD15.tiny(tmp_path / "base").load("cpu", "bf16")


def passes_of(adapter: Adapter, model: Model, optimizer: Optimizer) -> tuple[loop.Passes, Trainable, Any]:
    handle = adapter.attach(model, ["unet"], 1)
    trainable = grouped(handle, {"unet": 1e-2}, optimizer, model)
    optimized = [tensor for found in trainable.parameters.values() for tensor in found]
    return with_copies(loop.PlainPasses(model.device), handle, optimized, model.dtype), trainable, handle


@pytest.mark.parametrize(
    ("adapter", "optimizer", "are_copied"),
    [
        (LoRA(rank=2), AdamW(), True),
        (LoRA(rank=2, dora=True), AdamW(), False),  # needs its norm in float32
        (LoHa(rank=2), AdamW(), False),  # multiplies in float32
        (LoRA(rank=2), Optimizer.registry.get("adafactor")(), False),  # no flat tensor
    ],
)
def test_only_what_is_cast_before_all_else_is_copied(
    model: Model, adapter: Adapter, optimizer: Optimizer, are_copied: bool
) -> None:
    passes, _, _ = passes_of(adapter, model, optimizer)
    assert isinstance(passes, CopiedPasses) == are_copied


def test_a_base_in_full_precision_needs_no_copy(tmp_path: Path) -> None:
    model = SD15.tiny(tmp_path / "base").load("cpu")
    passes, _, _ = passes_of(LoRA(rank=2), model, AdamW())
    assert isinstance(passes, loop.PlainPasses)


def copied(handle: Any) -> list[LoraLayer]:
    """Return the layers that work with copies."""
    return [layer for layer in handle.layers.values() if layer.copies]


Operations = Counter[str]


class Counted(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = Operations()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations[func.name()] += 1
        return func(*args, **(kwargs or {}))


def test_two_casts_take_the_place_of_six_for_each_module(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down and up in the forward pass, again in the backward pass, and their gradients; but captions need no gradient."""
    noisy, t, condition = torch.randn(1, 4, 8, 8), torch.tensor([5]), {"hidden": torch.randn(1, 77, 32)}

    def run(inputs: loop.Inputs) -> torch.Tensor:
        loss = model.predict(noisy, t, condition).square().mean()
        loss.backward()
        return loss.detach()

    def casts() -> tuple[int, list[str]]:
        passes, _, handle = passes_of(LoRA(rank=2), model, AdamW())
        with Counted() as counted:
            passes(run, {})
        handle.detach()
        return counted.operations["aten::_to_copy"], [path for _, path in handle.layers]

    with_copy, modules = casts()
    monkeypatch.setattr(LoraLayer, "may_have_copies", lambda layer, dtype: False)
    without, _ = casts()
    of_captions = [path for path in modules if path.endswith(("attn2.to_k", "attn2.to_v"))]
    assert without - with_copy == 6 * len(modules) - len(of_captions)


def test_recorded_passes_work_with_the_copy(model: Model) -> None:
    """Graphs repeat operations on the copy's memory, which stays the same."""
    shape, said = model.latent_shape((64, 64)), list[str]()

    def learned(records: bool) -> tuple[list[float], torch.Tensor]:
        handle = LoRA(rank=2).attach(model, ["unet"], 1)
        trainable = grouped(handle, {"unet": 1e-2}, AdamW(), model)
        [[flat]] = trainable.parameters.values()
        changed = handle.parameters()["unet"]
        recorder = OperationRecorder(changed)
        graphed = GraphedPasses(model.device, Places(changed), 100, recorder if records else None, said.append)
        passes = with_copies(graphed, handle, [flat], model.dtype)
        recorder.restored = [*changed, *(each for layer in copied(handle) for each in layer.copies)]
        chance = torch.Generator().manual_seed(3)
        updates = [
            loop.Update(
                step,
                [loop.MicroBatch(torch.randn(1, *shape, generator=chance), lambda: {"hidden": torch.ones(1, 77, 32)})]
                * 2,
            )
            for step in range(6)
        ]
        objective = loop.Objective(model, Mse(), MinSnr(), NoiseOptions().draw, 5)
        steps = loop.train(updates, objective, trainable.optimizer, lambda step: 1.0, max_grad_norm=1.0, passes=passes)
        losses = [float(step.loss) for step in steps]
        handle.detach()
        assert not records or recorder.replayed == 2 * 6 - WARM_UP
        return losses, flat.detach().clone()

    losses, weights = learned(records=False)
    ours, mine = learned(records=True)
    assert not said
    assert ours == losses
    assert torch.equal(mine, weights)


def test_each_pass_sees_the_weights_of_its_time_and_samples_need_no_pass(model: Model) -> None:
    """Other code may change the weights between passes; a pass that broke off leaves no gradients behind."""
    noisy, t, condition = torch.randn(1, 4, 8, 8), torch.tensor([5]), {"hidden": torch.randn(1, 77, 32)}

    def run(inputs: loop.Inputs) -> torch.Tensor:
        loss = model.predict(noisy, t, condition).square().mean()
        loss.backward()
        if inputs["breaks off"]:
            raise torch.OutOfMemoryError
        return loss.detach()

    passes, trainable, handle = passes_of(LoRA(rank=2), model, AdamW())
    [[flat]] = trainable.parameters.values()
    with torch.no_grad():
        flat.copy_(torch.randn_like(flat) * 0.1)
        sampled = model.predict(noisy, t, condition)
    loss = passes(run, {"breaks off": torch.tensor(False)})
    assert torch.equal(loss, sampled.square().mean())
    once = flat.grad.clone()
    with pytest.raises(torch.OutOfMemoryError):
        passes(run, {"breaks off": torch.tensor(True)})
    assert torch.equal(flat.grad, once)
    passes(run, {"breaks off": torch.tensor(False)})
    assert torch.equal(flat.grad, 2 * once)
    assert once.count_nonzero() > 0.9 * sum(each.numel() for each in handle.parameters()["unet"])


def test_the_copy_is_given_up_when_memory_is_short(model: Model) -> None:
    passes, _, handle = passes_of(LoRA(rank=2), model, AdamW())
    assert len(copied(handle)) == len(handle.layers)
    assert passes.release()
    assert not copied(handle)
    assert float(passes(lambda inputs: inputs["x"].sum(), {"x": torch.ones(2)})) == 2
    assert not passes.release()
