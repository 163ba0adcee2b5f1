"""kohya's LoRA keys: what ComfyUI, A1111, Forge and diffusers all load."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError, Problem
from lorapipe.formats import AdapterWeights, Format, ModuleWeights, Names

if TYPE_CHECKING:
    import torch

SUFFIXES = {"down": ".lora_down.weight", "up": ".lora_up.weight", "mid": ".lora_mid.weight"}
ALPHA = ".alpha"


@dataclass(frozen=True)
class Kohya(Format):
    """`lora_unet_….lora_down.weight`, `.lora_up.weight`, `.alpha`; module names in diffusers' style.

    As sd-scripts writes them (`networks/lora.py`).
    """

    def matches(self, keys: Collection[str]) -> bool:
        """See `Format.matches`."""
        return any(key.startswith(("lora_unet_", "lora_te")) and key.endswith(SUFFIXES["down"]) for key in keys)

    def load(self, tensors: Mapping[str, torch.Tensor], names: Names) -> AdapterWeights:
        """See `Format.load`; a missing alpha means rank, as kohya's own loader has it.

        Every key is used, or the file refused.
        """
        if not tensors:
            raise InputError("holds no LoRA: there is no tensor in it.", cure="Is it the right file?")
        modules, others = sorted_out(tensors)
        if problems := [*_problems(tensors, modules, others, names)]:
            raise InputError(problems)
        return AdapterWeights({names[name]: _module(parts) for name, parts in modules.items()})

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


Modules = dict[str, dict[str, "torch.Tensor"]]
"""Module name → `down`, `up`, `mid`, `alpha` → its tensor."""


def sorted_out(tensors: Mapping[str, Any]) -> tuple[Modules, list[str]]:
    """The tensors by module, and the keys of those that are no part of a LoRA."""
    modules: Modules = {}
    others: list[str] = []
    ends = {**SUFFIXES, "alpha": ALPHA}
    for key, tensor in tensors.items():
        short = next((short for short, end in ends.items() if key.endswith(end)), None)
        name = key.removesuffix(ends[short]) if short else ""
        if short is None or "." in name:
            others.append(key)
        else:
            modules.setdefault(name, {})[short] = tensor
    return modules, others


def _module(parts: Mapping[str, torch.Tensor]) -> ModuleWeights:
    alpha = parts.get("alpha")
    found = {short: tensor for short, tensor in parts.items() if short != "alpha"}
    return ModuleWeights("lora", found, float(found["down"].shape[0] if alpha is None else alpha))


# ---------------------------------------------------------------------------------------------------------- what is wrong


def _problems(
    tensors: Mapping[str, torch.Tensor], modules: Modules, others: list[str], names: Names
) -> Iterator[Problem]:
    from lorapipe.formats._dialects import ONCE, described, some

    foreign = [name for name in modules if name not in names]
    if not others and len(foreign) == 1:
        yield Problem(f"the file's module {foreign[0]} is not in this base model.", cure="Is it of another family?")
    elif foreign and (len(foreign) < len(modules) or not others):
        what = f"{len(foreign)} of the file's modules are not in this base model: {some(foreign)}."
        yield Problem(what, cure="Is it of another family?")
    if others:
        yield from described(others)
        return
    by_place: dict[tuple[str, str], str] = {}
    for name, parts in modules.items():
        place = names.get(name, (name, ""))
        if (twin := by_place.setdefault(place, name)) != name:
            yield Problem(f"holds one module twice: {name} and {twin} are the same.", cure=ONCE)
        if what := _incomplete(parts):
            yield Problem(f"the file's module {name} is not a LoRA: {what}.", cure="The file is incomplete.")
    yield from _no_numbers(tensors)


def _incomplete(parts: Mapping[str, torch.Tensor]) -> str:
    """Why the tensors of a module make no ΔW; empty where they do."""
    missing = [short for short in ("down", "up") if short not in parts]
    if missing:
        return f"it has {', '.join(parts)} and no {' and no '.join(missing)}"
    down, up, mid, alpha = (parts.get(short) for short in ("down", "up", "mid", "alpha"))
    assert down is not None and up is not None
    shapes = f"down is {_shape(down)}, up {_shape(up)}" + ("" if mid is None else f", mid {_shape(mid)}")
    if down.dim() not in (2, 4) or up.dim() not in (2, 4) or any(side != 1 for side in up.shape[2:]):
        return f"its shapes are none of one, {shapes}"
    rank = down.shape[0]
    if not rank or up.shape[1] != rank or not down.numel() or not up.numel():
        return f"its ranks do not fit, {shapes}"
    pointwise = all(side == 1 for side in down.shape[2:])
    if mid is not None and (mid.dim() != 4 or mid.shape[:2] != (rank, rank) or not pointwise):
        return f"its shapes do not fit, {shapes}"
    return "" if alpha is None or alpha.numel() == 1 else f"its alpha is not a number, but {_shape(alpha)}"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _no_numbers(tensors: Mapping[str, torch.Tensor]) -> Iterator[Problem]:
    """Tensors of whole numbers (a quantised file's), and those in which something is infinite or NaN."""
    from lorapipe.formats._dialects import some

    whole = [key for key, tensor in tensors.items() if not tensor.is_floating_point() and not key.endswith(ALPHA)]
    if whole:
        what = f"holds whole numbers ({tensors[whole[0]].dtype}) where weights should be: {some(whole)}."
        yield Problem(what, cure="Give the file as it was before it was quantised.")
    odd = [key for key, tensor in tensors.items() if not bool(tensor.float().isfinite().all())]
    if odd:
        what = f"holds what is no number (NaN or infinite): {some(odd)}."
        yield Problem(what, cure="Its training has blown up, or the file is damaged: it cannot be used.")
