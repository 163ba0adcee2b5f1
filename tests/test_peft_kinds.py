"""Folders of PEFT's kinds, written by PEFT itself: the same ΔW here; damaged ones are refused with the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lorapipe.formats import open as load

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
