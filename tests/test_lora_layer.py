"""Adapter layers: the same results as plain torch, and less memory over a half-precision base."""

from __future__ import annotations

import copy
import functools

import pytest
import torch

from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.lora_layer import LoraLayer

BASES = {
    "linear": lambda: (torch.nn.Linear(12, 8), (2, 5, 12)),
    "1x1": lambda: (torch.nn.Conv2d(6, 8, 1), (2, 6, 5, 5)),
    "3x3": lambda: (torch.nn.Conv2d(6, 8, 3, padding=1), (2, 6, 5, 5)),
    "down": lambda: (torch.nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 6, 6)),
}


def made(kind: str, dtype: torch.dtype) -> tuple[LoraLayer, torch.Tensor]:
    torch.manual_seed(0)
    base, shape = BASES[kind]()
    layer = LoraLayer(base.requires_grad_(False).to(dtype), Width(4, 2.0))
    torch.nn.init.normal_(layer.lora_up.weight)  # type: ignore[arg-type]
    return layer, torch.randn(shape, dtype=dtype, requires_grad=True)


def plain(layer: LoraLayer, x: torch.Tensor) -> torch.Tensor:
    """The same by modules of torch, in the precision of x, with the same draws; dropouts where kohya's are."""
    down, up = copy.deepcopy(layer.lora_down).to(x.dtype), copy.deepcopy(layer.lora_up).to(x.dtype)
    layer.twins = [down.weight, up.weight]  # type: ignore[assignment]
    factor, low = layer._factor(x), down(x)
    if layer.dropout:
        low = low * (torch.rand_like(low) >= layer.dropout) / (1 - layer.dropout)
    low = low * (factor.to(x.dtype) if isinstance(factor, torch.Tensor) else factor)
    return layer.base_layer(x) + up(low)  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("knob", ["", "dropout", "rank_dropout", "module_dropout"])
@pytest.mark.parametrize("kind", BASES)
def test_it_is_the_sum_of_the_base_and_the_update_and_so_are_its_gradients(
    kind: str, knob: str, dtype: torch.dtype
) -> None:
    layer, x = made(kind, dtype)
    if knob:
        setattr(layer, knob, 0.4)
    found = []
    for way in (layer, functools.partial(plain, layer)):
        torch.manual_seed(3)
        x.grad = None
        out = way(x)
        assert out.dtype == dtype
        out.float().square().sum().backward()
        assert x.grad is not None
        weights = [layer.lora_down.weight, layer.lora_up.weight] if way is layer else layer.twins
        found.append([out.detach(), x.grad, *(weight.grad for weight in weights)])
    assert all(gradient.dtype == torch.float32 for gradient in found[0][2:])
    error = 0.01 if dtype == torch.bfloat16 else 1e-5
    for ours, theirs in zip(*found, strict=True):
        assert (ours.float() - theirs.float()).norm() <= error * theirs.float().norm()


@pytest.mark.parametrize("base", [torch.nn.Linear(1, 8), torch.nn.Conv2d(1, 8, 1)])
def test_rank_dropout_leaves_out_whole_ranks_and_keeps_the_expected_size(base: torch.nn.Module) -> None:
    """As in kohya's code, kept values are scaled by 1 / (1 − p)."""
    layer = LoraLayer(base.requires_grad_(False), Width(8, 8.0))
    layer.rank_dropout = 0.25
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.zero_()
        layer.lora_down.weight.fill_(1)
        layer.lora_up.weight.copy_(torch.eye(8).view_as(layer.lora_up.weight))
    shape = (4000, 3, 1) if isinstance(base, torch.nn.Linear) else (4000, 1, 2, 2)
    dropped = layer(torch.ones(shape)).detach()
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    of_a_rank = dropped[:, :, 0] if dropped.ndim == 3 else dropped[:, 0].flatten(1)
    assert (of_a_rank == of_a_rank[:, :1]).all(), "a rank is left out of a sample as a whole"


@pytest.mark.parametrize("kind", BASES)
def test_over_half_precision_it_keeps_the_input_once_and_no_copy_of_the_weights(kind: str) -> None:
    layer, x = made(kind, torch.bfloat16)
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x), layer(x)
    for parameter in layer.parameters():
        kept.pop(parameter.data_ptr(), None)
    halves = [tensor for tensor in kept.values() if tensor.dtype == torch.bfloat16]
    assert sum(tensor.data_ptr() == x.data_ptr() for tensor in halves) == 1
    assert len(kept) == len(halves) == 3, "the input, and the output of down of each of two passes"


class PackedLinear(torch.nn.Module):
    """A quantised Linear: int8 with a scale for each row, like bitsandbytes and torchao."""

    def __init__(self, plain: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        scale = plain.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("weight", (plain.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = plain.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.to(x.dtype) * self.scale.to(x.dtype)
        return torch.nn.functional.linear(x, weight, self.bias)


@pytest.mark.parametrize("knob", ["", "dropout", "rank_dropout", "module_dropout"])
def test_over_a_quantised_base_it_learns_what_it_learns_over_the_plain_one(knob: str) -> None:
    """The same LoRA over the float weights that the packed ones stand for: losses and factors after some steps."""
    torch.manual_seed(0)
    packed = PackedLinear(torch.nn.Linear(16, 12)).requires_grad_(False)
    plain = torch.nn.Linear(16, 12).requires_grad_(False)
    plain.weight.copy_(packed.weight * packed.scale)
    plain.bias.copy_(packed.bias)
    x, wanted = torch.randn(8, 16), torch.randn(8, 12)
    found = []
    for base in (packed, plain):
        layer = LoraLayer(base, Width(4, 2.0))
        layer.reset(torch.Generator().manual_seed(1))
        if knob:
            setattr(layer, knob, 0.3)
        optimizer = torch.optim.AdamW(layer.tensors().values(), lr=1e-2)
        torch.manual_seed(2)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = (layer(x) - wanted).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append((losses, layer.delta()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)
    assert found[0][0][-1] < found[0][0][0]


def test_a_module_that_does_more_than_multiply_is_called() -> None:
    class Louder(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    base = Louder(6, 8).requires_grad_(False)
    layer = LoraLayer(base, Width(2, 2.0))
    layer.reset(torch.Generator())
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), base(x))
