"""Folders of PEFT's kinds, written by PEFT itself: the same ΔW here; damaged ones are refused with the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorapipe.errors import InputError
from lorapipe.formats import open as load
from lorapipe.training.adapter_layers.weights_layer import WeightsLayer

peft = pytest.importorskip("peft")
NAMES = {f"lora_unet_{path.replace('.', '_')}": ("unet", path) for path in ("a.to_q", "a.to_k", "b.conv1", "b.conv3")}
LINEAR, ALL = ("to_q", "to_k"), ("to_q", "to_k", "conv1", "conv3")


def toy() -> torch.nn.Module:
    """A model with two Linear layers, of other sides each, and convolutions 1×1 and 3×3."""
    torch.manual_seed(0)
    model = torch.nn.Module()
    model.a = torch.nn.Module()
    model.a.to_q, model.a.to_k = torch.nn.Linear(16, 24), torch.nn.Linear(32, 8, bias=False)
    model.b = torch.nn.Module()
    model.b.conv1, model.b.conv3 = torch.nn.Conv2d(16, 24, 1), torch.nn.Conv2d(8, 16, 3, padding=1)
    return model


@dataclass(frozen=True)
class Kind:
    """A kind of adapter of PEFT's with settings that change its ΔW."""

    config: Callable[..., Any]
    settings: dict[str, Any]
    targets: tuple[str, ...] = LINEAR

    def wrapped(self) -> Any:
        """Return the toy with such an adapter, whose parameters are random."""
        model = peft.get_peft_model(toy(), self.config(target_modules=[*self.targets], **self.settings))
        generator = torch.Generator().manual_seed(1)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                near = 1.0 if "ia3_l" in name or "boft_s" in name else 0.0
                parameter.data = near + 0.2 * torch.randn(parameter.shape, generator=generator)
        return model


KINDS = {
    "boft": Kind(peft.BOFTConfig, {"boft_block_size": 4}, ALL),
    "boft by number": Kind(peft.BOFTConfig, {"boft_block_size": 0, "boft_block_num": 8}, ALL),
    "hra": Kind(peft.HRAConfig, {"r": 4}, ALL),
    "hra orthogonal": Kind(peft.HRAConfig, {"r": 3, "apply_GS": True}, ALL),
    "vera": Kind(peft.VeraConfig, {"r": 6, "projection_prng_key": 5}),
    "oft": Kind(peft.OFTConfig, {"oft_block_size": 4, "use_cayley_neumann": False}, ALL),
    "oft neumann": Kind(peft.OFTConfig, {"oft_block_size": 8}, ALL),
    "oft 3 terms": Kind(peft.OFTConfig, {"oft_block_size": 4, "num_cayley_neumann_terms": 3}, LINEAR),
    "oft shared": Kind(peft.OFTConfig, {"oft_block_size": 4, "block_share": True}, LINEAR),
    "oft limited": Kind(peft.OFTConfig, {"oft_block_size": 4, "coft": True, "eps": 0.05}, LINEAR),
    "loha": Kind(peft.LoHaConfig, {"r": 4, "alpha": 2}, ALL),
    "loha tucker": Kind(peft.LoHaConfig, {"r": 3, "alpha": 6, "use_effective_conv2d": True}, ALL),
    "lokr": Kind(peft.LoKrConfig, {"r": 2, "alpha": 3, "decompose_factor": 4}, ALL),
    "lokr full": Kind(peft.LoKrConfig, {"r": 64, "alpha": 16, "rank_pattern": {"to_k": 32}}, ALL),
    "lokr both": Kind(peft.LoKrConfig, {"r": 1, "alpha": 3, "decompose_both": True}, ALL),
    "lokr tucker": Kind(peft.LoKrConfig, {"r": 2, "alpha": 3, "use_effective_conv2d": True}, ALL),
    "ia3": Kind(peft.IA3Config, {"feedforward_modules": ["to_k", "conv1"]}, ALL),
    "fourierft": Kind(peft.FourierFTConfig, {"n_frequency": 50, "scaling": 30, "n_frequency_pattern": {"to_k": 20}}),
    "c3a": Kind(peft.C3AConfig, {"block_size": 8}),
    "miss": Kind(peft.MissConfig, {"r": 5}),
    "miss bat": Kind(peft.MissConfig, {"r": 4, "init_weights": "bat"}),
    "miss mini": Kind(peft.MissConfig, {"r": 4, "init_weights": "mini", "mini_r": 4}),
    "gralora": Kind(peft.GraloraConfig, {"r": 8, "gralora_k": 4, "alpha": 5}),
    "gralora hybrid": Kind(peft.GraloraConfig, {"r": 4, "gralora_k": 2, "alpha": 5, "hybrid_r": 3}),
    "delora": Kind(peft.DeloraConfig, {"r": 4, "delora_lambda": 3, "rank_pattern": {"to_k": 2}}),
    "hira": Kind(peft.HiraConfig, {"r": 4}, ALL),
}


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of the base's modules by their paths; of a merged model, with the update in them."""
    found = {}
    for path, module in model.named_modules():
        base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
        if isinstance(base, (torch.nn.Linear, torch.nn.Conv2d)) and "base_layer" not in path:
            found[path.removeprefix("base_model.model.")] = base.weight.detach().clone()
    return {path: found[path] for _, path in NAMES.values()}


