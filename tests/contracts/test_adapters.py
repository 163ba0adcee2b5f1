"""Contract tests of all registered adapters."""

from __future__ import annotations

import copy
import dataclasses
import re
from contextlib import nullcontext
from pathlib import Path

import families
import pytest
import tiny
import torch

from lorapipe.formats.algorithms import Algorithm
from lorapipe.models import Family, Model, TextReading
from lorapipe.spec import knobs
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter, Attached
from lorapipe.training.graph_obstacles import Obstacles
from lorapipe.training.peft_methods import Method

REGISTRY = Adapter.registry
assert REGISTRY is not None and Family.registry is not None
families.register()
FAMILIES = Family.registry


assert Method.registry is not None
METHODS = Method.registry
TINY = {"miss": {"rank": 4}, "oft": {"block_size": 4}}
"""Methods of PEFT's whose usual size is too large for tiny bases → settings."""
READ_IN_PYTHON = ("peft fourierft", "peft ia3", "peft miss", "peft vera")
"""Methods of PEFT's with a setting in a tensor, which Python reads in each pass."""
NAMES = [
    *(name for name in REGISTRY.names() if name != "peft"),
    *(f"peft {name}" for name in METHODS.names()),
    "trilora",
]
"""All adapters, with each method of PEFT's; trilora is a file of another package."""


def kind_of(name: str) -> type[Adapter]:
    return REGISTRY.get(name.partition(" ")[0])


OF_LAYERS = [name for name in NAMES if name == "trilora" or issubclass(kind_of(name), TargetKnobs)]
"""Adapters that update modules by a ΔW."""


def made(name: str) -> Adapter:
    """Make an adapter with its defaults; an embedding gets a word of `answer`'s captions as its trigger."""
    kind, method = kind_of(name), name.partition(" ")[2]
    if method:
        return kind(method=METHODS.get(method)(**TINY.get(method, {})))
    learns_word = any(field.name == "trigger" for field in dataclasses.fields(kind))
    return kind(trigger="hat", vectors=1, replace=True) if learns_word else kind()


@pytest.fixture(params=NAMES)
def adapter(request: pytest.FixtureRequest, plugins: None) -> Adapter:
    return made(request.param)


@pytest.fixture(params=OF_LAYERS)
def layered(request: pytest.FixtureRequest, plugins: None) -> Adapter:
    return made(request.param)


