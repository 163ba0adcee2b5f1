"""Against LyCORIS itself: the same ΔW, files both ways, the same gradients; against PEFT the gradient of DoRA.

Its `forward` is asked, since `get_diff_weight` multiplies by alpha / rank twice for LoHa and LoKr (4.1.3).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.formats.algorithms.lokr import factorization
from lorapipe.formats.kohya import Kohya
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.layer import AdapterLayer
from lorapipe.training.adapter_layers.lora_knobs import LoraKnobs
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapter_layers.weights_layer import WeightsLayer
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.glora import GLoRA
from lorapipe.training.adapters.ia3 import IA3
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.oft import OFT

modules: Any = pytest.importorskip("lycoris.modules")

NAME, PLACE = "lora_unet_mid_block_attentions_0_proj_in", ("unet", "mid_block.attentions.0.proj_in")
NAMES = {NAME: PLACE}
BASES: dict[str, Callable[[], tuple[torch.nn.Module, torch.Tensor]]] = {
    "linear": lambda: (torch.nn.Linear(48, 32), torch.randn(2, 5, 48)),
    "1x1": lambda: (torch.nn.Conv2d(48, 32, 1), torch.randn(2, 48, 5, 5)),
    "3x3": lambda: (torch.nn.Conv2d(24, 32, 3, padding=1), torch.randn(2, 24, 5, 5)),
}


@dataclass(frozen=True)
class Kind:
    """(LyCORIS' class, its options, our adapter for the same algorithm, None where it is only read)."""

    theirs: str
    options: dict[str, object] = field(default_factory=dict)
    ours: TargetKnobs | None = None
    bases: tuple[str, ...] = ("linear", "1x1", "3x3")
    same_gradient: bool = True


RANK, ALPHA = 4, 2.0
KINDS = {
    "lora": Kind("LoConModule", ours=LoCon(rank=RANK, alpha=ALPHA, conv_rank=RANK, conv_alpha=ALPHA)),
    "lora tucker": Kind("LoConModule", {"use_tucker": True}, bases=("3x3",)),
    "loha": Kind("LohaModule", ours=LoHa(rank=RANK, alpha=ALPHA)),
    "loha of low rank": Kind("LohaModule", {"lora_dim": 2}, ours=LoHa(rank=2, alpha=ALPHA, force_alpha=True)),
    "loha tucker": Kind("LohaModule", {"use_tucker": True}, LoHa(rank=RANK, alpha=ALPHA, tucker=True), ("3x3",)),
    "loha rs": Kind("LohaModule", {"rs_lora": True}, LoHa(rank=RANK, alpha=ALPHA, rs_lora=True)),
    "lokr": Kind("LokrModule", {"factor": 4}, LoKr(rank=2, alpha=ALPHA, factor=4)),
    "lokr even": Kind("LokrModule", {"factor": -1, "lora_dim": 2}, LoKr(rank=2, alpha=1.0, factor=-1)),
    "lokr full": Kind("LokrModule", {"factor": 8, "full_matrix": True}, LoKr(rank=4, factor=8, full_matrix=True)),
    "lokr of two pairs": Kind(
        "LokrModule", {"factor": 8, "lora_dim": 1, "decompose_both": True}, LoKr(rank=1, factor=8, decompose_both=True)
    ),
    "lokr tucker": Kind(
        "LokrModule", {"factor": 4, "lora_dim": 2, "use_tucker": True}, LoKr(rank=2, factor=4, tucker=True), ("3x3",)
    ),
    "oft": Kind("DiagOFTModule", {"lora_dim": 8}, OFT(block_size=8)),
    "oft with a limit": Kind("DiagOFTModule", {"lora_dim": 8, "constraint": 0.01}, OFT(block_size=8, constraint=0.01)),
    "oft rescaled": Kind("DiagOFTModule", {"lora_dim": 8, "rescaled": True}),
    "full": Kind("FullModule", ours=Full()),
    "ia3": Kind("IA3Module", ours=IA3()),
    "ia3 on inputs": Kind("IA3Module", {"train_on_input": True}, IA3(on_input=True)),
    "glora": Kind("GLoRAModule", ours=GLoRA(rank=RANK, alpha=ALPHA)),
    "dora": Kind(
        "LoConModule", {"weight_decompose": True, "wd_on_out": False},
        LoCon(rank=RANK, alpha=ALPHA, conv_rank=RANK, conv_alpha=ALPHA, dora=True), same_gradient=False,
    ),
    "dora of outputs": Kind(
        "LoConModule", {"weight_decompose": True, "wd_on_out": True},
        LoCon(rank=RANK, alpha=ALPHA, conv_rank=RANK, conv_alpha=ALPHA, dora=True, dora_axis="output"),
        same_gradient=False,
    ),
    "dora of loha": Kind(
        "LohaModule", {"weight_decompose": True, "wd_on_out": False}, LoHa(rank=RANK, alpha=ALPHA, dora=True),
        same_gradient=False,
    ),
    "dora of lokr": Kind(
        "LokrModule", {"weight_decompose": True, "wd_on_out": False, "factor": 4, "lora_dim": 2},
        LoKr(rank=2, alpha=ALPHA, factor=4, dora=True), same_gradient=False,
    ),
}  # fmt: skip
CASES = [(kind, base) for kind, each in KINDS.items() for base in each.bases]
TRAINED = [(kind, base) for kind, base in CASES if KINDS[kind].ours]


def options_of(kind: str) -> dict[str, object]:
    options = {"lora_dim": RANK, "alpha": ALPHA, **KINDS[kind].options}
    if isinstance(ours := KINDS[kind].ours, LoKr):
        options |= {"lora_dim": ours.rank, "alpha": ours.alpha}
    return options


def made(kind: str, base: str) -> tuple[torch.nn.Module, torch.Tensor, Any]:
    """Return a base, an input, and LyCORIS' module around a copy of the base, with random tensors."""
    torch.manual_seed(0)
    layer, x = BASES[base]()
    theirs = wrapped(kind, layer.requires_grad_(False), options_of(kind))
    for name, tensor in theirs.named_parameters():
        if name.partition(".")[0] not in ("org_module", "dora_scale"):
            tensor.data += torch.randn(tensor.shape) * 0.3
        elif name == "dora_scale":
            tensor.data *= 1.3
    return layer, x, theirs


def wrapped(kind: str, layer: torch.nn.Module, options: dict[str, object]) -> Any:
    """Wrap a copy of a base in LyCORIS' module."""
    twin = copy.deepcopy(layer)
    theirs = getattr(modules, KINDS[kind].theirs)(NAME, twin, 1.0, **options)
    theirs.apply_to()
    return theirs


def stored(theirs: Any) -> dict[str, torch.Tensor]:
    """Return the tensors that LyCORIS saves."""
    return {f"{NAME}.{key}": tensor.detach().clone() for key, tensor in theirs.state_dict().items() if "org" not in key}


def read(theirs: Any, path: Path) -> ModuleWeights:
    save_file({key: tensor.contiguous() for key, tensor in stored(theirs).items()}, path)
    return formats.open(path, NAMES).modules[PLACE]


def layer_of(kind: str, layer: torch.nn.Module, module: ModuleWeights) -> AdapterLayer:
    """Return our adapter's layer with these weights."""
    ours = KINDS[kind].ours
    assert ours is not None
    made = ours.layer_of(layer, ours.width(all(side == 1 for side in layer.weight.shape[2:])))
    assert made.tensors().keys() == module.tensors.keys()
    with torch.no_grad():
        for name, tensor in made.tensors().items():
            tensor.copy_(module.tensors[name].reshape(tensor.shape))
    return made


def close(found: torch.Tensor, wanted: torch.Tensor, error: float = 1e-5) -> bool:
    return float((found - wanted).norm()) <= error * float(wanted.norm())


@pytest.mark.parametrize(("kind", "base"), CASES, ids=lambda each: each)
def test_a_file_that_lycoris_wrote_is_the_same_update(kind: str, base: str, tmp_path: Path) -> None:
    """Read, in a layer of any tensors, and as a dense difference; at half strength it is half of it."""
    layer, x, theirs = made(kind, base)
    module = read(theirs, tmp_path / "theirs.safetensors")
    with torch.no_grad():
        before, wanted = layer(x), theirs(x) - layer(x)
        ours = WeightsLayer(layer, module)
        assert close(ours(x) - before, wanted)
        ours.strength = 0.5
        assert close(ours(x) - before, wanted / 2)
    tensors = {"diff": module.delta(layer.weight).reshape(layer.weight.shape)}
    if (bias := module.delta_bias()) is not None:
        tensors["diff_b"] = bias
    portable = module.portable().delta(layer.weight)
    assert close(portable.reshape(layer.weight.shape), tensors["diff"])
    dense = WeightsLayer(layer, ModuleWeights("full", tensors, 1.0))
    assert close(dense(x).detach() - before, wanted)


@pytest.mark.parametrize(("kind", "base"), TRAINED, ids=lambda each: each)
def test_a_step_is_lycoris_own(kind: str, base: str, tmp_path: Path) -> None:
    """Outputs and gradients of the layer that is trained, and the file that is written for it."""
    layer, x, theirs = made(kind, base)
    module = read(theirs, tmp_path / "theirs.safetensors")
    ours = layer_of(kind, layer, module)
    found = []
    for way in (ours, theirs):
        mine = x.clone().requires_grad_()
        output = way(mine)
        output.square().sum().backward()
        found.append((output.detach() - layer(x).detach(), mine.grad))
    assert close(found[0][0], found[1][0])
    if KINDS[kind].same_gradient:
        assert close(found[0][1], found[1][1])
        gradients = {name: tensor.grad for name, tensor in theirs.named_parameters() if tensor.grad is not None}
        keys = formats.algorithms.Algorithm.of(module.algorithm).keys
        for name, tensor in ours.trained().items():
            theirs_is = gradients[THEIRS.get(keys[name], keys[name])]
            assert close(tensor.grad.reshape(theirs_is.shape), theirs_is), name


THEIRS = {"diff": "weight", "diff_b": "bias"}


@pytest.mark.parametrize(("kind", "base"), TRAINED, ids=lambda each: each)
def test_lycoris_reads_what_is_written_here(kind: str, base: str, tmp_path: Path) -> None:
    layer, x, theirs = made(kind, base)
    module = read(theirs, tmp_path / "theirs.safetensors")
    wanted = theirs(x).detach()
    saved = Kohya().save(AdapterWeights({PLACE: module}), NAMES)
    assert saved.keys() == stored(theirs).keys() and all(key.startswith(f"{NAME}.") for key in saved)
    fresh = wrapped(kind, layer, options_of(kind))
    assert not close(fresh(x).detach(), wanted)
    fresh.load_state_dict({key.removeprefix(f"{NAME}."): each for key, each in saved.items()}, strict=False)
    assert close(fresh(x).detach(), wanted)


def test_the_first_step_is_the_base_and_the_start_is_drawn_as_theirs() -> None:
    for kind, base in TRAINED:
        layer, x, _ = made(kind, base)
        ours, fresh = KINDS[kind].ours, wrapped(kind, layer, options_of(kind))
        assert ours is not None
        mine = ours.layer_of(layer, ours.width(base != "3x3"))
        mine.reset(torch.Generator().manual_seed(0))
        assert torch.equal(mine(x), layer(x)), kind
        begun = {key: tensor for key, tensor in fresh.state_dict().items() if "org" not in key}
        keys = formats.algorithms.Algorithm.of(mine.algorithm).keys
        for name, tensor in mine.tensors().items():
            theirs_is = begun[keys[name]]
            if theirs_is.shape == tensor.shape and tensor.numel() > 100:
                assert float(tensor.std()) == pytest.approx(float(theirs_is.std()), rel=0.3, abs=1e-6), (kind, name)


@pytest.mark.parametrize("factor", [-1, 2, 4, 7, 8, 16, 100])
def test_sizes_are_factorised_as_theirs(factor: int) -> None:
    functional = pytest.importorskip("lycoris.functional")
    for size in (1, 2, 7, 12, 48, 127, 250, 320, 360, 640, 768, 1024, 1280, 2048, 3072, 10240):
        assert factorization(size, factor) == functional.factorization(size, factor), size


def test_norms_are_theirs(tmp_path: Path) -> None:
    from lorapipe.training.adapter_layers.norm_layer import NormLayer

    for base, x in (
        (torch.nn.GroupNorm(4, 16), torch.randn(2, 16, 5, 5)),
        (torch.nn.LayerNorm(16), torch.randn(2, 16)),
    ):
        torch.manual_seed(0)
        theirs = modules.NormModule(NAME, base, 1.0)
        theirs.org_forward = base.forward
        for tensor in (theirs.w_norm, theirs.b_norm):
            torch.nn.init.normal_(tensor)
        module = read(theirs, tmp_path / "norm.safetensors")
        ours = NormLayer(base)
        with torch.no_grad():
            for name, tensor in ours.tensors().items():
                tensor.copy_(module.tensors[name])
        assert module.algorithm == "norm" and close(ours(x) - base(x), theirs(x) - base(x))


def test_the_gradient_of_a_dora_is_pefts() -> None:
    """PEFT, too, detaches the norm, as in the paper."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    base, x = torch.nn.Sequential(torch.nn.Linear(12, 8, bias=False)), torch.randn(5, 12)
    wrapped = peft.get_peft_model(
        base, peft.LoraConfig(r=4, lora_alpha=2, target_modules=["0"], use_dora=True, init_lora_weights=False)
    )
    theirs = wrapped.base_model.model[0]
    adapter = LoCon(rank=4, alpha=2.0, dora=True, dora_axis="output")
    ours = adapter.layer_of(theirs.base_layer, Width(4, 2.0))
    twins = {
        "down": theirs.lora_A["default"].weight,
        "up": theirs.lora_B["default"].weight,
        "dora_scale": theirs.lora_magnitude_vector["default"].weight,
    }
    with torch.no_grad():
        for name, tensor in ours.tensors().items():
            tensor.copy_(twins[name].reshape(tensor.shape))
    assert close(ours(x), wrapped(x))
    ours(x).square().sum().backward()
    wrapped(x).square().sum().backward()
    for name, tensor in ours.tensors().items():
        assert close(tensor.grad, twins[name].grad.reshape(tensor.shape)), name


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("ours", [LoCon(rank=4, conv_rank=4, dora=True), LoHa(rank=2, dora=True)], ids=["lora", "loha"])
def test_the_short_way_of_a_dora_is_the_long_one(ours: LoraKnobs, base: str) -> None:
    """The path without a matrix of the weight's size equals the one with it: outputs and all gradients."""
    torch.manual_seed(0)
    layer, x = BASES[base]()
    dora = ours.layer_of(layer.requires_grad_(False), ours.width(base != "3x3"))
    dora.reset(torch.Generator().manual_seed(0))
    assert torch.equal(dora(x), layer(x)) and dora.inner.narrow() is not None  # type: ignore[attr-defined, operator]
    found = []
    for way in (dora, lambda x: AdapterLayer.forward(dora, x)):
        torch.manual_seed(1)
        for tensor in dora.tensors().values():
            tensor.data.copy_(torch.randn(tensor.shape) * 0.3)
            tensor.grad = None
        mine = x.clone().requires_grad_()
        output = way(mine)
        output.square().sum().backward()
        found.append([output.detach(), mine.grad, *(tensor.grad for tensor in dora.tensors().values())])
    assert all(close(short, long) for short, long in zip(*found, strict=True))


def test_rotations_as_kohyas_script_and_early_lycoris_wrote_them_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    blocks = torch.randn(4, 8, 8) * 0.2
    kohya = {f"oft_unet_{NAME.removeprefix('lora_unet_')}.oft_blocks": blocks}
    skew = blocks - blocks.transpose(1, 2)
    unit = torch.eye(8)
    turn = (unit + skew) @ torch.linalg.inv(unit - skew)
    early = {f"{NAME}.oft_diag": turn}
    weight, updates = torch.randn(32, 6), []
    for tensors in (kohya, early):
        save_file(tensors, tmp_path / "a.safetensors")
        updates.append(formats.open(tmp_path / "a.safetensors", NAMES).modules[PLACE].delta(weight))
    rows = [turn[block].T @ weight[8 * block : 8 * block + 8] for block in range(4)]
    assert all(close(update, torch.cat(rows) - weight) for update in updates)


def test_tensors_of_another_base_are_refused() -> None:
    layer = torch.nn.Linear(48, 32)
    for kind in ("loha", "lokr", "oft", "full", "ia3", "glora"):
        _, _, theirs = made(kind, "linear")
        module = Kohya().load(stored(theirs), NAMES).modules[PLACE]
        WeightsLayer(layer, module)
        with pytest.raises(InputError, match="of another weight than 40x36"):
            WeightsLayer(torch.nn.Linear(36, 40), module)


def test_knobs_are_told_by_lycoris_names() -> None:
    settings = {"rank": 4, "factor": 4, "dora": True, "dora_axis": "input", "preset": "full", "include": ["attn2"]}
    assert LoKr.network_args(settings) == {
        "factor": "4", "dora_wd": "True", "wd_on_output": "False", "preset": "full", "include_patterns": "attn2"
    }  # fmt: skip
    assert LoraKnobs.network_args({"preset": "auto"}) == {}
