"""Hypernetworks (A1111's): small networks that transform the context of attention's keys and values.

Each context width has two, for keys and for values: net(x) = x + f(x), where f is a sequence of Linear, an activation after
all but the last, and optionally LayerNorm (`hypernetwork.py` of stable-diffusion-webui).
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
"""Groups: context width, 0 for keys or 1 for values, index in the sequence (in files of 2022: 1 or 2), weight or bias."""
SETTINGS = "hypernetwork"
"""Metadata key of the settings."""
Layers = tuple[tuple["Tensor", "Tensor | None"], ...]
"""(weight, bias) of each layer in order: Linear where the weight is 2-dimensional, else LayerNorm."""


@dataclass(frozen=True)
class Hypernetwork:
    """A hypernetwork; `nets` maps a context width to the layers for keys and for values."""

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
        """Whether it has LayerNorm layers."""
        return any(weight.dim() == 1 for nets in self.nets.values() for weight, _ in nets[0])

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by our keys: `hypernetwork.320.0.linear.0.weight`, with A1111's index in the sequence."""
        return {
            f"hypernetwork.{width}.{which}.{key}": tensor
            for width, nets in self.nets.items()
            for which, layers in enumerate(nets)
            for key, tensor in self._named(layers).items()
        }

    def _named(self, layers: Layers) -> dict[str, Tensor]:
        """Return a network's tensors by A1111's keys, whose index also counts activations."""
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
        """Return the settings as in A1111's files, without dropout, which ComfyUI would apply in sampling."""
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
        """Return the object that A1111 saves with torch.save."""
        found: dict[int | str, object] = {}
        for width, of_width in self.nets.items():
            found[width] = tuple(self._named(layers) for layers in of_width)
        for key, value in self.plain().items():
            found[key] = value
        return found | {"step": 0, "name": name, "sd_checkpoint": None, "sd_checkpoint_name": None}


def sorted_keys(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a file's keys into a hypernetwork's, and others."""
    return [key for key in keys if KEY.fullmatch(key)], [key for key in keys if not KEY.fullmatch(key)]


def read(keys: Sequence[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Hypernetwork | None:
    """Read the hypernetwork of these keys; None if there are none. `InputError` where it is damaged or unknown."""
    if not keys:
        return None
    told = json.loads(metadata.get(SETTINGS, "{}"))
    activation = str(told.get("activation_func") or "linear").lower()
    if activation not in ACTIVATIONS:
        what = f"is a hypernetwork whose activation_func, {activation[:40]!r}, is not known here."
        raise InputError(what, cure=f"Known are {', '.join(ACTIVATIONS)}.")
    if problems := [*_flaws(keys, tensors), *_unlike_settings(keys, tensors, told)]:
        raise InputError(problems)
    widths = sorted({int(found[1]) for key in keys if (found := KEY.fullmatch(key))})
    nets = {width: (_layers(keys, tensors, width, "0"), _layers(keys, tensors, width, "1")) for width in widths}
    return Hypernetwork(nets, activation, bool(told.get("activate_output", True)) and activation != "linear")


def _places(keys: Sequence[str], width: int, which: str) -> dict[int, dict[str, str]]:
    """Return index in a network's sequence → `weight` or `bias` → key."""
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
    """Yield networks whose layers do not fit together or do not end at the context width."""
    for width in sorted({int(found[1]) for key in keys if (found := KEY.fullmatch(key))}):
        for which, whose in (("0", "keys"), ("1", "values")):
            if (what := _flaw(width, _places(keys, width, which), tensors)) is not None:
                yield Problem(f"hypernetwork {width} of {whose}{what}.", cure="The file is damaged, or not whole.")


def _unlike_settings(
    keys: Sequence[str], tensors: Mapping[str, Tensor], told: Mapping[str, object]
) -> Iterator[Problem]:
    """Yield networks with other layers than the file's settings say: one may be missing as a whole."""
    structure = told.get("layer_structure")
    if not isinstance(structure, list):  # in files of 2022
        return
    wanted = (len(structure) - 1) * (1 + bool(told.get("is_layer_norm")))
    for width in sorted({int(found[1]) for key in keys if (found := KEY.fullmatch(key))}):
        for which, whose in (("0", "keys"), ("1", "values")):
            if (count := len(_places(keys, width, which))) != wanted:
                what = f"hypernetwork {width} of {whose} has {count} layers, and by its settings {wanted}."
                yield Problem(what, cure="The file is damaged, or not whole.")


def _flaw(width: int, layers: Mapping[int, Mapping[str, str]], tensors: Mapping[str, Tensor]) -> str | None:
    """Say what is wrong with the layers of one network; None where nothing is."""
    side = width
    for place, keys in layers.items():
        if "weight" not in keys:
            return f", linear.{place} has no weight ({keys['bias']})"
        if "bias" not in keys:
            return f", linear.{place} has no bias ({keys['weight']})"
        weight = tensors[keys["weight"]]
        if weight.dim() not in (1, 2) or weight.shape[-1] != side:
            return f", linear.{place} is {shape_in_words(weight)}, and {side} numbers come to it"
        side = weight.shape[0]
        if tensors[keys["bias"]].shape != (side,):
            return f", linear.{place} has a bias of {shape_in_words(tensors[keys['bias']])}"
    return None if layers and side == width else f" does not end at {width}"