@pytest.fixture(scope="module", params=["sd15", families.NAME])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a U-Net with ε-prediction, and a transformer with flow matching."""
    return FAMILIES.get(request.param).tiny(tmp_path_factory.mktemp(request.param)).load(tiny.DEVICE)


def parts_of(model: Model) -> tuple[str, str]:
    """Return the denoiser, and a trainable text encoder."""
    return model.denoiser, next(part for part in model.trainable if part != model.denoiser)


def noise(model: Model, seed: int = 1) -> torch.Tensor:
    drawn = torch.randn(2, *model.latent_shape((128, 128)), generator=torch.Generator().manual_seed(seed))
    return drawn.to(model.device)


def timesteps(model: Model, *steps: int) -> torch.Tensor:
    return torch.tensor(steps, device=model.device)


def answer(model: Model) -> torch.Tensor:
    with torch.no_grad():
        return model.predict(noise(model), timesteps(model, 5, 500), model.encode_text(["a red hat", "b"]))


def stir(attached: object) -> None:
    generator = torch.Generator().manual_seed(2)
    for parameters in attached.parameters().values():  # type: ignore[attr-defined]
        for parameter in parameters:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def test_it_begins_as_nothing_and_leaves_no_trace(model: Model, adapter: Adapter) -> None:
    before, modules = answer(model), [id(m) for part in parts_of(model) for m in model.part(part).modules()]
    attached = adapter.attach(model, parts_of(model))
    assert torch.equal(answer(model), before)
    stir(attached)
    assert (answer(model) - before).abs().max() > 0.001
    attached.detach()
    assert torch.equal(answer(model), before)
    assert [id(m) for part in parts_of(model) for m in model.part(part).modules()] == modules
    assert not any(p.requires_grad for part in parts_of(model) for p in model.part(part).parameters())


def test_only_it_learns_in_float32(model: Model, adapter: Adapter) -> None:
    attached = adapter.attach(model, parts_of(model))
    ours = {id(p) for parameters in attached.parameters().values() for p in parameters if p.requires_grad}
    learning = {id(p) for part in parts_of(model) for p in model.part(part).parameters() if p.requires_grad}
    assert ours and learning <= ours
    assert {p.dtype for parameters in attached.parameters().values() for p in parameters} == {torch.float32}
    attached.detach()


def test_what_it_extracts_is_what_it_does(model: Model, layered: Adapter) -> None:
    """ΔW of the extracted weights, added to the base's weights, gives the adapter's outputs."""
    attached = layered.attach(model, parts_of(model))
    stir(attached)
    wanted, weights = answer(model), attached.learned()
    attached.detach()
    layers = {place: model.part(place[0]).get_submodule(place[1]) for place in weights.modules}
    kept = {place: copy.deepcopy(layer.state_dict()) for place, layer in layers.items()}
    for place, layer in layers.items():
        module = weights.modules[place]
        layer.weight.data += module.delta(layer.weight.data.cpu()).reshape(layer.weight.shape).to(model.device)
        if (bias := module.delta_bias(None if layer.bias is None else layer.bias.cpu())) is not None:
            layer.bias.data += bias.to(model.device)
    merged = answer(model)
    for place, layer in layers.items():
        layer.load_state_dict(kept[place])
    assert (merged - wanted).abs().max() < 1e-5


def test_it_loads_what_it_extracted(model: Model, adapter: Adapter) -> None:
    attached = adapter.attach(model, parts_of(model))
    stir(attached)
    wanted, weights = answer(model), attached.learned()
    attached.detach()
    again = adapter.attach(model, parts_of(model), seed=7)
    again.load(weights)
    if adapter.in_place:  # what it has learnt is a difference of float32 numbers
        assert (answer(model) - wanted).abs().max() < 1e-4
    else:
        assert torch.equal(answer(model), wanted)
    again.detach()


def test_strength_scales_each_part(model: Model, layered: Adapter) -> None:
    base, (denoiser, text_encoder) = answer(model), parts_of(model)
    attached = layered.attach(model, parts_of(model))
    stir(attached)
    full = answer(model)
    attached.set_strength({denoiser: 0.0, text_encoder: 0.0})
    assert torch.equal(answer(model), base)
    attached.set_strength({denoiser: 1.0})
    half = answer(model)
    assert not torch.allclose(half, base) and not torch.allclose(half, full)
    attached.set_strength({text_encoder: 1.0})
    assert torch.equal(answer(model), full)
    attached.detach()


def test_a_seed_is_a_beginning(model: Model, layered: Adapter) -> None:
    def initial(parts: tuple[str, ...], seed: int) -> dict[tuple[str, ...], torch.Tensor]:
        attached = layered.attach(model, parts, seed)
        weights = attached.learned()
        attached.detach()
        return {
            (*place, name): tensor
            for place, module in weights.modules.items()
            for name, tensor in Algorithm.of(module.algorithm).trained(module.tensors).items()
        }

    parts = parts_of(model)
    both, alone, other = initial(parts, 0), initial(parts[1:], 0), initial(parts, 1)
    assert all(torch.equal(alone[place], both[place]) for place in alone), "whatever else is trained"
    drawn = [place for place in both if len(both[place].unique()) > 1]  # an OFT and a dense difference begin as nothing
    assert not any(torch.equal(other[place], both[place]) for place in drawn)


def test_named_modules_have_another_rank_or_kind_and_are_read_back(layered: Adapter, model: Model) -> None:
    part = model.denoiser
    usual = layered.attach(model, [part])
    paths = [path for _, path in usual.learned().modules]
    before = usual.learned().modules
    usual.detach()
    (first, *_), (*_, last) = ([path for path in paths if "attn" in path],) * 2
    other = "lokr" if layered.name != "lokr" else "lora"
    named = {f"^{re.escape(first)}$": other, f"^{re.escape(last)}$": "loha"}
    own = next(path for path in paths if path not in (first, last))
    adapter = dataclasses.replace(layered, module_kinds=named, module_ranks={f"^{re.escape(own)}$": 0})
    assert not [*adapter.problems()]
    attached = adapter.attach(model, [part])
    stir(attached)
    wanted, learned = answer(model), attached.learned()
    attached.detach()
    assert (wanted - answer(model)).abs().max() > 1e-3
    algorithms = {path: module.algorithm for (_, path), module in learned.modules.items()}
    assert algorithms[first] == other and algorithms[last] == "loha" and own not in algorithms
    left = {path: module.algorithm for (_, path), module in before.items() if path not in (first, last, own)}
    assert left.items() <= algorithms.items()
    again = WeightsAdapter(learned).attach(model, [part])
    assert torch.allclose(answer(model), wanted, atol=1e-5)
    again.detach()


@pytest.mark.parametrize("name", ["lora", "locon", "loha", "lokr", "oft", "glora"])
def test_a_rank_by_name_is_the_modules_rank(name: str, model: Model) -> None:
    adapter = dataclasses.replace(made(name), module_ranks={"attn": 2})
    attached = adapter.attach(model, [model.denoiser])
    ranks = {path: module.rank for (_, path), module in attached.learned().modules.items()}
    attached.detach()
    of_attention = {rank for path, rank in ranks.items() if "attn" in path}
    assert of_attention <= {1, 2} and any(rank != 2 for path, rank in ranks.items() if "attn" not in path)


def test_patterns_and_kinds_that_there_are_not_are_mistakes(tmp_path: Path) -> None:
    lora = made("lora")
    for knobs_given, words in (
        ({"module_kinds": {"attn": "lokrr"}}, "no adapter 'lokrr'"),
        ({"module_kinds": {"attn": "embedding"}}, "no adapter 'embedding'"),
        ({"module_ranks": {"attn(": 4}}, "no regular expression"),
    ):
        assert [each for each in dataclasses.replace(lora, **knobs_given).problems() if words in each.what]
    base = FAMILIES.get("sd15").tiny(tmp_path)
    odd = dataclasses.replace(lora, module_ranks={"attn3": 4})
    assert [each for each in odd.objections(base) if "no module of this base has 'attn3'" in each.what]


@pytest.mark.parametrize("name", ["lora", "locon"])
def test_high_noise_trains_the_first_ranks_alone(name: str, model: Model) -> None:
    """T-LoRA: ⌊(1 − share) · (r − m)⌋ + m ranks of each sample get a gradient; samples are painted with all of them."""
    plain, masked = made(name), dataclasses.replace(made(name), rank=8, noise_rank=2)
    plain = dataclasses.replace(plain, rank=8)
    condition = {key: each.detach() for key, each in model.encode_text(["a red hat", "b"]).items()}
    found = plain.attach(model, [model.denoiser])
    stir(found)
    wanted, weights = answer(model), found.learned()
    found.detach()
    attached = masked.attach(model, [model.denoiser])
    attached.load(weights)
    assert torch.equal(answer(model), wanted)
    for steps, ranks in (([1000, 1000], 2), ([750, 1000], 3), ([500, 500], 5), ([0, 0], 8)):
        t = timesteps(model, *(min(step, 999) if model.diffusion.prediction != "flow" else step for step in steps))
        model.predict(noise(model), t, condition).square().sum().backward()
        downs = [each for each in attached.parameters()[model.denoiser] if each.shape[0] == 8 and each.grad is not None]
        used = {int((each.grad.flatten(1).abs().sum(1) > 0).sum()) for each in downs}
        assert used - {0} == {ranks}, (steps, used)  # 0: modules on which the output does not depend
        for each in attached.parameters()[model.denoiser]:
            each.grad = None
    assert not torch.equal(model.predict(noise(model), timesteps(model, 999, 999), condition).detach(), wanted)
    attached.detach()
    root = model.part(model.denoiser)
    assert not root._forward_pre_hooks


def norms(attached: Attached, model: Model) -> dict[tuple[str, str], float]:
    """Return the norm of each module's full ΔW."""
    modules = attached.learned().modules
    weights = {place: model.part(place[0]).get_submodule(place[1]).weight.cpu() for place in modules}
    return {place: float(module.delta(weights[place]).norm()) for place, module in modules.items()}


