"""Contract tests of damaged and hostile files: of every kind, in every format, they are refused by the key's name.

Files that PEFT itself wrote are damaged in `test_peft_kinds.py`, containers (cut short, no file of tensors at all) in
`test_adapter_files.py`, pickles in `test_archives.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, Stored
from lorapipe.formats.algorithms import Algorithm
from lorapipe.inspection import inspect
from lorapipe.models import Model
from lorapipe.spec import knobs
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.embedding import Embedding
from lorapipe.training.peft_methods import Method

assert Adapter.registry is not None and Format.registry is not None and Method.registry is not None
MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
SETTINGS: dict[str, dict[str, Any]] = {
    "embedding": {"trigger": "penny_1", "vectors": 2},
    "hypernetwork": {"structure": (1, 2, 2, 1), "activation": "mish", "layer_norm": True},
}
TINY: dict[str, dict[str, Any]] = {"oft": {"block_size": 4}, "miss": {"rank": 4}}
"""Methods of PEFT's whose usual size is too large for a tiny base."""
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, SETTINGS.get(name, {})) for name in Adapter.registry.names() if name != "peft"},
    **{f"{name}, dora": (name, {"dora": True}) for name in Adapter.registry.names()
       if "dora" in {knob.name for knob in knobs(Adapter.registry.get(name))}},
    **{f"peft {name}": ("peft", {"method": Method.registry.get(name)(**TINY.get(name, {}))})
       for name in Method.registry.names()},
    "lora, norms": ("lora", {"norms": True}),
    "lora, word": ("lora", {}),
}  # fmt: skip
"""Every registered adapter, every method of PEFT's, and what a file may hold besides."""
ANY_LENGTH = {"boft_R", "fourierft_spectrum", "miss_block", "vera_lambda_d"}
"""Tensors without which nothing else says the size, rank or number of factors: three times as long they are right."""
ANY_AXIS = {"weight", "ia3_l"}
"""A factor for each output or input: an axis more is as good."""
Tensors = dict[str, torch.Tensor]


def learnt(kind: str, model: Model) -> AdapterWeights:
    """Return random weights of a kind, of one module where it has modules."""
    name, settings = KINDS[kind]
    made = Adapter.registry.get(name)  # type: ignore[union-attr]
    chosen = {"include": (f"^{MODULE}$",)} if "include" in {knob.name for knob in knobs(made)} else {}
    attached = made(**{**chosen, **settings}).attach(model, [model.denoiser])
    stir(attached)
    weights: AdapterWeights = attached.learned()
    attached.detach()
    if "word" in kind:
        beside = Embedding(trigger="penny_1", vectors=2).attach(model, [])
        weights = replace(weights, embeddings=beside.learned().embeddings)
        beside.detach()
    return weights


