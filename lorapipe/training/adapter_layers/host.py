"""Attaches adapter layers to a model, scales, reads and detaches them; the same for every algorithm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch

from lorapipe.errors import InputError, Problem
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.formats.algorithms import Algorithm, numbers, shape_in_words
from lorapipe.training.adapter_layers.layer import AdapterLayer
from lorapipe.training.adapter_layers.noise_levels import HasNoiseLevels, watch
from lorapipe.training.adapter_layers.norm_layer import NormLayer
from lorapipe.training.adapter_layers.targets import Targets
from lorapipe.training.adapters import Attached

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from lorapipe.models import Model, ModuleRef


@dataclass(frozen=True)
class Options:
    """Settings that all layers of an adapter share.

    `placed(module)` gives the layer of a module and the factor on its learning rate; None leaves the module out. `lora_plus`
    maps a part to the learning-rate factor of its layers' `fast` tensors. `dropouts` maps attributes of `AdapterLayer` to
    values. `norms` trains normalisations too.
    """

    targets: Targets
    norms: bool
    placed: Callable[[ModuleRef], tuple[Callable[[torch.nn.Module], AdapterLayer], float] | None]
    dropouts: Mapping[str, float]
    lora_plus: Mapping[str, float]


def attach(
    model: Model,
    parts: Sequence[str],
    options: Options,
    seed: int,
) -> Attached:
    """Wrap every target module of the parts in a layer. Initial values depend on the seed and the module's name alone."""
    sites = {(site.part, site.path): site for part in parts for site in _sites(model, part, options)}
    for (part, path), site in sites.items():
        site.layer.reset(generator(seed, model.kohya_name(part, path)))
        for name, share in options.dropouts.items():
            setattr(site.layer, name, share)
        site.put_in()
    masked = [
        site.layer for (part, _), site in sites.items() if part == model.denoiser and vars(site.layer).get("noise_rank")
    ]
    hooks = [watch(model, cast("list[HasNoiseLevels]", masked))] if masked else []
    return LayersAttached(sites, options.lora_plus, hooks)


def attach_weights(
    model: Model, weights: AdapterWeights, layer: Callable[[torch.nn.Module, ModuleWeights], AdapterLayer]
) -> Attached:
    """Wrap each module of `weights` in the layer that `layer(base, weights)` makes, and load the weights.

    `InputError`, with the model left as it was, where they do not fit.
    """
    sites = {}
    for (part, path), module in weights.modules.items():
        parent, child, base = _located(model.part(part), path)
        try:
            made = layer(base, module)
        except InputError as error:
            what = [Problem(f"{part} {path}: {each.what}", each.where, each.cure) for each in error.problems]
            raise InputError(what) from None
        sites[part, path] = _Site(part, path, parent, child, base, made, 1.0)
    for site in sites.values():
        site.put_in()
    found = LayersAttached(sites, dict.fromkeys(weights.parts, 1.0))
    try:
        found.load(weights)
    except InputError:
        found.detach()
        raise
    return found


def _located(root: torch.nn.Module, path: str) -> tuple[torch.nn.Module, str, torch.nn.Module]:
    """Return (parent, name in the parent, module) of a dotted path."""
    parent_path, _, child = path.rpartition(".")
    parent = root.get_submodule(parent_path)
    return parent, child, parent.get_submodule(child)


def _sites(model: Model, part: str, options: Options) -> Iterator[_Site]:
    root = model.part(part)
    for ref in options.targets.of(model, part):
        parent, child, base = _located(root, ref.path)
        if found := options.placed(ref):
            layer, rate = found
            yield _Site(part, ref.path, parent, child, base, layer(base), rate)
    for ref in model.outer_modules(part) if options.norms else ():
        if ref.group == "norm":
            parent, child, base = _located(root, ref.path)
            yield _Site(part, ref.path, parent, child, base, NormLayer(base), 1.0)


