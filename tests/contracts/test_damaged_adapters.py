"""Contract tests of all adapters that have a ΔW: a damaged file of any kind is refused, and the message names the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Algorithm
from lorapipe.formats.kohya import Kohya
from lorapipe.models import Model
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter

assert Adapter.registry is not None
MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KINDS = {
    name: {}
    for name in Adapter.registry.names()
    if issubclass(Adapter.registry.get(name), TargetKnobs) and name != "peft"
} | {"lora, dora": {"dora": True}}
"""Adapters with files in kohya's keys, and settings; PEFT's folders have tests of their own."""
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, model: Model) -> Tensors:
    """The tensors of a right file with one module."""
    kind = Adapter.registry.get(request.param.partition(",")[0])  # type: ignore[union-attr]
    attached = kind(include=(f"^{MODULE}$",), **KINDS[request.param]).attach(model, [model.denoiser])
    generator = torch.Generator().manual_seed(0)
    for parameter in attached.parameters()[model.denoiser]:
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    weights = attached.learned()
    attached.detach()
    return Kohya().save(weights, model.kohya_names())


def use(tensors: Tensors, model: Model, file: Path) -> None:
    """Read a file and put it into the base, as previews, evaluation and export do."""
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
    weights = formats.open(file, model.kohya_names())
    WeightsAdapter(weights).attach(model, weights.parts).detach()


def refusal(tensors: Tensors, model: Model, file: Path) -> str:
    with pytest.raises(InputError) as error:
        use(tensors, model, file)
    assert all(each.cure for each in error.value.problems)
    return str(error.value)


def optional(name: str) -> bool:
    """Whether a module without this tensor is another right update."""
    algorithms = map(Algorithm.of, Algorithm.registry.names())
    return name == "alpha" or any(each.keys.get(short) == name for each in algorithms for short in each.optional)


def test_every_key_of_it_is_needed_whole_and_of_its_shape(whole: Tensors, model: Model, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    use(whole, model, file)
    for key, tensor in whole.items():
        module, _, name = key.partition(".")
        others = {each: kept for each, kept in whole.items() if each != key}
        if others and not optional(name):
            assert module in refusal(others, model, file), "half a pair"
        if tensor.is_floating_point():
            assert key in refusal({**whole, key: tensor * float("nan")}, model, file)
            assert name == "alpha" or key in refusal({**whole, key: tensor.to(torch.int8)}, model, file)
        if tensor.dim():
            said = refusal({**others, key: torch.cat([tensor, tensor, tensor])}, model, file)
            assert module in said or MODULE in said, "another shape"
        assert f"{key}_more" in refusal({**whole, f"{key}_more": tensor.clone()}, model, file), "an unknown key"