def test_norms_are_limited_and_the_others_left_alone(model: Model, layered: Adapter) -> None:
    attached = layered.attach(model, parts_of(model))
    stir(attached)
    before = norms(attached, model)
    limit = sorted(before.values())[len(before) // 2]
    attached.limit_norms(limit)
    after = norms(attached, model)
    attached.detach()
    for key, norm in before.items():
        assert after[key] == pytest.approx(min(norm, limit), rel=1e-4)


def test_a_pass_is_the_same_operations_each_time(
    model: Model, adapter: Adapter, request: pytest.FixtureRequest
) -> None:
    """A CUDA graph can repeat it, with all dropouts; methods of PEFT's with a flag that is read each time go without."""
    dropouts = {"dropout", "rank_dropout", "module_dropout"} & {each.name for each in knobs(type(adapter))}
    attached = dataclasses.replace(adapter, **dict.fromkeys(dropouts, 0.3)).attach(model, parts_of(model))
    assert attached.parameters()  # a fine-tune begins here
    tokens, noisy, t = model.tokenize(["a red hat", "hat"], TextReading()), noise(model), timesteps(model, 5, 500)
    watch = Obstacles(model.device)
    for place in range(2):
        with watch if place else nullcontext():
            condition = model.encode_tokens(tokens, TextReading())
            model.predict(noisy, t, condition).square().sum().backward()
    attached.detach()
    assert watch.is_random == bool(dropouts)
    name = request.node.callspec.params["adapter"]
    assert bool(watch.reasons) == (name in READ_IN_PYTHON), watch.reasons


@pytest.mark.one_in(2)
@pytest.mark.parametrize("knob", ["dropout", "rank_dropout", "module_dropout"])
def test_dropouts_act_in_training_alone(model: Model, adapter: Adapter, knob: str) -> None:
    """Sampling has no dropout; dropout masks differ between steps, and change the mean output little."""
    if knob not in {each.name for each in knobs(type(adapter))}:
        pytest.skip("has no such knob")
    whole = adapter.attach(model, parts_of(model))
    stir(whole)
    expected, weights = answer(model), whole.learned()
    whole.detach()
    attached = dataclasses.replace(adapter, **{knob: 0.3}).attach(model, parts_of(model))
    attached.load(weights)
    assert torch.equal(answer(model), expected)
    condition = {name: each.detach() for name, each in model.encode_text(["a red hat", "b"]).items()}
    drawn = [model.predict(noise(model), timesteps(model, 5, 500), condition).detach() for _ in range(2)]
    attached.detach()
    assert not torch.equal(*drawn)
