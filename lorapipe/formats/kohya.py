"""kohya's LoRA keys: what ComfyUI, A1111, Forge and diffusers all load."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, ModuleWeights, Names

if TYPE_CHECKING:
    import torch

SUFFIXES = {"down": ".lora_down.weight", "up": ".lora_up.weight", "mid": ".lora_mid.weight"}


@dataclass(frozen=True)
class Kohya(Format):
    """`lora_unet_….lora_down.weight`, `.lora_up.weight`, `.alpha`; module names in diffusers' style.

    As sd-scripts writes them (`networks/lora.py`).
    """

    def matches(self, keys: Collection[str]) -> bool:
        """See `Format.matches`."""
        return any(key.startswith(("lora_unet_", "lora_te")) and key.endswith(SUFFIXES["down"]) for key in keys)

    def load(self, tensors: Mapping[str, torch.Tensor], names: Names) -> AdapterWeights:
        """See `Format.load`; a missing alpha means rank, as kohya's own loader has it."""
        modules: dict[tuple[str, str], ModuleWeights] = {}
        for name in dict.fromkeys(key.partition(".")[0] for key in tensors):
            if name not in names:
                raise InputError(
                    f"the file's module {name} is not in this base model.", cure="Is it of another family?"
                )
            found = {short: tensors[name + end] for short, end in SUFFIXES.items() if name + end in tensors}
            if not {"down", "up"} <= found.keys():
                raise InputError(f"the file's module {name} is not a LoRA: {', '.join(_of(tensors, name))}.")
            alpha = tensors.get(f"{name}.alpha")
            rank = found["down"].shape[0]
            modules[names[name]] = ModuleWeights("lora", found, float(rank if alpha is None else alpha))
        return AdapterWeights(modules)

    def save(self, weights: AdapterWeights, names: Names) -> dict[str, torch.Tensor]:
        """See `Format.save`; every module has its alpha, since a missing one means different things elsewhere."""
        import torch

        written: dict[tuple[str, str], str] = {}
        for name, place in names.items():
            written.setdefault(place, name)  # the first is kohya's own
        tensors: dict[str, torch.Tensor] = {}
        for place, module in weights.modules.items():
            if module.algorithm != "lora":
                raise InputError(f"a {module.algorithm} adapter cannot be written in kohya's LoRA format.")
            for short, tensor in module.tensors.items():
                tensors[written[place] + SUFFIXES[short]] = tensor.contiguous()
            tensors[f"{written[place]}.alpha"] = torch.tensor(float(module.alpha))
        return tensors


def _of(tensors: Mapping[str, torch.Tensor], name: str) -> list[str]:
    return [key for key in tensors if key.startswith(f"{name}.")]
