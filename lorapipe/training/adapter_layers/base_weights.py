"""Weights of a base's modules, and random stand-ins where no weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import Place
    from lorapipe.models import Model


def weight(model: Model, place: Place) -> Tensor:
    """Return a module's weight as float32; loads the module's part."""
    found: Tensor = model.part(place[0]).get_submodule(place[1]).weight.detach()
    return found.float()


def bias(model: Model, place: Place) -> Tensor | None:
    """Return a module's bias as float32, None where it has none; loads the module's part."""
    found: Tensor | None = model.part(place[0]).get_submodule(place[1]).bias
    return None if found is None else found.detach().float()


def shape(model: Model, place: Place) -> tuple[int, ...]:
    """Return the shape of a module's weight, without loading weights."""
    part, path = place
    return next(ref.shape for ref in (*model.modules(part), *model.outer_modules(part)) if ref.path == path)


def drawn(model: Model, place: Place) -> Tensor:
    """Return a standard normal tensor (fixed seed) in the shape of a module's weight."""
    import torch

    return torch.randn(shape(model, place), generator=torch.Generator().manual_seed(0))
