"""The layer of an update: the same numbers as plain torch, and less memory over a half-precision base."""

from __future__ import annotations

import pytest
import torch

from lorapipe.training.adapters._layer import UpDownLayer

BASES = {
    "linear": lambda: (torch.nn.Linear(12, 8), (2, 5, 12)),
    "1x1": lambda: (torch.nn.Conv2d(6, 8, 1), (2, 6, 5, 5)),
    "3x3": lambda: (torch.nn.Conv2d(6, 8, 3, padding=1), (2, 6, 5, 5)),
    "down": lambda: (torch.nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 6, 6)),
}


def made(kind: str, dtype: torch.dtype) -> tuple[UpDownLayer, torch.Tensor]:
    torch.manual_seed(0)
    base, shape = BASES[kind]()
    layer = UpDownLayer(base.requires_grad_(False).to(dtype), 4, 0.5)
    torch.nn.init.normal_(layer.lora_up.weight)  # type: ignore[arg-type]
    return layer, torch.randn(shape, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("kind", BASES)
def test_it_is_the_sum_of_the_base_and_the_update(kind: str) -> None:
    layer, x = made(kind, torch.float32)
    expected = layer.base_layer(x) + layer.lora_up(layer.lora_down(x)) * 0.5
    assert torch.equal(layer(x), expected)
    assert layer.weight is layer.base_layer.weight


@pytest.mark.parametrize("kind", BASES)
def test_dropout_is_of_what_goes_from_down_to_up(kind: str) -> None:
    """As kohya's network_dropout (`networks/lora.py`)."""
    layer, x = made(kind, torch.float32)
    layer.lora_dropout = torch.nn.Dropout(0.5)
    torch.manual_seed(1)
    found = layer(x)
    torch.manual_seed(1)
    expected = layer.base_layer(x) + layer.lora_up(torch.nn.functional.dropout(layer.lora_down(x), 0.5)) * 0.5
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", BASES)
def test_gradients_over_half_precision_are_autograds_own(kind: str) -> None:
    layer, x = made(kind, torch.bfloat16)
    out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    found = [x.grad, layer.lora_down.weight.grad, layer.lora_up.weight.grad]
    assert found[1].dtype == torch.float32  # type: ignore[union-attr]

    twin, y = made(kind, torch.bfloat16)
    down, up = (module.weight.to(torch.bfloat16) for module in (twin.lora_down, twin.lora_up))  # type: ignore[operator]
    if kind == "linear":
        low = torch.nn.functional.linear(y, down)
        high = torch.nn.functional.linear(low, up)
    else:
        base = twin.base_layer
        low = torch.nn.functional.conv2d(y, down, None, base.stride, base.padding)  # type: ignore[arg-type]
        high = torch.nn.functional.conv2d(low, up)
    again = twin.base_layer(y) + high * 0.5
    assert torch.equal(out, again)
    again.float().square().sum().backward()
    expected = [y.grad, twin.lora_down.weight.grad, twin.lora_up.weight.grad]
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine.float(), theirs.float(), rtol=0.02, atol=0.02)  # type: ignore[union-attr]


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