@pytest.mark.parametrize("name", KINDS)
def test_what_peft_wrote_is_the_same_update_here(name: str, tmp_path: Path) -> None:
    """By PEFT's own merged weights."""
    wrapped, before = KINDS[name].wrapped(), weights(toy())
    wrapped.save_pretrained(tmp_path)
    wrapped.merge_adapter()
    after = weights(wrapped)
    ours = load(tmp_path, NAMES).modules
    assert {path.rpartition(".")[2] for _, path in ours} == {*KINDS[name].targets}
    for (_, path), module in ours.items():
        wanted = after[path] - before[path]
        assert wanted.norm() > 1e-3 * before[path].norm()
        assert (module.delta(before[path]).reshape(wanted.shape) - wanted).abs().max() < 1e-5, path


def written(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """Save a kind's folder, and return its tensors."""
    KINDS[name].wrapped().save_pretrained(folder)
    return load_file(folder / "adapter_model.safetensors")


def refused(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **settings: object) -> str:
    """Return why a folder with other tensors or settings is refused, when it is read or put on the toy."""
    if tensors is not None:
        save_file(tensors, folder / "adapter_model.safetensors")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(InputError) as error:
        model = toy()
        for (_, path), module in load(folder, NAMES).modules.items():
            try:
                WeightsLayer(model.get_submodule(path), module)
            except InputError as odd:
                raise InputError(f"{path}: {odd}", cure=odd.problems[0].cure) from None
    assert all(each.cure for each in error.value.problems)
    return str(error.value)


def module_of(key: str) -> str:
    """Return the path of a tensor's module; the first one's of a tensor that all share."""
    return next((path for _, path in NAMES.values() if path in key), "a.to_q")


def is_named(key: str, said: str) -> bool:
    return module_of(key) in said or key in said


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_tensor_is_refused_with_its_module_and_key(name: str, tmp_path: Path) -> None:
    tensors = written(name, tmp_path)
    for key, tensor in tensors.items():
        others = {each: value for each, value in tensors.items() if each != key}
        beside = [each for each in others if module_of(each) == module_of(key)]
        if beside or "model.model" not in key:  # a module with a single tensor would be another, smaller adapter
            assert is_named(key, refused(tmp_path, others))
        longer = [] if key == "base_model.vera_B" else [torch.cat([tensor, tensor])]  # of which the beginning is used
        for damaged in (tensor[None].contiguous(), tensor[:-1].contiguous(), *longer):
            assert is_named(key, refused(tmp_path, {**others, key: damaged})), (key, damaged.shape)
        for damaged in (tensor * float("nan"), tensor * float("inf"), tensor * 0 + 1e30, tensor.to(torch.int8)):
            assert key in refused(tmp_path, {**others, key: damaged}), (key, damaged.dtype)
        assert f"{key}_x" in refused(tmp_path, {**tensors, f"{key}_x": tensor.clone()})


@pytest.mark.parametrize("name", KINDS)
def test_settings_that_nobody_knows_are_refused_by_name(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    assert "mystery" in refused(tmp_path, mystery=3)
    for setting in ("fan_in_fan_out", "modules_to_save"):
        assert setting in refused(tmp_path, mystery=None, **{setting: ["conv_in"]})


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("lokr", {"alpha_pattern": {"(a+)+": 3}}, "too intricate"),
        ("lokr", {"rank_pattern": {".*.*.*.*x": 3}}, "too intricate"),
        ("ia3", {"feedforward_modules": "(to_k|a+)+$"}, "too intricate"),
        ("vera", {"projection_prng_key": -1}, "projection_prng_key"),
        ("vera", {"r": 10**12}, "r: "),
        ("oft neumann", {"num_cayley_neumann_terms": 10**9}, "num_cayley_neumann_terms"),
        ("oft", {"eps": "small"}, "eps"),
        ("fourierft", {"scaling": None}, "scaling"),
        ("hra", {"apply_GS": "yes"}, "apply_GS"),
        ("hra", {"target_modules": ["a.b.c.d.to_q"]}, "has no tensors of a.b.c.d.to_q"),
        ("hra", {"bias": "hra_only"}, "bias"),
        *(("hra", {"peft_type": name}, f"PEFT's {name}, which is not read") for name in ("ROAD", "SHIRA", "XLORA", "")),
    ],
)
def test_settings_that_harm_or_mean_something_else_are_refused(
    kind: str, settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    written(kind, tmp_path)
    assert words in refused(tmp_path, **settings)


def test_a_few_numbers_cannot_ask_for_a_huge_matrix(tmp_path: Path) -> None:
    """Flags are in files of our own, and decide sizes."""
    names = {"lora_unet_a": ("unet", "a")}
    vectors = {"lora_unet_a.vera_lambda_b": torch.ones(24), "lora_unet_a.vera_lambda_d": torch.ones(4)}
    for inputs in (0, -1, 10**15):
        flags = {"lora_unet_a.vera_seed": torch.tensor([0]), "lora_unet_a.vera_inputs": torch.tensor([inputs])}
        save_file({**vectors, **flags}, tmp_path / "a.safetensors")
        (module,) = load(tmp_path / "a.safetensors", names).modules.values()
        with pytest.raises(InputError, match="vera_inputs is"):
            WeightsLayer(toy().a.to_q, module)
    flags = {
        "lora_unet_a.fourierft_seed": torch.tensor([0]),
        "lora_unet_a.fourierft_sides": torch.tensor([10**9, 10**9]),
    }
    save_file({"lora_unet_a.fourierft_spectrum": torch.ones(9), **flags}, tmp_path / "a.safetensors")
    (module,) = load(tmp_path / "a.safetensors", names).modules.values()
    with pytest.raises(InputError, match="numbers"):
        WeightsLayer(toy().a.to_q, module)


def test_code_and_downloads_that_a_folder_names_are_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import socket

    written("hra", tmp_path)
    told = {
        "base_model_name_or_path": "https://example.com/model",
        "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil_module"},
        "revision": "main",
    }
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))

    def forbidden(*arguments: object, **named: object) -> None:
        raise AssertionError(f"{arguments} {named}")

    imported = builtins.__import__

    def watched(name: str, *arguments: Any) -> Any:
        assert name.partition(".")[0] not in ("peft", "evil_module", "transformers", "huggingface_hub"), name
        return imported(name, *arguments)

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(builtins, "__import__", watched)
    assert load(tmp_path, NAMES).modules
