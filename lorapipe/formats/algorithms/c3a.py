"""C3A: ΔW of circulant blocks (Chen et al. 2024, arXiv:2407.19342; as PEFT)."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mode
from typing import TYPE_CHECKING, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm

if TYPE_CHECKING:
    from torch import Tensor


class C3aAlgorithm(PeftOnlyAlgorithm):
    """ΔW[i · b + p, j · b + q] = kernel[i, j, (q − p) mod b] / in, on Linear layers: a circular convolution of each block.

    `kernel` (out / b, in / b, b).
    """

    keys: ClassVar = {"kernel": "c3a_kernel"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "C3A"
    peft_size: ClassVar = "block_size"
    peft_settings: ClassVar = {
        "block_size": {"type": "integer"},
        "block_size_pattern": {"type": ["object", "null"], "additionalProperties": {"type": "integer"}},
    }

    def rank(self, tensors: Tensors) -> int:
        """Return the block size b."""
        return int(tensors["kernel"].shape[-1])

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        kernel = tensors["kernel"]
        outputs, inputs, size = kernel.shape
        steps = torch.arange(size, device=kernel.device)
        blocks = kernel[:, :, (steps - steps[:, None]) % size]
        return blocks.permute(0, 2, 1, 3).reshape(outputs * size, inputs * size) / (inputs * size)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {"kernel": tensors["kernel"] * factor}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        sizes = {path: self.rank(tensors) for path, (tensors, _) in modules.items()}
        usual = mode(sizes.values())
        return {"block_size": usual, "block_size_pattern": {path: b for path, b in sizes.items() if b != usual}}

    def flaw(self, tensors: Tensors) -> str:
        kernel = tensors["kernel"]
        return f"its shapes do not fit, {shapes_in_words(tensors)}" if kernel.dim() != 3 or not kernel.numel() else ""
