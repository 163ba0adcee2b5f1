"""Full fine-tuning: trains every weight of the base in place, with little memory, and restores the base."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import published
import pytest
import tiny
import torch
from torch import Tensor

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.models import Model
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.spec import Duration, Source
from lorapipe.stages._train_forecast import _disk
from lorapipe.stages.train import Train
from lorapipe.training import loop
from lorapipe.training.adapter_layers.in_place_optimizer import round_stochastically
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training.losses.mse import Mse
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adamw import AdamW
from lorapipe.training.param_groups import grouped
from lorapipe.training.training_memory import memory
from lorapipe.training.weightings.none import NoWeighting

PARTS = ("unet", "text_encoder")
RATES = dict.fromkeys(PARTS, 1e-4)
TABLES = ("token_embedding", "position_embedding", "text_projection")
"""Of a text encoder, what stays: words are learnt by an embedding."""


def objective(model: Model) -> loop.Objective:
    return loop.Objective(model, Mse(), NoWeighting(), NoiseOptions().draw, seed=3)


def updates(model: Model, count: int = 3, batches: int = 1) -> Iterator[loop.Update]:
    generator = torch.Generator().manual_seed(4)
    for step in range(count):
        latents = [torch.randn(2, 4, 16, 16, generator=generator) for _ in range(batches)]
        yield loop.Update(
            step, [loop.MicroBatch(each, lambda: model.encode_text(["a red hat", "penny"])) for each in latents]
        )


def trained(
    model: Model, adapter: Finetune, optimizer: Optimizer | None = None, clip: float = 0.0, batches: int = 1
) -> dict[str, Tensor]:
    """The base's weights after three steps; the base is restored."""
    optimizer = optimizer or AdamW()
    before = answer(model)
    attached = adapter.attach(model, PARTS)
    try:
        trainable = grouped(attached, RATES, optimizer, model, clip)
        limit = 0.0 if attached.steps_in_backward else clip
        steps = loop.train(
            updates(model, 3, batches), objective(model), trainable.optimizer, lambda step: 1.0, max_grad_norm=limit
        )
        assert len([*steps]) == 3
        found = state(model)
    finally:
        attached.detach()
    assert torch.equal(answer(model), before), "the base is what it was"
    return found


def state(model: Model) -> dict[str, Tensor]:
    return {f"{part}.{name}": p.detach().clone() for part in PARTS for name, p in model.part(part).named_parameters()}


def answer(model: Model) -> Tensor:
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([5, 500]), model.encode_text(["a red hat", "b"]))


def plain(base: SD15, batches: int = 1, clip: float = 0.0) -> dict[str, Tensor]:
    """Train with PyTorch alone: AdamW over the modules' own parameters."""
    model = base.load(tiny.DEVICE)
    learning = [
        p
        for part in PARTS
        for name, p in model.part(part).named_parameters()
        if not any(table in name for table in TABLES)
    ]
    for parameter in learning:
        parameter.data = parameter.data.clone().requires_grad_(True)
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(learning, lr=1e-4)
    ask = objective(model)
    for update in updates(model, 3, batches):
        size = sum(len(batch.latents) for batch in update.batches)
        done = 0
        for batch in update.batches:
            (ask(update.step, range(done, done + len(batch.latents)), batch).sum() / size).backward()
            done += len(batch.latents)
        if clip:
            torch.nn.utils.clip_grad_norm_(learning, clip)
        optimizer.step()
        optimizer.zero_grad()
    return state(model)


def near(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], error: float = 1e-6) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (tensor.float() - theirs[name].float()).abs().max() <= error, name


@pytest.fixture
def half(base: SD15) -> Model:
    """The base in bf16."""
    return base.load(tiny.DEVICE, "bf16")


@pytest.mark.parametrize("clip", [0.0, 0.01])
@pytest.mark.parametrize("batches", [1, 3])
def test_it_is_pytorchs_own_training_of_the_modules(base: SD15, model: Model, batches: int, clip: float) -> None:
    near(trained(model, Finetune(), clip=clip, batches=batches), plain(base, batches, clip))


def test_every_weight_of_the_unet_learns_and_the_tables_of_words_stay(model: Model) -> None:
    before, after = state(model), trained(model, Finetune())
    still = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    assert {name for name in still if "k_proj.bias" not in name} == {
        name for name in before if any(table in name for table in TABLES)
    }  # softmax does not see a bias of keys


def test_patterns_choose_layers(model: Model) -> None:
    before, after = state(model), trained(model, Finetune(include=("attn2", "self_attn"), exclude=("to_out",)))
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved and all(("attn2" in name or "self_attn" in name) and "to_out" not in name for name in moved)
    with pytest.raises(InputError, match="leave nothing of the text encoder"):
        Finetune(include=("attn2",)).attach(model, PARTS)


def test_a_fused_step_is_the_same_step(model: Model, base: SD15) -> None:
    near(trained(model, Finetune(fused_backward=True)), plain(base))


