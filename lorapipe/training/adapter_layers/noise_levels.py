"""T-LoRA's mask: fewer ranks are trained the more noise there is  (Soboleva et al. 2025, arXiv:2507.05964, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from lorapipe.models import Model


class NoiseLevels:
    """How noisy the samples are that the denoiser sees now: (B,), 0 … 1; None before it has seen any."""

    shares: Tensor | None = None

    def mask(self, rank: int, lowest: int, dims: int) -> Tensor | None:
        """Ones for the ranks that are trained, ⌊(1 − share) · (rank − lowest)⌋ + lowest of each sample's, from the first.

        (B, 1 …, rank) for inputs of `dims` dimensions, (B, rank, 1, 1) for pictures; None where nothing is known.
        """
        import torch

        if self.shares is None:
            return None
        low = min(lowest, rank)
        counts = torch.floor((1 - self.shares.float()) * (rank - low)) + low
        kept = (torch.arange(rank, device=counts.device) < counts[:, None]).float()
        return kept[:, :, None, None] if dims == 4 else kept.reshape(len(kept), *[1] * (dims - 2), rank)


class HasNoiseLevels(Protocol):
    """A layer that has a mask."""

    levels: NoiseLevels | None


def watch(model: Model, layers: Sequence[HasNoiseLevels]) -> RemovableHandle:
    """Tell layers of the denoiser the noise levels of each forward pass, until the handle is removed."""
    levels = NoiseLevels()
    for layer in layers:
        layer.levels = levels

    def note(module: object, arguments: tuple[object, ...], named: dict[str, object]) -> None:
        import torch

        t = named.get("timestep", arguments[1] if len(arguments) > 1 else None)
        levels.shares = model.diffusion.share(t).reshape(-1) if isinstance(t, torch.Tensor) else None

    return model.part(model.denoiser).register_forward_pre_hook(note, with_kwargs=True)
