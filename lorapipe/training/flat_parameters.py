"""Many small matrices, one tensor.

An adapter has hundreds of small parameters, and an optimizer pays for each: AdamW a loop or a kernel, Prodigy two waits
for the device. Laid out one behind the other in one tensor, they cost what their elements cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

ALIGNMENT = 64
"""Elements (256 bytes in float32) that each parameter's place is a multiple of, as the allocators' would be."""


def flatten(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """One flat tensor that holds the parameters, with a gradient that holds theirs.

    The parameters go on to be what their modules use, as windows into it; autograd adds their gradients into its
    gradient. So gradients must be zeroed, never set to None. The gaps between parameters are zero and stay so.
    All parameters must be of one type, on one device.
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