@pytest.mark.parametrize("rounded", [True, False])
def test_fused_gradients_never_exist_together(half: Model, model: Model, rounded: bool) -> None:
    """In the backward pass each step sees one gradient, and none is left; without fusing, all of them."""
    most = {}
    for fused in (True, False):
        chosen = half if rounded else model
        attached = Finetune(fused_backward=fused, weights="bf16" if rounded else "fp32").attach(chosen, PARTS)
        trainable = grouped(attached, RATES, AdamW(), chosen, 1.0)
        inner: Any = trainable.optimizer
        counts = []
        step = inner._step

        def counted(weight: Any, step: Any = step, counts: list[int] = counts, attached: Any = attached) -> None:
            counts.append(sum(w.live.grad is not None or w.learning.grad is not None for w in attached._all()))
            step(weight)

        inner._step = counted
        if not fused and not rounded:
            counts.append(len([*attached._all()]))
        [*loop.train(updates(chosen, 1), objective(chosen), trainable.optimizer, lambda step: 1.0)]
        most[fused] = max(counts)
        attached.detach()
    assert most[True] == 1 and most[False] > 50


def test_fused_clipping_limits_each_tensor_for_itself(model: Model) -> None:
    """As kohya's fused_backward_pass does."""
    attached = Finetune(fused_backward=True).attach(model, PARTS)
    trainable = grouped(attached, RATES, AdamW(), model, 1e-5)
    inner: Any = trainable.optimizer
    norms: list[float] = []
    inner._step = lambda weight: norms.append(float(weight.learning.grad.norm()))
    [*loop.train(updates(model, 1), objective(model), trainable.optimizer, lambda step: 1.0)]
    attached.detach()
    assert len(norms) > 100 and max(norms) <= 1.01e-5 and sum(norm > 0.99e-5 for norm in norms) > 20


def test_copies_in_fp32_keep_steps_that_bf16_would_lose(half: Model) -> None:
    """bf16 cannot add a step of 1e-4 to most weights; master copies and stochastic rounding count it, truncation not."""
    before = state(half)
    for adapter in (Finetune(), Finetune(weights="bf16"), Finetune(weights="bf16", fused_backward=True)):
        after = trained(half, adapter)
        assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
        moved = [float((after[name] != before[name]).float().mean()) for name in before if name.endswith("to_k.weight")]
        assert all(0.005 < share < 0.9 for share in moved), moved


