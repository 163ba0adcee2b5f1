"""Contract tests of all registered optimizers."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lorapipe.errors import InputError
from lorapipe.spec import knobs
from lorapipe.training.flat_parameters import flatten
from lorapipe.training.optimizers import Optimizer, averaged_weights
from lorapipe.training.optimizers._signature import arguments_of

NAMES = Optimizer.registry.names()


def problem(
    seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[list[torch.nn.Parameter], torch.Tensor, torch.Tensor]:
    """Low-rank regression like an adapter's: fit up · down ≈ W (6 × 8, rank 2) from up = 0."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(64, 8, generator=generator)
    wanted = inputs @ (torch.randn(6, 2, generator=generator) @ torch.randn(2, 8, generator=generator) / 2).T
    down = torch.nn.Parameter((torch.randn(2, 8, generator=generator) / 8**0.5).to(dtype))
    return [down, torch.nn.Parameter(torch.zeros(6, 2, dtype=dtype))], inputs.to(dtype), wanted.to(dtype)


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
    assert losses[-1] < losses[0] / (1 if Optimizer.registry.get(name)().slow else 5)


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


def first_steps(spec: Optimizer, factors: tuple[float, float]) -> list[float]:
    """Return the size of each part's first step (of up, from 0), with learning rates multiplied by factors."""
    parts = [problem(seed)[0] for seed in (0, 1)]
    rates = {role: spec.usual_rate(role) for role in ("denoiser", "text_encoder")}
    groups = [{"params": part, "lr": rates[name], "name": name} for part, name in zip(parts, rates, strict=True)]
    optimizer = spec.build(groups)
    assert [group["name"] for group in optimizer.param_groups] == [*rates]
    assert [group["lr"] for group in optimizer.param_groups] == [*rates.values()]
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group["lr"] *= factor
    for parameter in [p for part in parts for p in part]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return [float(part[1].detach().abs().sum()) for part in parts]


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_followed(name: str) -> None:
    """A part with rate 0 does not change while the other learns; with one common rate, a factor of 1/4 acts as 1/4."""
    spec = Optimizer.registry.get(name)()
    if not spec.follows_rate:
        pytest.skip("says that it makes its own schedule")
    if spec.one_rate:
        assert first_steps(spec, (0.25, 0.25)) == pytest.approx([way / 4 for way in first_steps(spec, (1, 1))], rel=0.1)
    else:
        unet, text_encoder = first_steps(spec, (1, 0))
        assert unet > 0 and text_encoder == 0


@pytest.mark.parametrize("name", NAMES)
def test_effective_learning_rates_are_figures(name: str) -> None:
    spec = Optimizer.registry.get(name)()
    parts, inputs, wanted = problem()
    optimizer = build(name, parts)
    learn(optimizer, parts, inputs, wanted, 5)
    figures = {key: float(value) for key, value in spec.effective_learning_rates(optimizer).items()}
    assert bool(figures) == spec.adaptive


def test_prodigy_finds_a_rate_by_itself_and_says_so() -> None:
    spec = Optimizer.registry.get("prodigy")()
    parts, inputs, wanted = problem()
    optimizer = build("prodigy", parts)
    assert spec.effective_learning_rates(optimizer)["d"] == spec.d0
    learn(optimizer, parts, inputs, wanted, 300)
    figures = spec.effective_learning_rates(optimizer)
    assert figures["d"] > 1000 * spec.d0
    assert figures["d*lr"] == figures["d"] * optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("name", NAMES)
def test_settling_changes_nothing_of_what_follows(name: str) -> None:
    """Snapshots and previews do not change a training, bit for bit."""
    parts, inputs, wanted = problem()
    unbroken = learn(build(name, parts), parts, inputs, wanted, 20)
    parts, _, _ = problem()
    optimizer = build(name, parts)
    losses = learn(optimizer, parts, inputs, wanted, 10)
    with averaged_weights(optimizer):
        pass
    assert losses + learn(optimizer, parts, inputs, wanted, 10) == unbroken


