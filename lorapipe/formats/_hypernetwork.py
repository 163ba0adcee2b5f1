"""Hypernetworks (A1111's): small networks through which attention's keys and values see their context.

For each width of contexts there are two, of the keys and of the values: net(x) = x + f(x), where f is a sequence of Linear,
an activation but after the last, and LayerNorm if it has some (`hypernetwork.py` of stable-diffusion-webui).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, Problem
from lorapipe.formats.algorithms import shape_in_words

if TYPE_CHECKING:
    from torch import Tensor

ACTIVATIONS = ("linear", "relu", "leakyrelu", "elu", "tanh", "sigmoid", "softsign", "mish", "swish")
"""The activations that A1111, Forge and ComfyUI all know; their `swish` is torch's Hardswish."""
KEY = re.compile(r"hypernetwork\.(\d+)\.([01])\.linear(?:\.(\d+)|([12]))\.(weight|bias)")
"""Width, 0 of keys or 1 of values, place in the sequence (of files of 2022: 1 or 2), what it is."""
SETTINGS = "hypernetwork"
"""The entry of a file's metadata that has the settings."""
Layers = tuple[tuple["Tensor", "Tensor | None"], ...]
"""Weight and bias of each layer in order: Linear where the weight has two sides, else LayerNorm."""


@dataclass(frozen=True)
class Hypernetwork:
    """Context width → the layers of its network of keys, and of values."""

    nets: Mapping[int, tuple[Layers, Layers]]
    activation: str = "linear"
    activate_output: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def structure(self) -> tuple[float, ...]:
        """Widths of the layers as multiples of the context's: 1, 2, 1."""
        width, (layers, _) = next(iter(self.nets.items()))
        return (1.0, *(weight.shape[0] / width for weight, _ in layers if weight.dim() == 2))

    @property
    def has_layer_norm(self) -> bool:
        """Whether LayerNorm is among the layers."""
        return any(weight.dim() == 1 for nets in self.nets.values() for weight, _ in nets[0])

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by our keys: `hypernetwork.320.0.linear.0.weight`, as A1111 counts what stands in its sequence."""
        return {
            f"hypernetwork.{width}.{which}.{key}": tensor
            for width, nets in self.nets.items()
            for which, layers in enumerate(nets)
            for key, tensor in self._named(layers).items()
        }

    def _named(self, layers: Layers) -> dict[str, Tensor]:
        """The tensors of a network by A1111's keys, in which activations have a number, too."""
        found, place = dict[str, "Tensor"](), 0
        last = max(index for index, (weight, _) in enumerate(layers) if weight.dim() == 2)
        for index, (weight, bias) in enumerate(layers):
            found[f"linear.{place}.weight"] = weight
            if bias is not None:
                found[f"linear.{place}.bias"] = bias
            is_activated = weight.dim() == 2 and self.activation != "linear" and (index < last or self.activate_output)
            place += 1 + is_activated
        return found

    def plain(self) -> dict[str, object]:
        """The settings as A1111's files have them. No dropout: ComfyUI would leave things out when it samples."""
        return {
            "layer_structure": [int(side) if side == int(side) else side for side in self.structure],
            "activation_func": self.activation,
            "is_layer_norm": self.has_layer_norm,
            "weight_initialization": "Normal",
            "use_dropout": False,
            "activate_output": self.activate_output,
            "last_layer_dropout": False,
            "dropout_structure": [0.0] * len(self.structure),
        }

    def a1111(self, name: str) -> dict[int | str, object]:
        """What A1111 saves with torch.save."""
        found: dict[int | str, object] = {}
        for width, of_width in self.nets.items():
            found[width] = tuple(self._named(layers) for layers in of_width)
        for key, value in self.plain().items():
            found[key] = value
        return found | {"step": 0, "name": name, "sd_checkpoint": None, "sd_checkpoint_name": None}


def sorted_keys(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """The keys of a file that are a hypernetwork's, and the others."""
    return [key for key in keys if KEY.fullmatch(key)], [key for key in keys if not KEY.fullmatch(key)]


def read(keys: Sequence[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Hypernetwork | None:
    """The hypernetwork that these keys are of; None where there are none. `InputError` where they are not one."""
    if not keys:
        return None
    told = json.loads(metadata.get(SETTINGS, "{}"))
    activation = str(told.get("activation_func") or "linear").lower()
    if activation not in ACTIVATIONS:
        what = f"is a hypernetwork whose activation_func, {activation[:40]!r}, is not known here."
        raise InputError(what, cure=f"Known are {', '.join(ACTIVATIONS)}.")
    if problems := [*_flaws(keys, tensors)]:
        raise InputError(problems)
    widths = sorted({int(found[1]) for key in keys if (found := KEY.fullmatch(key))})
    nets = {width: (_layers(keys, tensors, width, "0"), _layers(keys, tensors, width, "1")) for width in widths}
    return Hypernetwork(nets, activation, bool(told.get("activate_output", True)) and activation != "linear")


def _places(keys: Sequence[str], width: int, which: str) -> dict[int, dict[str, str]]:
    """Place in a network's sequence → `weight` and `bias` → the key."""
    found: dict[int, dict[str, str]] = {}
    for key in keys:
        match = KEY.fullmatch(key)
        if match and (int(match[1]), match[2]) == (width, which):
            found.setdefault(int(match[3] or match[4]), {})[match[5]] = key
    return dict(sorted(found.items()))


def _layers(keys: Sequence[str], tensors: Mapping[str, Tensor], width: int, which: str) -> Layers:
    found = _places(keys, width, which).values()
    return tuple((tensors[each["weight"]], tensors[each["bias"]] if "bias" in each else None) for each in found)


def _flaws(keys: Sequence[str], tensors: Mapping[str, Tensor]) -> Iterator[Problem]:
    """Networks that do not lead from their width to their width."""
    for width in sorted({int(found[1]) for key in keys if (found := KEY.fullmatch(key))}):
        for which, whose in (("0", "keys"), ("1", "values")):
            if (what := _flaw(width, _places(keys, width, which), tensors)) is not None:
                yield Problem(f"hypernetwork {width} of {whose}{what}.", cure="The file is damaged, or not whole.")


def _flaw(width: int, layers: Mapping[int, Mapping[str, str]], tensors: Mapping[str, Tensor]) -> str | None:
    """What is wrong with the layers of one network; None where nothing is."""
    side = width
    for place, keys in layers.items():
        if "weight" not in keys:
            return f", linear.{place} has no weight ({keys['bias']})"
        weight = tensors[keys["weight"]]
        if weight.dim() not in (1, 2) or weight.shape[-1] != side:
            return f", linear.{place} is {shape_in_words(weight)}, and {side} numbers come to it"
        side = weight.shape[0]
        if "bias" in keys and tensors[keys["bias"]].shape != (side,):
            return f", linear.{place} has a bias of {shape_in_words(tensors[keys['bias']])}"
    return None if layers and side == width else f" does not end at {width}"
