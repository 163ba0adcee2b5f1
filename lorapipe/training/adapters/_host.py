"""Layers of up · down: put in, scaled, read, taken out again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.training.adapters import Attached
from lorapipe.training.adapters._block_widths import Blocks, Width, pointwise
from lorapipe.training.adapters._lora_layer import LoraLayer

if TYPE_CHECKING:
    from lorapipe.models import Model
    from lorapipe.training.adapters._lora_knobs import LoraKnobs


def attach(
    model: Model,
    parts: Sequence[str],
    convolutions: bool,
    width: Callable[[torch.nn.Module], Width],
    spec: LoraKnobs,
    seed: int,
) -> Attached:
    """LoRA on the targets of the parts, `width` wide; up is zero and down kaiming-uniform(a=√5), as kohya's."""
    modules: dict[tuple[str, str], _Site] = {}
    blocks = Blocks.of(spec, model)
    for part in parts:
        root = model.part(part)
        for path in model.targets(part, convolutions):
            block = model.block(path) if part == "unet" else None
            module = root.get_submodule(path)
            size = blocks.width(width(module), block, pointwise(module))
            if size.rank and (rate := blocks.rate(block)):
                modules[part, path] = _Site.make(root, path, size, rate)
    for (part, path), site in modules.items():
        site.put_in(_generator(seed, model.kohya_name(part, path)))
        site.leave_out(spec)
    text = spec.lora_plus if spec.lora_plus_text_encoder is None else spec.lora_plus_text_encoder
    ratios = {part: spec.lora_plus if part == "unet" else text for part in parts}
    return LoraAttached(modules, ratios)


def _generator(seed: int, name: str) -> torch.Generator:
    """Initial values depend on the seed and the module's name, not on which modules came before."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass
class _Site:
    """One module of the base with its LoRA layer around it."""

    parent: torch.nn.Module
    child: str
    base: torch.nn.Module
    layer: LoraLayer
    width: Width
    rate: float

    @classmethod
    def make(cls, root: torch.nn.Module, path: str, size: Width, rate: float) -> _Site:
        parent_path, _, child = path.rpartition(".")
        parent = root.get_submodule(parent_path)
        base = parent.get_submodule(child)
        layer = LoraLayer(base, size.rank, size.alpha / size.rank)
        return cls(parent, child, base, layer, size, rate)

    def put_in(self, generator: torch.Generator) -> None:
        initial = torch.empty(self.down.weight.shape)
        torch.nn.init.kaiming_uniform_(initial, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            self.down.weight.copy_(initial)
            self.up.weight.zero_()
        self.layer.train(self.base.training)
        setattr(self.parent, self.child, self.layer)

    def leave_out(self, dropouts: LoraKnobs) -> None:
        """Dropout between down and up, of ranks, and of the module as a whole."""
        for name in ("dropout", "rank_dropout", "module_dropout"):
            setattr(self.layer, name, getattr(dropouts, name))

    def limit_norm(self, maximum: float) -> None:
        """‖s · up · down‖² = s² tr(upᵀup · down downᵀ), so no matrix larger than rank × rank is made."""
        up, down = self.up.weight.flatten(1), self.down.weight.flatten(1)
        scale = self.width.alpha / self.width.rank
        norm = ((up.T @ up) * (down @ down.T)).sum().clamp(min=1e-24).sqrt() * scale
        shrink = (maximum / norm).clamp(max=1).sqrt()
        self.up.weight.mul_(shrink)
        self.down.weight.mul_(shrink)

    def take_out(self) -> None:
        setattr(self.parent, self.child, self.base)

    @property
    def down(self) -> torch.nn.Module:
        return self.layer.lora_down

    @property
    def up(self) -> torch.nn.Module:
        return self.layer.lora_up


class LoraAttached(Attached):
    """See `Attached`."""

    def __init__(self, sites: Mapping[tuple[str, str], _Site], lora_plus: Mapping[str, float]) -> None:
        """`lora_plus` says for each part how many times faster up learns than down."""
        self._sites = dict(sites)
        self._lora_plus = lora_plus

    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        """See `Attached.parameters`."""
        found: dict[str, list[torch.nn.Parameter]] = {}
        for (part, _), site in self._sites.items():
            found.setdefault(part, []).extend((site.down.weight, site.up.weight))
        return found

    def rate_factors(self) -> dict[int, float]:
        """See `Attached.rate_factors`."""
        sites = self._sites.items()
        downs = {id(site.down.weight): site.rate for _, site in sites}
        return downs | {id(site.up.weight): site.rate * self._lora_plus[part] for (part, _), site in sites}

    def learned(self) -> AdapterWeights:
        """See `Attached.learned`."""

        def module(site: _Site) -> ModuleWeights:
            tensors = {
                "down": site.down.weight.detach().to("cpu", torch.float32, copy=True).contiguous(),
                "up": site.up.weight.detach().to("cpu", torch.float32, copy=True).contiguous(),
            }
            return ModuleWeights("lora", tensors, site.width.alpha)

        return AdapterWeights({key: module(site) for key, site in self._sites.items()})

    def load(self, weights: AdapterWeights) -> None:
        """See `Attached.load`."""
        ours, theirs = self._sites.keys(), weights.modules.keys()
        if ours != theirs:
            odd = sorted(ours ^ theirs)[0]
            raise InputError(f"the weights are of other modules than the adapter: {odd[0]} {odd[1]} is only in one.")
        with torch.no_grad():
            for key, site in self._sites.items():
                module = weights.modules[key]
                # Another alpha than ours is the same update at another scale.
                factor = module.alpha / site.width.alpha
                for mine, name in ((site.down, "down"), (site.up, "up")):
                    tensor = module.tensors[name].reshape(mine.weight.shape)
                    mine.weight.copy_(tensor * factor if name == "up" and factor != 1 else tensor)

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        """See `Attached.set_strength`."""
        for (part, _), site in self._sites.items():
            if part in strengths:
                site.layer.scaling = strengths[part] * site.width.alpha / site.width.rank

    @torch.no_grad()
    def limit_norms(self, maximum: float) -> None:
        """See `Attached.limit_norms`."""
        for site in self._sites.values():
            site.limit_norm(maximum)

    def detach(self) -> None:
        """See `Attached.detach`."""
        for site in self._sites.values():
            site.take_out()
