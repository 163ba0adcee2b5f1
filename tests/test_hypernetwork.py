"""Hypernetworks: reading and writing A1111's files, with the results of A1111 and ComfyUI."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from lorapipe import formats
from lorapipe.errors import InputError, Interrupted
from lorapipe.formats import AdapterWeights
from lorapipe.formats.a1111 import A1111
from lorapipe.formats.diffusers import Diffusers
from lorapipe.inspection import inspect
from lorapipe.models import Model
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Destination, Duration
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters.hypernetwork import Hypernetwork
from lorapipe.training.interval import Interval

FUNCTIONS = {
    "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "swish": nn.Hardswish, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "softsign": nn.Softsign, "mish": nn.Mish,
}  # fmt: skip


class Theirs(nn.Module):
    """A1111's `HypernetworkModule`, written from its rules; `multiplier` as in its `forward`."""

    def __init__(self, width: int, told: Mapping[str, Any]) -> None:
        super().__init__()
        structure: Sequence[float] = told["layer_structure"]
        layers: list[nn.Module] = []
        for i, (one, two) in enumerate(pairwise(structure)):
            layers.append(nn.Linear(int(width * one), int(width * two)))
            last = i >= len(structure) - 2
            if told["activation_func"] not in ("linear", None) and not (last and not told["activate_output"]):
                layers.append(FUNCTIONS[told["activation_func"]]())
            if told["is_layer_norm"]:
                layers.append(nn.LayerNorm(int(width * two)))
            if told["use_dropout"] and i < len(structure) - 3:
                layers.append(nn.Dropout(p=0.3))
        self.linear = nn.Sequential(*layers)
        self.multiplier = 1.0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.linear(x) * self.multiplier
        return result


def comfyui(path: Path) -> dict[int, tuple[Theirs, Theirs]]:
    """Read a file like ComfyUI (`nodes_hypernetwork.py`), from its rules: it counts LayerNorms as layers."""
    whole: dict[Any, Any] = torch.load(path, weights_only=True)
    nets = {}
    for width in [key for key in whole if isinstance(key, int)]:
        both = Theirs(width, whole), Theirs(width, whole)
        for net, state in zip(both, whole[width], strict=True):
            names = [key.removesuffix(".weight") for key in state if key.endswith(".weight")]
            layers: list[nn.Module] = []
            for place, name in enumerate(names):
                weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
                is_norm = weight.dim() == 1
                layer: Any = nn.LayerNorm(len(weight)) if is_norm else nn.Linear(*reversed(weight.shape))
                layer.load_state_dict({"weight": weight, "bias": bias})
                layers.append(layer)
                is_last = place == len(names) - 1
                if not is_norm and whole["activation_func"] != "linear" and (not is_last or whole["activate_output"]):
                    layers.append(FUNCTIONS[whole["activation_func"]]())
            net.linear = nn.Sequential(*layers)
        nets[width] = both
    return nets


def applied(model: Model, nets: Mapping[int, tuple[Theirs, Theirs]]) -> list[Any]:
    """Put their networks before every `to_k` and `to_v` of the U-Net whose context has the width."""
    hooks = []
    for path, layer in model.part("unet").named_modules():
        which = {"to_k": 0, "to_v": 1}.get(path.rpartition(".")[2])
        if which is not None and layer.in_features in nets:
            net = nets[layer.in_features][which]
            hooks.append(layer.register_forward_pre_hook(lambda module, given, net=net: (net(given[0]), *given[1:])))
    return hooks


def answer(model: Model) -> Tensor:
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.predict(noise, torch.tensor([5, 500]), model.encode_text(["a red hat", "b"]))


