"""The weights of a base's modules, and what stands for them where no weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import Place
    from lorapipe.models import Model


def weight(model: Model, place: Place) -> Tensor:
    """A module's weight, float32; loads the part that it is in."""
    found: Tensor = model.part(place[0]).get_submodule(place[1]).weight.detach()
    return found.float()


def shape(model: Model, place: Place) -> tuple[int, ...]:
    """The shape of a module's weight; no weights are loaded."""
    part, path = place
    return next(ref.shape for ref in (*model.modules(part), *model.outer_modules(part)) if ref.path == path)


def drawn(model: Model, place: Place) -> Tensor:
    """Random numbers in that shape, always the same ones."""
    import torch

    return torch.randn(shape(model, place), generator=torch.Generator().manual_seed(0))