def test_a_seed_rounds_alike(half: Model) -> None:
    first, second = (trained(half, Finetune(weights="bf16", fused_backward=True)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_random_rounding_is_right_on_average() -> None:
    torch.manual_seed(0)
    wanted = torch.tensor([1.0, 1.001, -1.0037, 3e-5, 0.0, float("inf"), -7.25])
    target = torch.empty(200_000, 7, dtype=torch.bfloat16)
    round_stochastically(wanted.expand(200_000, 7).contiguous(), target)
    assert torch.allclose(target.double().mean(0)[:5], wanted.double()[:5], rtol=2e-5)
    assert torch.isinf(target[:, 5]).all() and (target[:, 6] == -7.25).all()
    below, above = wanted[1].to(torch.bfloat16), torch.tensor(1.0078125, dtype=torch.bfloat16)
    assert {float(each) for each in target[:, 1].unique()} == {float(below), float(above)}


def test_half_the_strength_is_half_the_way(model: Model) -> None:
    attached = Finetune().attach(model, PARTS)
    base, generator = state(model), torch.Generator().manual_seed(2)
    for parameter in [p for found in attached.parameters().values() for p in found]:
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.01
    tuned, weights = state(model), attached.learned()
    attached.load(weights)
    attached.set_strength({"unet": 0.5, "text_encoder": 0.0})
    halfway = state(model)
    attached.detach()
    near(halfway, {name: (base[name] + tuned[name]) / 2 if name[:4] == "unet" else base[name] for name in base}, 1e-7)


def test_snapshots_of_a_finetune_are_one_unless_asked_for() -> None:
    dataset: Any = "unused"
    usual = Train(dataset=dataset, adapter=Finetune())
    assert usual.snapshots == Interval(1) and Train(dataset=dataset).snapshots == Interval(10)
    assert Train(dataset=dataset, adapter=Finetune(), snapshots=Interval(10)).snapshots == Interval(10)
    assert usual.rate("unet_lr") == pytest.approx(5e-6) and usual.rate("text_encoder_lr") == pytest.approx(2.5e-6)


REFUSED = {
    "accumulation": ({"adapter": Finetune(fused_backward=True), "accumulation": 2}, "none are left to accumulate"),
    "fp16": ({"adapter": Finetune(fused_backward=True), "precision": "fp16"}, "before that can be seen"),
    "precision": ({"adapter": Finetune(weights="bf16"), "precision": "fp32"}, "needs the base in bf16"),
    "prodigy": ({"adapter": Finetune(fused_backward=True), "optimizer": "prodigy"}, "all gradients at once"),
    "averages": ({"adapter": Finetune(), "optimizer": "schedule_free_adamw"}, "an average of its own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_with_its_reason(case: str) -> None:
    knobs, words = copy.copy(REFUSED[case])
    if "optimizer" in knobs:
        knobs = {**knobs, "optimizer": Optimizer.registry.get(str(knobs["optimizer"]))()}
    train = Train(dataset="unused", **knobs)  # type: ignore[arg-type]
    assert any(words in problem.what for problem in train.problems())


STAGE: dict[str, Any] = {"adapter": Finetune(), "steps": Duration(4), "unet_lr": 1e-3, "text_encoder_lr": 1e-3}


def changes(file: Path, model: Model) -> dict[str, Tensor]:
    modules = formats.open(file, model.kohya_names()).modules
    return {" ".join([*place, name]): t for place, m in modules.items() for name, t in m.tensors.items()}


def test_it_begins_where_its_snapshot_ends(dataset: Dataset, bench: tiny.Bench, model: Model) -> None:
    weights = Train(dataset=dataset, **STAGE).run(bench.context("first"))
    (last,) = weights.snapshots
    assert last.step == 4
    still = {**STAGE, "unet_lr": 1e-12, "text_encoder_lr": 1e-12, "steps": Duration(1)}
    again = Train(dataset=dataset, start_from=Source(last.path), **still).run(bench.context("again"))
    before, after = changes(last.path, model), changes(again.snapshots[0].path, model)
    assert max(float(change.abs().max()) for change in before.values()) > 1e-3
    near(after, before, 1e-6)
    with pytest.raises(InputError, match=r"is full in the file|other modules"):
        Train(dataset=dataset, start_from=Source(last.path), steps=Duration(1)).run(bench.context("as a LoRA"))


def test_regularisation_pictures_weigh_in_the_loss(dataset: Dataset, bench: tiny.Bench, model: Model) -> None:
    """DreamBooth: pictures of the class beside the subject's, at a weight of their own; at 0 they teach nothing."""
    found = {}
    for weight in (0.0, 1.0):
        knobs = {**STAGE, "regularisation": dataset, "prior_loss_weight": weight}
        trained = Train(dataset=dataset, **knobs).run(bench.context(f"prior {weight}"))
        found[weight] = changes(trained.snapshots[0].path, model)
    assert any((found[0.0][name] - found[1.0][name]).abs().max() > 1e-4 for name in found[1.0])


@pytest.mark.parametrize("adapter", [LoRA(rank=2), Finetune()])
def test_an_average_is_what_is_saved(adapter: Adapter, dataset: Dataset, bench: tiny.Bench, model: Model) -> None:
    """a ← d · a + (1 − d) · w, d = min(decay, (1 + n) / (10 + n)), of the weights that training without it has."""
    knobs = {**STAGE, "adapter": adapter, "snapshots": Interval(4)}
    plain = Train(dataset=dataset, **knobs).run(bench.context(f"plain {adapter.name}"))
    averaged = Train(dataset=dataset, ema=0.2, **knobs).run(bench.context(f"average {adapter.name}"))
    assert averaged.log.read_bytes() == plain.log.read_bytes(), "training itself is the same"
    start = adapter.attach(model, PARTS)
    initial = {
        " ".join([*place, name]): tensor
        for place, module in start.learned().modules.items()
        for name, tensor in module.tensors.items()
    }
    start.detach()
    average = initial
    for number, (step, saved) in enumerate(zip(plain.snapshots, averaged.snapshots, strict=True), start=1):
        decay = min(0.2, (1 + number) / (10 + number))
        weights = changes(step.path, model)
        average = {name: decay * average[name] + (1 - decay) * weights[name].float() for name in weights}
        error = 1e-6 if isinstance(adapter, LoRA) else 1e-4  # a fine-tune's snapshots are in bf16
        near(changes(saved.path, model), average, error)


def test_the_plan_says_memory_and_disk(tmp_path: Path) -> None:
    """Of a full-size SD1.5: weights in bf16 that are stepped at once take a fraction of copies in fp32."""
    base, needs = published.base("sd15", tmp_path / "base"), {}
    for name, adapter in {"copies": Finetune(), "lean": Finetune(weights="bf16", fused_backward=True)}.items():
        train = Train(dataset="unused", adapter=adapter, precision="bf16", text_encoder_lr=0.0)  # type: ignore[arg-type]
        found = memory(train, base, 512 * 512)
        assert found is not None
        needs[name] = found
    numbers = 859_520_964
    assert needs["copies"].base == needs["lean"].base == 2 * numbers
    assert needs["copies"].adapter == pytest.approx(numbers * (4 + 4 + 8), rel=1e-3)
    assert needs["lean"].adapter == pytest.approx(numbers * 8, rel=0.1)
    (line,) = _disk(train, base, 1000, 100)
    assert "a snapshot of 1.7 GB" in line and "twice 8.6 GB" in line