@pytest.mark.parametrize("name", ["schedule_free_adamw", "prodigy_plus_schedule_free"])
def test_what_is_kept_of_a_schedule_free_training_is_its_average(name: str) -> None:
    parts, inputs, wanted = problem()
    optimizer = build(name, parts)
    learn(optimizer, parts, inputs, wanted, 50)
    on_the_way = [p.detach().clone() for p in parts]
    with averaged_weights(optimizer):
        assert not torch.equal(parts[1], on_the_way[1])
    assert torch.equal(parts[1], on_the_way[1])


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_that_is_passed_is_one_of_the_librarys(name: str) -> None:
    spec = Optimizer.registry.get(name)()
    known = arguments_of(spec.implementation)
    assert {*spec.keywords()} <= known and {"params", "lr"} <= known


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_held_against_the_library(name: str) -> None:
    kind = Optimizer.registry.get(name)
    assert not list(kind().problems())
    (problem,) = kind(arguments={"no_such_thing": 1}).problems()
    assert "no_such_thing" in problem.what and problem.path == ("arguments", "no_such_thing")
    own = next((each.name for each in knobs(kind) if each.name not in ("arguments", "use")), None)
    if own:
        (problem,) = kind(arguments={own: 1}).problems()
        assert "setting of its own" in problem.what
    (problem,) = kind(arguments={"lr": 1}).problems()
    assert "unet_lr" in problem.cure


def test_a_misspelt_argument_gets_its_near_miss_among_knobs_too() -> None:
    (problem,) = Optimizer.registry.get("prodigy")(arguments={"safegard_warmup": True}).problems()
    assert problem.cure == "Did you mean 'safeguard_warmup'?"
    (problem,) = Optimizer.registry.get("prodigy")(arguments={"betas": [0.9, 0.99]}).problems()
    assert "beta1 and beta2" in problem.cure


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"eps": "small"}, "wants a number here, as 1e-08"),
        ({"betas": 0.9}, "wants 3 values here"),
        ({"weight_decouple": 1}, "wants true or false here"),
        ({"max_grad_norm": True}, "wants a number here"),
        ({"maximize": False, "betas": [0.9, 0.9, 0.99]}, ""),
    ],
)
def test_arguments_are_of_the_librarys_kinds(arguments: dict[str, object], words: str) -> None:
    found = list(Optimizer.registry.get("library")(use="adan", arguments=arguments).problems())
    assert [words in problem.what for problem in found] == ([True] if words else [])


def test_what_the_library_itself_refuses_is_no_traceback() -> None:
    parts, _, _ = problem()
    spec = Optimizer.registry.get("library")(use="adan", arguments={"weight_decay": -3})
    with pytest.raises(InputError, match="Adan does not take weight_decay: -3: weight_decay must be non-negative"):
        spec.build([{"params": parts, "lr": 1e-4, "name": "unet"}])


def test_further_arguments_reach_the_library() -> None:
    parts, _, _ = problem()
    spec = Optimizer.registry.get("lion")(arguments={"fixed_decay": True})
    assert spec.build([{"params": parts, "lr": 1e-4, "name": "unet"}]).param_groups[0]["fixed_decay"] is True


