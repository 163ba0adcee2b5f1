"""Optimizer parameter groups of an adapter: one for each part of the base and learning rate within it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lorapipe.formats import EMBEDDING
from lorapipe.models import Model
from lorapipe.training.adapters import Attached
from lorapipe.training.flat_parameters import FixedAddresses, flatten
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.resume_state import Trainable


def grouped(
    adapter: Attached, rates: Mapping[str, float], optimizer: Optimizer, model: Model, max_grad_norm: float = 0.0
) -> Trainable:
    """Build the optimizer with its parameter groups, named `unet`, or `unet ×4` at another rate; `rates` by part.

    `max_grad_norm` is for adapters that step in the backward pass; others are clipped by the loop.
    """
    factors = adapter.rate_factors()
    parameters: dict[str, list[torch.nn.Parameter]] = {}
    group_rates: dict[str, float] = {}
    for part, found in adapter.parameters().items():
        for parameter in found:
            factor = factors.get(id(parameter), 1)
            name = part if factor == 1 else f"{part} ×{factor:g}"
            parameters.setdefault(name, []).append(parameter)
            group_rates[name] = rates[part] * factor
    addresses = None
    if optimizer.elementwise and adapter.may_be_flat:
        members = [each for found in parameters.values() for each in found]
        parameters = {name: [flatten(found)] for name, found in parameters.items()}
        addresses = FixedAddresses(members)
    groups = [
        {
            "params": [*map(adapter.optimized, found)],
            "lr": group_rates[name],
            "name": name,
            **_undecayed(name, optimizer),
        }
        for name, found in parameters.items()
    ]
    scaler = torch.amp.GradScaler(model.device.type, enabled=model.dtype == torch.float16)
    stepped = adapter.stepping(optimizer.build(groups), max_grad_norm)
    return Trainable(parameters, stepped, scaler, addresses=addresses)


def _undecayed(group: str, optimizer: Optimizer) -> dict[str, float]:
    """Disable weight decay for embeddings: it would make them unlike all other words' vectors."""
    return {"weight_decay": 0.0} if group == EMBEDDING and hasattr(optimizer, "weight_decay") else {}
