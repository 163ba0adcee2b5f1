"""A copy of the trained weights in the base's dtype, which forward and backward passes work with.

The trained weights are float32 (master weights: Micikevicius et al. 2018, arXiv:1710.03740, §3.1), and layers cast them
where they use them: each matrix twice in a pass, and its gradient once. Here all of them are cast before a pass, and all
gradients after it, in one operation each. The bits are the same, since a pass uses each matrix once. The optimizer,
averages, snapshots and samples know only the float32 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lorapipe.training.adapters import Attached
from lorapipe.training.loop import Inputs, Pass, Passes


class WorkingCopy:
    """The copy of a flat parameter, `flat`, and its gradient; `members` are views of `flat`."""

    def __init__(self, flat: Tensor, members: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._flat = flat
        self._values, self._gradients = (torch.zeros(flat.shape, dtype=dtype, device=flat.device) for _ in range(2))
        self.tensors: dict[int, Tensor] = {}
        """`id` of a member → its copy, which requires gradients."""
        for member in members:
            start = (member.data_ptr() - flat.data_ptr()) // flat.element_size()
            window = slice(start, start + member.numel())
            copy = self._values[window].view(member.shape).requires_grad_()
            copy.grad = self._gradients[window].view(member.shape)
            self.tensors[id(member)] = copy

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the weights, and set the gradients to zero."""
        self._values.copy_(self._flat)
        self._gradients.zero_()

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the gradients to those of the flat parameter."""
        assert self._flat.grad is not None
        self._flat.grad.add_(self._gradients)


class CopiedPasses:
    """Passes that work with copies; when memory is short, without. `put_in` lets layers read the copies it is given."""

    def __init__(
        self, passes: Passes, copies: Sequence[WorkingCopy], put_in: Callable[[Mapping[int, Tensor]], None]
    ) -> None:
        self._passes, self._copies, self._put_in = passes, copies, put_in
        put_in({name: tensor for copy in copies for name, tensor in copy.tensors.items()})

    def __call__(self, run: Pass, inputs: Inputs) -> Tensor:
        for copy in self._copies:
            copy.refresh()
        loss = self._passes(run, inputs)
        for copy in self._copies:
            copy.add_gradients()
        return loss

    def release(self) -> bool:
        had_copies, had_more = bool(self._copies), self._passes.release()
        self._copies = ()
        self._put_in({})
        return had_copies or had_more


def with_copies(passes: Passes, adapter: Attached, optimized: Iterable[Tensor], dtype: torch.dtype) -> Passes:
    """Return passes that work with copies of those flat tensors among `optimized` whose every member may have one.

    Others are cast where they are used, as those are of adapters that compute in float32 before they cast.
    """
    copies = list(_copies(adapter, optimized, dtype))
    return CopiedPasses(passes, copies, adapter.use_copies) if copies else passes


def _copies(adapter: Attached, optimized: Iterable[Tensor], dtype: torch.dtype) -> Iterator[WorkingCopy]:
    copyable = adapter.copyable(dtype)
    trained = [tensor for found in adapter.parameters().values() for tensor in found]
    for flat in optimized:
        end = flat.data_ptr() + flat.numel() * flat.element_size()
        members = [tensor for tensor in trained if flat.data_ptr() <= tensor.data_ptr() < end]
        if flat.dtype != dtype and len(members) > 1 and copyable.issuperset(map(id, members)):
            yield WorkingCopy(flat, members, dtype)
