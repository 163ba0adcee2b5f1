"""Flat parameter buffers: many small parameters in one tensor.

An adapter has hundreds of small parameters, and an optimizer has a cost for each: AdamW a loop or a kernel, Prodigy two
device synchronisations. In one flat tensor the cost depends only on the number of elements.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

ALIGNMENT = 64
"""Each parameter starts at a multiple of this many elements (256 bytes in float32), like the allocators' alignment."""


def flatten(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """Return one flat parameter that contains the given ones, with a gradient that contains theirs.

    The modules keep their parameters, which become views of the flat one; autograd accumulates into views of its gradient.
    So gradients must be zeroed, never set to None. The padding between parameters is zero and stays zero. All parameters
    must have one dtype and device.
    """
    places, end = [], 0
    for parameter in parameters:
        places.append(end)
        end += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
    flat = torch.nn.Parameter(torch.zeros(end, dtype=parameters[0].dtype, device=parameters[0].device))
    flat.grad = torch.zeros_like(flat)
    for parameter, start in zip(parameters, places, strict=True):
        window = slice(start, start + parameter.numel())
        flat.data[window] = parameter.detach().reshape(-1)
        parameter.data = flat.data[window].view(parameter.shape)
        parameter.grad = flat.grad[window].view(parameter.shape)
    return flat


class FixedAddresses:
    """The places of parameters in memory, which must not change once an optimizer holds a flat tensor that contains them."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._places = [(parameter, parameter.data_ptr()) for parameter in parameters]

    def check(self) -> None:
        """Raise RuntimeError if a parameter has been moved, as by a module's `to(memory_format=…)`: steps would be lost."""
        if any(parameter.data_ptr() != place for parameter, place in self._places):
            raise RuntimeError("trained weights have been moved in memory, away from the optimizer's")