def generator(seed: int, name: str) -> torch.Generator:
    """Return a generator seeded by (seed, module name), so that initial values do not depend on the other modules."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass
class _Site:
    """One module of the base and the layer that replaces it; `rate` is the factor on its learning rate."""

    part: str
    path: str
    parent: torch.nn.Module
    child: str
    base: torch.nn.Module
    layer: AdapterLayer
    rate: float

    def put_in(self) -> None:
        self.layer.train(self.base.training)
        setattr(self.parent, self.child, self.layer)

    def take_out(self) -> None:
        setattr(self.parent, self.child, self.base)


class LayersAttached(Attached):
    """Handle of adapter layers inside a model."""

    def __init__(
        self,
        sites: Mapping[tuple[str, str], _Site],
        lora_plus: Mapping[str, float],
        hooks: Sequence[RemovableHandle] = (),
    ) -> None:
        self._hooks = hooks
        self._sites = dict(sites)
        self._lora_plus = lora_plus

    @property
    def layers(self) -> dict[tuple[str, str], AdapterLayer]:
        """(part, path) → layer."""
        return {place: site.layer for place, site in self._sites.items()}

    def parameters(self) -> dict[str, list[torch.nn.Parameter]]:
        found: dict[str, list[torch.nn.Parameter]] = {}
        for (part, _), site in self._sites.items():
            found.setdefault(part, []).extend(site.layer.trained().values())
        return found

    def rate_factors(self) -> dict[int, float]:
        return {
            id(tensor): site.rate * (self._lora_plus[part] if name in site.layer.fast else 1)
            for (part, _), site in self._sites.items()
            for name, tensor in site.layer.trained().items()
        }

    def copyable(self, dtype: torch.dtype) -> frozenset[int]:
        layers = (layer for layer in self.layers.values() if layer.may_have_copies(dtype))
        return frozenset(id(tensor) for layer in layers for tensor in layer.trained().values())

    def use_copies(self, copies: Mapping[int, torch.Tensor]) -> None:
        for layer in self.layers.values():
            found = [copies[id(tensor)] for tensor in layer.trained().values() if id(tensor) in copies]
            layer.copies = tuple(found) if len(found) == len(layer.trained()) else ()

    def learned(self) -> AdapterWeights:
        def module(layer: AdapterLayer) -> ModuleWeights:
            tensors = {
                name: tensor.detach().to("cpu", _dtype(tensor), copy=True).contiguous()
                for name, tensor in layer.tensors().items()
            }
            return ModuleWeights(layer.algorithm, tensors, layer.width.alpha)

        return AdapterWeights({place: module(layer) for place, layer in self.layers.items()})

    def load(self, weights: AdapterWeights) -> None:
        ours, theirs = self._sites.keys(), weights.modules.keys()
        if ours != theirs:
            odd = sorted(ours ^ theirs)[0]
            raise InputError(f"the weights are of other modules than the adapter: {odd[0]} {odd[1]} is only in one.")
        with torch.no_grad():
            for place, layer in self.layers.items():
                _load(layer, weights.modules[place], " ".join(place))

    def set_strength(self, strengths: Mapping[str, float]) -> None:
        for (part, _), site in self._sites.items():
            if part in strengths:
                site.layer.strength = strengths[part]

    @torch.no_grad()
    def limit_norms(self, maximum: float) -> None:
        for site in self._sites.values():
            site.layer.shrink((maximum / site.layer.norm()).clamp(max=1))

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()
        for site in self._sites.values():
            site.take_out()


def _dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype of a tensor's copy: float32, or for flags their own."""
    return torch.float32 if tensor.is_floating_point() else tensor.dtype


def _load(layer: AdapterLayer, module: ModuleWeights, name: str) -> None:
    """Load one module's tensors; with another alpha they are rescaled, so that ΔW stays the same."""
    algorithm, ours = Algorithm.of(layer.algorithm), layer.trained()
    given = algorithm.trained(module.tensors)
    if module.algorithm != layer.algorithm or given.keys() != ours.keys():
        what = f"{name} is {module.algorithm} ({', '.join(given)}) in the weights, and {layer.algorithm} here."
        raise InputError(what, cure="Use the adapter that the weights were trained with.")
    for short, tensor in given.items():
        if numbers(tensor) != numbers(ours[short]):
            what = (
                f"{name}: {short} is {shape_in_words(tensor)} in the weights, and {shape_in_words(ours[short])} here."
            )
            raise InputError(what, cure="Use the adapter that the weights were trained with.")
    layer.adopt({short: tensor for short, tensor in module.tensors.items() if short not in given})
    mine, theirs = algorithm.scale(layer.tensors(), layer.width.alpha), module.scale
    if mine == theirs:  # also where alpha is not a scale: OFT's is a limit
        layer.width = replace(layer.width, alpha=module.alpha)
    same = module if mine == theirs else module.scaled(theirs / mine)
    for short, tensor in algorithm.trained(same.tensors).items():
        ours[short].copy_(tensor.reshape(ours[short].shape))