def test_the_state_of_8_bit_optimizers_is_in_8_bits() -> None:
    parameter = torch.nn.Parameter(torch.zeros(8192))
    optimizer = build("adamw8bit", [parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert optimizer.state[parameter]["state1"].dtype == torch.uint8


def test_the_library_is_a_closed_list_of_names() -> None:
    kind = Optimizer.registry.get("library")
    (problem,) = kind(use="os.system").problems()
    assert problem.path == ("use",)
    (problem,) = kind(use="ademamx").problems()
    assert "ademamix" in problem.cure
    assert kind(use="prodigy").adaptive and not kind(use="adan").adaptive


def test_a_library_that_is_not_there_is_said_with_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = Optimizer.registry.get("lion8bit")().problems()
    assert "bitsandbytes" in problem.what and "lion" in problem.cure


def storages(value: object) -> dict[int, int]:
    """Return the bytes of every tensor in a nested state, by path."""
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()}
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return {place: size for each in inside for place, size in storages(each).items()}


@pytest.mark.parametrize("name", NAMES)
def test_it_remembers_as_much_as_it_says(name: str) -> None:
    parameter = torch.nn.Parameter(torch.randn(1280, 64, generator=torch.Generator().manual_seed(0)))
    optimizer = build(name, [parameter])
    for _ in range(2):
        parameter.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    found = sum(storages(list(optimizer.state.values())).values()) / (4 * parameter.numel())
    assert found == pytest.approx(Optimizer.registry.get(name).states, rel=0.1, abs=0.05)


# ------------------------------------------------------------------------------------------------ without waiting


class NoWaiting(TorchDispatchMode):
    """Fails where a tensor's value is read in Python, for which a GPU would have to be waited for.

    torch's own optimizers count their steps in a tensor on the CPU, which may be read.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        counts = (state.get("step") for state in optimizer.state.values())
        self._counts = [each.data_ptr() for each in counts if isinstance(each, torch.Tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"):
            assert args[0].data_ptr() in self._counts, func.name()
        return func(*args, **(kwargs or {}))


def on_gpu(spec: Optimizer, parts: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Build the class that is used on a GPU, here."""
    here = copy.copy(spec)
    object.__setattr__(here, "implementation", spec.without_waiting or spec.implementation)
    return here.build([{"params": parts, "lr": 1.0 if spec.adaptive else 1e-2, "name": "unet"}])


@pytest.mark.parametrize("name", [name for name in NAMES if not Optimizer.registry.get(name)().waits])
def test_no_step_waits_for_a_gpu(name: str) -> None:
    """After the first, in which the state is made."""
    parts, inputs, wanted = problem()
    flat, spec = flatten(parts), Optimizer.registry.get(name)()
    optimizer = on_gpu(spec, [flat] if spec.elementwise else parts)
    learn(optimizer, parts, inputs, wanted, 2)
    (inputs @ parts[0].T @ parts[1].T - wanted).square().mean().backward()
    with NoWaiting(optimizer):
        optimizer.step()


KNOBS: list[tuple[str, dict[str, Any]]] = [
    ("prodigy", {}),
    ("prodigy", {"decouple": False, "weight_decay": 0.1, "use_bias_correction": False}),
    ("prodigy", {"safeguard_warmup": True, "growth_rate": 1.02, "d0": 1e-4}),
    ("prodigy", {"beta1": 0.0}),
    ("dadapt_adam", {}),
    ("dadapt_adam", {"decouple": False, "weight_decay": 0.1, "use_bias_correction": True, "growth_rate": 1.1}),
    ("dadapt_lion", {}),
    ("dadapt_lion", {"weight_decay": 0.2, "d0": 1e-4}),
    ("dadapt_sgd", {}),
    ("dadapt_sgd", {"weight_decay": 0.1, "momentum": 0.5, "growth_rate": 1.3}),
    ("adafactor", {}),
    ("adafactor", {"weight_decay": 0.1, "warmup_init": False}),
    ("adafactor", {"scale_parameter": False, "warmup_init": False}),
]


@pytest.mark.parametrize(("name", "knobs"), KNOBS)
def test_steps_without_waiting_are_the_packages_steps(name: str, knobs: dict[str, Any]) -> None:
    """Estimates, weights and state, also after gradients of zero, and where either goes on with the other's state.

    In double precision: dividing by the root of a gradient near zero turns a rounded bit into a thousandth.
    """
    spec, made = Optimizer.registry.get(name)(**knobs), {}
    for which, build in {"package": lambda parts: spec.build([{"params": parts, "lr": 1.0, "name": "unet"}]),
                         "ours": lambda parts: on_gpu(spec, parts)}.items():  # fmt: skip
        parts, inputs, wanted = problem(dtype=torch.float64)
        optimizer = build([flatten(parts)] if spec.elementwise else parts)
        for _ in range(0 if name == "dadapt_sgd" else 2):  # whose package divides by the norm of the first gradient
            optimizer.step()  # without a gradient
        learn(optimizer, parts, inputs, wanted, 40)
        made[which] = optimizer, parts
    (theirs, expected), (ours, found) = made["package"], made["ours"]
    near(ours, theirs, found, expected)
    state = [copy.deepcopy(each.state_dict()) for each in (theirs, ours)]
    ours.load_state_dict(state[0])
    theirs.load_state_dict(state[1])
    for optimizer, parts in ((ours, found), (theirs, expected)):
        learn(optimizer, parts, inputs, wanted, 10)
    near(ours, theirs, found, expected)


def near(
    ours: torch.optim.Optimizer,
    theirs: torch.optim.Optimizer,
    found: list[torch.nn.Parameter],
    expected: list[torch.nn.Parameter],
) -> None:
    one, other = ours.param_groups[0], theirs.param_groups[0]
    assert ("d" in other) == (type(theirs).__name__ != "Adafactor"), "all others estimate a distance"
    if "d" in other:
        assert float(one["d"]) == pytest.approx(float(other["d"]), rel=1e-5)
        assert float(one["d"]) > float(one.get("d0", 1e-6)), "an estimate"
        assert int(one["k"]) == int(other["k"])
    for mine, wished in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, wished, rtol=1e-5, atol=1e-7)


def test_a_first_gradient_of_zero_is_no_step_for_dadapt_sgd() -> None:
    parts, inputs, wanted = problem()
    flat, spec = flatten(parts), Optimizer.registry.get("dadapt_sgd")()
    optimizer, before = on_gpu(spec, [flat]), flat.detach().clone()
    for _ in range(2):
        optimizer.step()
    assert torch.equal(flat, before)
    losses = learn(optimizer, parts, inputs, wanted, 10)
    fresh, _, _ = problem()
    assert learn(on_gpu(spec, [flatten(fresh)]), fresh, inputs, wanted, 10) == losses
