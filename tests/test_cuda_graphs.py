"""Passes on static buffers give what plain passes give, bit for bit, and what is recorded can be repeated.

A graph itself needs a GPU. Here operations are recorded and repeated on the CPU (`operation_recorder`), which shows that a
pass depends on its buffers alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

import families
import pytest
import tiny
import torch
from operation_recorder import OperationRecorder
from PIL import Image

from lorapipe.errors import InputError
from lorapipe.models import Family, Model, TextReading
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training import loop
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.cuda_graphs import WARM_UP, GraphedPasses
from lorapipe.training.graph_obstacles import Obstacles, Places
from lorapipe.training.interval import Interval
from lorapipe.training.losses import Loss
from lorapipe.training.losses.mse import Mse
from lorapipe.training.model_contexts import attached, gradient_checkpointing
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adamw import AdamW
from lorapipe.training.param_groups import grouped
from lorapipe.training.weightings.min_snr import MinSnr

families.register()
LONG = Captioning(suffix=", a red hat" * 40)
TRAININGS: dict[str, dict[str, Any]] = {
    "accumulation": {"batch": 2, "accumulation": 3},
    "frozen text encoder": {"text_encoder_lr": 0.0, "batch": 2, "max_tokens": 150},
    "225 tokens": {"max_tokens": 225, "captions": LONG, "batch": 2},
    "dropouts": {"adapter": LoRA(rank=4, dropout=0.2, rank_dropout=0.2, module_dropout=0.2)},
    "dropouts, recomputed": {"adapter": LoRA(rank=4, dropout=0.2), "gradient_checkpointing": True},
    "modules left out": {"adapter": LoHa(rank=2, module_dropout=0.3)},
    "noise": {"noise": NoiseOptions(offset=0.1, offset_adaptive=0.1, perturbation=0.1, multires_iterations=2)},
    "a word": {"embedding": WordEmbedding(trigger="penny", vectors=2)},
    "previews and snapshots": {"preview_prompts": ("penny",), "previews": Interval(3), "snapshots": Interval(3)},
    "bf16": {"precision": "bf16"},
    "average": {"ema": 0.9},
    "finetune": {"adapter": Finetune(), "optimizer": Optimizer.registry.get("adafactor")()},
    "prodigy": {"optimizer": Optimizer.registry.get("prodigy")()},
    **{name: {"loss": Loss.registry.get(name)()} for name in Loss.registry.names()},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def dataset(folder: Any) -> Dataset:
    """Pictures of two shapes with masks."""
    plain = tiny.dataset(folder)
    masks = folder / "masks"
    masks.mkdir()
    Image.linear_gradient("L").resize((64, 64)).save(masks / "0.png")
    prepare = Prepare(images=Source(plain.images), base=plain.base, masks=Source(masks), duplicate_tolerance=0)
    return prepare.run(tiny.Bench(folder).context("masked"))


def trained(folder: Any, dataset: Dataset, name: str, **knobs: Any) -> Weights:
    usual = {"steps": Duration(3), "snapshots": Interval(1), "adapter": LoRA(rank=2)}
    train = Train(dataset=dataset, **{**usual, "regularisation": dataset, "prior_loss_weight": 0.5, **knobs})
    return train.run(tiny.Bench(folder).context(name))


def same(ours: Weights, theirs: Weights) -> None:
    losses = [[json.loads(line)["loss"] for line in each.log.read_text().splitlines()] for each in (ours, theirs)]
    assert losses[0] == losses[1]
    for mine, other in zip(ours.snapshots, theirs.snapshots, strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", TRAININGS)
def test_static_buffers_change_no_training(folder: Any, dataset: Dataset, case: str) -> None:
    """Masks, weights of regularisation pictures, two shapes, and what the case adds."""
    ours = trained(folder, dataset, f"{case} auto", **TRAININGS[case])
    same(ours, trained(folder, dataset, f"{case} off", graphs="off", **TRAININGS[case]))


def test_graphs_that_cannot_be_are_errors_where_they_are_insisted_on(folder: Any, dataset: Dataset) -> None:
    [found] = Train(dataset=dataset, adapter=Finetune(), graphs="on").problems()
    assert found.path == ("graphs",)
    assert "cannot repeat" in found.what
    if tiny.DEVICE == "cpu":
        with pytest.raises(InputError, match=r"cannot be a CUDA graph: the device is cpu"):
            trained(folder, dataset, "insisting", graphs="on")


# ------------------------------------------------------------------------------------------------------------- passes


def total(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return sum((tensor.sum() for tensor in inputs.values()), torch.zeros(()))


def test_each_signature_has_its_own_buffers_which_are_filled_anew() -> None:
    seen: list[tuple[int, tuple[int, ...], float]] = []

    def run(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        seen.append((inputs["x"].data_ptr(), tuple(inputs["x"].shape), float(inputs["x"].sum())))
        return total(inputs)

    passes = GraphedPasses(torch.device("cpu"), Places([]), 10, None, pytest.fail)
    found = [float(passes(run, {"x": torch.full((size,), 1.0 + n)})) for n, size in enumerate((2, 3, 2, 3))]
    assert found == [2.0, 6.0, 6.0, 12.0] == [value for _, _, value in seen]
    assert seen[0][0] == seen[2][0] != seen[1][0] == seen[3][0]
    passes(run, {"x": torch.ones(2, dtype=torch.float64)})
    passes(run, {"x": torch.ones(2), "mask": torch.ones(2)})
    assert len({place for place, _, _ in seen}) == 4


def recorded(expected: int, said: list[str]) -> tuple[GraphedPasses, OperationRecorder]:
    recorder = OperationRecorder([])
    return GraphedPasses(torch.device("cpu"), Places([]), expected, recorder, said.append), recorder


def test_a_shape_is_recorded_when_it_will_occur_often_enough() -> None:
    """Of 60 passes every tenth has a rare shape; a short training records nothing."""
    said: list[str] = []
    passes, recorder = recorded(60, said)
    for step in range(60):
        size = 3 if step % 10 == 9 else 2
        assert float(passes(total, {"x": torch.full((size,), float(step))})) == size * step
    assert recorder.recorded == 1
    assert recorder.replayed == 54 - WARM_UP
    passes, recorder = recorded(10, said)
    for step in range(10):
        passes(total, {"x": torch.full((2,), float(step))})
    assert not recorder.recorded
    assert not said


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda inputs: inputs["x"].sum() * float(inputs["x"][0]), "the value of a tensor is read in Python"),
        (lambda inputs: inputs["x"].sum() if bool((inputs["x"] > 0).any()) else inputs["x"].mean(), "is read in Python"),
    ],
)  # fmt: skip
def test_what_a_graph_could_not_repeat_is_refused_and_still_right(run: Any, reason: str) -> None:
    said: list[str] = []
    passes, recorder = recorded(100, said)
    for step in range(30):
        x = torch.full((3,), float(step - 5))
        assert float(passes(run, {"x": x})) == float(run({"x": x}))
    assert not recorder.recorded
    assert len(said) == 1
    assert reason in said[0]
    assert "test_cuda_graphs.py" in said[0]


def test_random_numbers_of_the_host_are_no_numbers_of_the_device() -> None:
    with Obstacles(torch.device("cuda")) as watch:
        torch.rand(2)
    assert "random numbers are drawn on the host" in watch.reasons[0]
    with Obstacles(torch.device("cpu")) as watch:
        torch.nn.functional.dropout(torch.ones(4), 0.5)
    assert watch.is_random
    assert not watch.reasons


def test_dropout_is_not_recomputed_in_a_graph() -> None:
    said: list[str] = []
    passes = GraphedPasses(torch.device("cpu"), Places([]), 100, OperationRecorder([]), said.append, checkpoints=True)
    passes(lambda inputs: torch.nn.functional.dropout(inputs["x"], 0.5).sum(), {"x": torch.ones(4)})
    assert said == ["dropout under gradient checkpointing needs the state of its random numbers in Python"]


def test_moved_weights_end_the_replays() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    weight.grad = torch.zeros(1)
    said: list[str] = []
    recorder = OperationRecorder([weight])
    passes = GraphedPasses(torch.device("cpu"), Places([weight]), 100, recorder, said.append)

    def run(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        loss = (weight * inputs["x"]).sum()
        loss.backward()
        return loss.detach()

    for step in range(20):
        if step == 10:
            weight.data = torch.tensor([3.0])  # as `.to(memory_format=…)` of a module would
        assert float(passes(run, {"x": torch.full((2,), float(step))})) == 2 * step * (3 if step >= 10 else 2)
        assert float(weight.grad) == 2 * sum(range(step + 1))
    assert recorder.replayed == 10 - WARM_UP
    assert said == ["gradients or weights have another address after each step"]


def test_freed_gradients_are_noticed() -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    said: list[str] = []
    passes = GraphedPasses(torch.device("cpu"), Places([weight]), 100, OperationRecorder([weight]), said.append)

    def run(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        (weight * inputs["x"]).sum().backward()
        return torch.zeros(())

    for _ in range(6):
        passes(run, {"x": torch.ones(2)})
        weight.grad = None
    assert said == ["gradients are moved or freed in the backward pass"]


# ----------------------------------------------------------------------------------------------------- whole trainings

CAPTIONS = ("a red hat", "penny, snow", "a hat", "b")
STEPS = 6
Checkpoints: TypeAlias = bool | tuple[str, ...]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    def load(family: str) -> Model:
        kind = Family.registry.get(family)  # type: ignore[union-attr]
        return kind.tiny(tmp_path_factory.mktemp(family)).load("cpu")

    return cache(load)


def updates(model: Model, reading: TextReading) -> Iterator[loop.Update]:
    """Two batches each, of two shapes, one with a mask, one with weights."""
    shapes = [model.latent_shape((64, 64)), model.latent_shape((128, 64))]
    chance = torch.Generator().manual_seed(3)
    for step in range(STEPS):
        batches = []
        for place, shape in enumerate(shapes):
            latents = torch.randn(2, *shape, generator=chance)
            captions = [CAPTIONS[(step + place + n) % len(CAPTIONS)] for n in range(2)]
            sizes = model.size_conditioning((64, 64), (step, 0), (64, 64))
            more = {name: tensor.expand(2, -1) for name, tensor in sizes.items()}
            mask = torch.rand(2, 1, *shape[1:], generator=chance) if place else None
            weights = None if place else torch.tensor([1.0, 0.5])
            condition = lambda captions=captions, more=more: {**model.tokenize(captions, reading), **more}  # noqa: E731
            batches.append(loop.MicroBatch(latents, condition, mask, weights))
        yield loop.Update(step, batches)


def learned(
    model: Model, adapter: Adapter, reading: TextReading, *, records: bool, checkpoints: Checkpoints = False
) -> tuple[list[float], dict[str, torch.Tensor], int, list[str]]:
    """Train denoiser and text encoders; return losses, parameters, replays and what was refused."""
    said: list[str] = []
    parts = dict.fromkeys(model.trainable, 1e-2)
    with gradient_checkpointing(model, checkpoints), attached(adapter, model, [*parts], 1) as handle:
        trainable = grouped(handle, parts, AdamW(), model)
        parameters = [each for found in handle.parameters().values() for each in found]
        held = Places([*parameters, *model.part(model.denoiser).parameters()])
        recorder = OperationRecorder(parameters)
        passes = GraphedPasses(model.device, held, 1000, recorder, said.append, checkpoints=bool(checkpoints))
        encode = lambda tokens: model.encode_tokens(tokens, reading)  # noqa: E731
        objective = loop.Objective(model, Mse(), MinSnr(), NoiseOptions(perturbation=0.1).draw, 5, encode)
        steps = loop.train(
            updates(model, reading), objective, trainable.optimizer, lambda step: 1.0, max_grad_norm=1.0,
            passes=passes if records else None,
        )  # fmt: skip
        losses = [float(step.loss) for step in steps]
        found = {f"{n}": each.detach().clone() for n, each in enumerate(parameters)}
    return losses, found, recorder.replayed, said


SOME_BLOCKS = ("up_blocks.0.resnets.0", "up_blocks.0.attentions.0.transformer_blocks.0")
CASES: dict[str, tuple[str, Adapter, TextReading, Checkpoints]] = {
    "150 tokens, weighted": ("sd15", LoRA(rank=2), TextReading(150, weighted=True), False),
    "recomputed": ("sdxl", LoRA(rank=2), TextReading(), True),
    "some recomputed": ("sdxl", LoRA(rank=2), TextReading(), SOME_BLOCKS),
    "transformer": (families.NAME, LoRA(rank=2), TextReading(), False),
    "dropouts": ("sdxl", LoRA(rank=2, dropout=0.2, rank_dropout=0.2, module_dropout=0.2), TextReading(), False),
    "dora": ("sd15", LoRA(rank=2, dora=True), TextReading(), False),
    "loha, modules left out": ("sd15", LoHa(rank=2, module_dropout=0.3), TextReading(), False),
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("case", CASES)
def test_repeated_operations_train_alike(models: Callable[[str], Model], case: str) -> None:
    """The losses and weights of a training whose passes are recorded and repeated are those of a plain one."""
    family, adapter, reading, checkpoints = CASES[case]
    model = models(family)
    losses, parameters, _, _ = learned(model, adapter, reading, records=False, checkpoints=checkpoints)
    ours, mine, replays, said = learned(model, adapter, reading, records=True, checkpoints=checkpoints)
    assert not said
    assert replays == 2 * (STEPS - WARM_UP)
    assert ours == losses
    assert all(torch.equal(mine[name], parameters[name]) for name in parameters)
