"""FourierFT: a few trained coefficients of ΔW's two-dimensional Fourier transform (Gao et al. 2024, arXiv:2405.03003)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from statistics import mode
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import PeftOnlyAlgorithm, must_be_sensible, number
from lorapipe.formats.algorithms._peft_ranks import only, plain

if TYPE_CHECKING:
    from torch import Tensor


class FourierFtAlgorithm(PeftOnlyAlgorithm):
    """ΔW = alpha · Re IFFT₂(F), where F is 0 but for `spectrum` (n,) at n places, on Linear layers.

    The `seed` draws the places, the first n of a random permutation of all entries. `sides` (2,) is the shape of W; PEFT's
    files have none. Alpha is PEFT's `scaling`.
    """

    keys: ClassVar = {"spectrum": "fourierft_spectrum", "seed": "fourierft_seed", "sides": "fourierft_sides"}
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "FOURIERFT"
    peft_size: ClassVar = "n_frequency"
    peft_alpha: ClassVar = "scaling"
    peft_settings: ClassVar = {
        "n_frequency": {"type": "integer"},
        "n_frequency_pattern": {"type": ["object", "null"], "additionalProperties": {"type": "integer"}},
        "scaling": {"type": "number", "default": 150.0},
        "random_loc_seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**62, "default": 777},
    }
    has_alpha: ClassVar = True
    flags: ClassVar = frozenset({"seed", "sides"})
    flag_numbers: ClassVar = {"sides": 2}
    optional: ClassVar = frozenset({"sides"})

    def rank(self, tensors: Tensors) -> int:
        """Return the number of coefficients."""
        return int(tensors["spectrum"].shape[0])

    def usual_alpha(self, tensors: Tensors) -> float:
        return 150.0

    def scale(self, tensors: Tensors, alpha: float) -> float:
        return alpha

    def needs_weight(self, tensors: Tensors) -> bool:
        return "sides" not in tensors

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        import torch

        spectrum = tensors["spectrum"]
        shape = tensors["sides"].tolist() if "sides" in tensors else self.given(weight).shape
        sides = tuple(map(int, shape))
        must_be_sensible(sides[0] * sides[1], "sides")
        places = _places(int(tensors["seed"]), sides, len(spectrum), str(spectrum.device))
        dense = spectrum.new_zeros(sides[0] * sides[1]).index_put((places,), spectrum).reshape(sides)
        return torch.fft.ifft2(dense).real * alpha

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "spectrum": tensors["spectrum"] * factor}

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        return {**tensors, "seed": number(777 if config["random_loc_seed"] is None else config["random_loc_seed"])}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        counts = {path: self.rank(tensors) for path, (tensors, _) in modules.items()}
        usual = mode(counts.values())
        return {
            "n_frequency": usual,
            "n_frequency_pattern": {path: count for path, count in counts.items() if count != usual},
            "scaling": plain(only("scaling", (alpha for _, alpha in modules.values()))),
            "random_loc_seed": only("random_loc_seed", (int(tensors["seed"]) for tensors, _ in modules.values())),
        }

    def flaw(self, tensors: Tensors) -> str:
        spectrum = tensors["spectrum"]
        return "" if spectrum.dim() == 1 and spectrum.numel() else f"its shapes do not fit, {shapes_in_words(tensors)}"


@lru_cache(maxsize=4096)
def _places(seed: int, sides: tuple[int, int], count: int, device: str) -> Tensor:
    """Return the places of the coefficients (n,) in a flattened matrix, as PEFT draws them."""
    import torch

    drawn = torch.randperm(sides[0] * sides[1], generator=torch.Generator().manual_seed(seed))
    return drawn[:count].clone().to(device)