def stir(attached: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in [each for of_part in attached.parameters().values() for each in of_part]:
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    attached.refresh()


@dataclass(frozen=True)
class Form:
    """A right file's tensors by its keys, and a function that writes such a file with other tensors."""

    format: Format
    tensors: Tensors
    write: Callable[[Tensors, Path], Path]

    def suffix(self, key: str) -> str:
        """Return kohya's suffix of a module's tensor; empty for one of no module."""
        return (self.format.split(key) or ("", ""))[1]


def forms(weights: AdapterWeights, model: Model) -> Iterator[Form]:
    """Yield the files of some weights: in each format that has a place for them, and in PyTorch's files."""
    assert Format.registry is not None
    for form in map(Format.registry.get, Format.registry.names()):
        try:
            files = form().files(weights, model.kohya_names())
        except InputError:
            continue
        ((name, stored),) = files.items()
        if form.ending == ".pt":
            yield Form(form(), dict(stored.tensors), of_a1111(stored))
            continue
        yield Form(form(), dict(stored.tensors), safetensors(name, stored))
        if name == "":
            yield Form(form(), dict(stored.tensors), torch_file(stored))


def safetensors(name: str, stored: Stored) -> Callable[[Tensors, Path], Path]:
    def write(tensors: Tensors, folder: Path) -> Path:
        path = folder / (name or "a.safetensors")
        save_file({key: each.clone().contiguous() for key, each in tensors.items()}, path, dict(stored.metadata))
        for other, text in stored.texts.items():
            path.with_name(other).write_text(text, encoding="utf-8")
        return folder if name else path

    return write


def torch_file(stored: Stored) -> Callable[[Tensors, Path], Path]:
    def write(tensors: Tensors, folder: Path) -> Path:
        torch.save(tensors, folder / "a.bin")
        return folder / "a.bin"

    return write


def of_a1111(stored: Stored) -> Callable[[Tensors, Path], Path]:
    """Write A1111's nested files: an embedding's vectors, or two mappings for each width of a hypernetwork."""
    import io

    from lorapipe.formats.a1111 import A1111

    whole = torch.load(io.BytesIO(A1111().encode(stored)), weights_only=True)
    settings = {key: value for key, value in whole.items() if isinstance(key, str)}

    def write(tensors: Tensors, folder: Path) -> Path:
        content: dict[Any, Any] = {**settings}
        if "string_to_param" in content:
            content["string_to_param"] = tensors
        else:
            for key, tensor in tensors.items():
                _, width, which, rest = key.split(".", 3)
                content.setdefault(int(width), ({}, {}))[int(which)][rest] = tensor
        torch.save(content, folder / "a.pt")
        return folder / "a.pt"

    return write


def use(path: Path, model: Model) -> None:
    """Read a file, put it into the base and compute ΔW, as previews, evaluation and export do."""
    weights = formats.open(path, model.kohya_names())
    WeightsAdapter(weights).attach(model, weights.parts).detach()
    for (part, layer), module in weights.modules.items():
        weight = model.part(part).get_submodule(layer).weight.detach().cpu()
        assert module.delta(weight).numel() == weight.numel()


def refusal(form: Form, tensors: Tensors, model: Model, folder: Path) -> str:
    path = form.write(tensors, folder)
    with pytest.raises(InputError) as error:
        use(path, model)
    assert all(each.cure for each in error.value.problems)
    said = str(error.value)
    assert str(path) in said or MODULE in said or "embedding" in said or "hypernetwork" in said
    return said


def is_named(form: Form, key: str, said: str) -> bool:
    """Whether a message names a tensor, its module, or the network of a hypernetwork."""
    module = (form.format.split(key) or (key, ""))[0].lstrip("/")
    net = re.match(r"hypernetwork\.(\d+)\.([01])\.", key)
    if net:
        return f"hypernetwork {net[1]} of {('keys', 'values')[int(net[2])]}" in said
    word = key.startswith("bundle_emb") and "penny_1" in said
    return key in said or module in said or MODULE in said or word


def optional(suffix: str) -> bool:
    """Whether a module without this tensor is another right update."""
    algorithms = map(Algorithm.of, Algorithm.registry.names())
    return suffix == "alpha" or any(each.keys.get(short) == suffix for each in algorithms for short in each.optional)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.one_in(2)
def test_every_key_of_a_file_is_needed_whole_and_of_its_shape(kind: str, model: Model, tmp_path: Path) -> None:
    found = [*forms(learnt(kind, model), model)]
    assert found
    for number, form in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        use(form.write(form.tensors, folder), model)
        for key, tensor in form.tensors.items():
            damaged(form, key, tensor, model, folder)


def damaged(form: Form, key: str, tensor: torch.Tensor, model: Model, folder: Path) -> None:
    suffix, others = form.suffix(key), {each: kept for each, kept in form.tensors.items() if each != key}
    is_word = not suffix and "hypernetwork" not in key
    beside = any(form.suffix(each) for each in others) if suffix else not is_word
    if beside and not optional(suffix):
        assert is_named(form, key, refusal(form, others, model, folder)), ("half a pair", form.format.name, key)
    if tensor.is_floating_point():
        for number in (float("nan"), float("inf"), 1e30):
            assert key in refusal(form, {**others, key: torch.full_like(tensor, number)}, model, folder)
        if suffix != "alpha":
            assert key in refusal(form, {**others, key: tensor.to(torch.int8)}, model, folder)
    if tensor.dim():
        for shape in wrong_shapes(tensor, key, is_word):
            said = refusal(form, {**others, key: shape.clone()}, model, folder)
            assert is_named(form, key, said), ("another shape", form.format.name, key, said)
    if not tensor.is_floating_point():
        for number in (-1, 2**62):  # right or refused, never a traceback
            path = form.write({**others, key: torch.full_like(tensor, number)}, folder)
            with contextlib.suppress(InputError):
                use(path, model)
    assert f"{key}_more" in refusal(form, {**form.tensors, f"{key}_more": tensor.clone()}, model, folder)


def wrong_shapes(tensor: torch.Tensor, key: str, is_word: bool) -> Iterator[torch.Tensor]:
    name = key.rpartition(".")[2]
    if name not in ANY_AXIS or tensor.dim() != 1:
        yield tensor[None]
    if not is_word and name not in ANY_LENGTH:  # a word may have any number of vectors
        yield torch.cat([tensor, tensor, tensor])


class Code:
    """A pickle that runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pickled",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_named_and_never_run(
    kind: str, zipped: bool, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    form = next(forms(learnt(kind, model), model))
    for ending in ("pt", "bin", "pth", "ckpt"):
        for content in ({**form.tensors, "run": Code()}, {"name": Code(), "string_to_param": {**form.tensors}}):
            path = tmp_path / f"a.{ending}"
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            for read in (lambda path=path: formats.open(path, model.kohya_names()), lambda path=path: inspect(path)):
                with pytest.raises(InputError, match="malicious code") as error:
                    read()
                assert path.name in str(error.value) and "system" in str(error.value)
            assert any("malicious code" in each.what for each in formats.complaints(path))
    assert not (tmp_path / "pickled").exists()