def loaded(path: Path) -> tuple[dict[int, tuple[Theirs, Theirs]], dict[str, Any]]:
    """Read a file like A1111: its networks, by the settings in it."""
    whole: dict[Any, Any] = torch.load(path, weights_only=True)
    nets = {}
    for width, pair in whole.items():
        if isinstance(width, int):
            both = Theirs(width, whole), Theirs(width, whole)
            for net, state in zip(both, pair, strict=True):
                net.load_state_dict(
                    state if all(k.startswith("linear.") for k in state) else {}
                )  # every key has a place
            nets[width] = both
    return nets, {key: value for key, value in whole.items() if isinstance(key, str)}


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "activated": {"activation": "mish", "structure": (1, 2, 2, 1)},
    "normalised": {"activation": "relu", "layer_norm": True, "structure": (1, 1.5, 1)},
    "deep, normalised": {"activation": "mish", "layer_norm": True, "structure": (1, 2, 2, 1)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a1111_and_comfyui_read_what_is_written_as_the_same_change(kind: str, model: Model, tmp_path: Path) -> None:
    base, handle = answer(model), Hypernetwork(**KINDS[kind]).attach(model, ["unet"])
    draw = torch.Generator().manual_seed(2)
    for parameter in handle.parameters()["unet"]:
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    ours = {}
    for strength in (0.0, 0.5, 1.0):
        handle.set_strength({"unet": strength})
        ours[strength] = answer(model)
    learned = handle.learned()
    handle.detach()
    assert torch.equal(ours[0.0], base) and torch.equal(answer(model), base)
    formats.save(learned, model.kohya_names(), tmp_path / "h.pt", A1111())
    nets, told = loaded(tmp_path / "h.pt")
    assert told["use_dropout"] is False and told["is_layer_norm"] == ("normalised" in kind)
    for strength, read in [(strength, read) for strength in (0.5, 1.0) for read in (nets, comfyui(tmp_path / "h.pt"))]:
        for pair in read.values():
            for net in pair:
                net.multiplier = strength
        hooks = applied(model, read)
        theirs = answer(model)
        for hook in hooks:
            hook.remove()
        assert torch.allclose(ours[strength], theirs, atol=1e-5)
        assert not torch.allclose(theirs, base, atol=1e-3)
    again = formats.open(tmp_path / "h.pt", model.kohya_names()).hypernetwork
    assert again is not None and learned.hypernetwork is not None
    assert again.structure == learned.hypernetwork.structure
    wanted = learned.hypernetwork.tensors()
    assert all(torch.equal(tensor, wanted[key]) for key, tensor in again.tensors().items())
    assert not [*formats.complaints(tmp_path / "h.pt")]


def their_file(**changes: Any) -> dict[Any, Any]:
    """A file of A1111 of 2023: dropout counts as a layer, tensors are in ordered mappings."""
    told: dict[Any, Any] = {
        "step": 100, "name": "style", "layer_structure": [1, 2, 2, 1], "activation_func": "relu", "is_layer_norm": True,
        "weight_initialization": "Normal", "use_dropout": True, "sd_checkpoint": "81761151", "sd_checkpoint_name": "x",
        "activate_output": True, "last_layer_dropout": False, "dropout_structure": [0, 0.3, 0, 0], **changes,
    }  # fmt: skip
    torch.manual_seed(3)
    nets = {32: (Theirs(32, told), Theirs(32, told)), 64: (Theirs(64, told), Theirs(64, told))}
    return {**{width: tuple(OrderedDict(net.state_dict()) for net in pair) for width, pair in nets.items()}, **told}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_a1111_does_here_what_it_does_there(zipped: bool, model: Model, tmp_path: Path) -> None:
    torch.save(their_file(), tmp_path / "style.pt", _use_new_zipfile_serialization=zipped)
    weights = formats.open(tmp_path / "style.pt", model.kohya_names())
    handle = WeightsAdapter(weights).attach(model, ["unet"])
    handle.set_strength({"unet": 0.7})
    ours = answer(model)
    handle.detach()
    nets, _ = loaded(tmp_path / "style.pt")
    for pair in nets.values():
        for net in pair:
            net.multiplier = 0.7
    hooks = applied(model, nets)
    theirs = answer(model)
    for hook in hooks:
        hook.remove()
    assert torch.allclose(ours, theirs, atol=1e-5) and not torch.allclose(ours, answer(model), atol=1e-3)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pickled",)


def broken(how: str) -> dict[Any, Any]:
    whole = their_file()
    keys = whole[32][0]
    if how == "half":
        del keys["linear.0.weight"]
    if how == "shape":
        keys["linear.0.weight"] = torch.zeros(64, 31)
    if how == "end":
        whole[32] = (OrderedDict(list(keys.items())[:2]), whole[32][1])
    if how == "NaN":
        keys["linear.0.bias"] = keys["linear.0.bias"] * float("nan")
    if how == "activation":
        whole["activation_func"] = "snake"
    if how == "code":
        whole["name"] = Code()
    return whole


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("half", "32 of keys, linear.0 has no weight"),
        ("shape", "32 of keys, linear.0 is 64x31"),
        ("end", "32 of keys does not end at 32"),
        ("NaN", "hypernetwork.32.0.linear.0.bias"),
        ("activation", "'snake'"),
        ("code", "may be malicious code"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(
    how: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(broken(how), tmp_path / "style.pt")
    with pytest.raises(InputError) as error:
        formats.open(tmp_path / "style.pt", {})
    assert said in str(error.value) and "style.pt" in str(error.value)
    try:
        reported = "; ".join(inspect(tmp_path / "style.pt").report.problems)
    except InputError as error:
        reported = str(error)
    assert said in reported
    assert not (tmp_path / "pickled").exists()


def test_a_file_is_described(tmp_path: Path) -> None:
    torch.save(their_file(), tmp_path / "style.pt")
    found = inspect(tmp_path / "style.pt")
    assert found.is_right
    assert found.report.what == "a hypernetwork for contexts of 32, 64: layers 1, 2, 2, 1, relu, LayerNorm"


def test_contexts_of_another_base_are_refused(model: Model) -> None:
    weights = Hypernetwork().attach(model, ["unet"])
    learned = weights.learned()
    weights.detach()
    assert learned.hypernetwork is not None
    nets = {320: next(iter(learned.hypernetwork.nets.values()))}
    other = AdapterWeights(hypernetwork=type(learned.hypernetwork)(nets))
    with pytest.raises(InputError, match="contexts of 320"):
        WeightsAdapter(other).attach(model, ["unet"])


# ---------------------------------------------------------------------------------------------------------- trainings


def training(dataset: Dataset) -> Train:
    adapter = Hypernetwork(structure=(1, 2, 1), activation="mish", dropout=0.1)
    return Train(dataset=dataset, adapter=adapter, unet_lr=1e-3, steps=Duration(8), snapshots=Interval(2))


@pytest.fixture(scope="module")
def trained(folder: Path, dataset: Dataset) -> Weights:
    return training(dataset).run(tiny.Bench(folder).context("nets"))


def test_a_stopped_training_ends_as_an_unbroken_one(dataset: Dataset, bench: tiny.Bench, trained: Weights) -> None:
    bench.stopping = lambda: len(bench.of(Metric)) >= 4  # told at the first snapshot, however fast steps are
    with pytest.raises(Interrupted):
        training(dataset).run(bench.context("nets-stopped"))
    bench.stopping = lambda: False
    again = training(dataset).run(bench.context("nets-stopped"))
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    for ours, theirs in zip(again.snapshots, trained.snapshots, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()


def test_what_was_trained_is_judged_and_exported(
    folder: Path, trained: Weights, model: Model, bench: tiny.Bench, tmp_path: Path
) -> None:
    report = Evaluate(
        weights=trained, prompts=("penny, red",), strengths=(0.5, 1.0), low_cfg=None, steps=2, snapshots=1, pictures=1
    ).run(bench.context("nets-judged"))
    pictures = sorted((report.page.parent / "pictures").rglob("*.png"))
    assert len({picture.read_bytes() for picture in pictures}) == 2 * 3, "of two prompts the base, and two strengths"
    assert json.loads(report.data.read_text("utf-8"))
    with pytest.raises(InputError, match="a1111"):
        Export(weights=report.best, to=Destination(tmp_path / "a.safetensors")).run(bench.context("nets-kohya"))
    export = Export(weights=report.best, to=Destination(tmp_path / "a.pt"), format=A1111(), dtype="fp32")
    path = export.run(bench.context("nets-exported")).path
    nets, told = loaded(path)
    assert told["activation_func"] == "mish" and nets
    with pytest.raises(InputError, match="hypernetwork"):
        formats.save(formats.open(path, model.kohya_names()), model.kohya_names(), tmp_path / "d", Diffusers())


def test_structures_begin_and_end_at_the_width() -> None:
    assert [problem.path for problem in Hypernetwork(structure=(1, 2)).problems()] == [("structure",)]
