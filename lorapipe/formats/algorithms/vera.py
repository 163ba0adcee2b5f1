"""VeRA: two trained vectors for each module, and random matrices shared by all (Kopiczko et al. 2023, arXiv:2310.11454)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats.algorithms import Tensors, shapes_in_words
from lorapipe.formats.algorithms._peft_only import INPUTS, PeftOnlyAlgorithm, must_be_sensible, number
from lorapipe.formats.algorithms._peft_ranks import only

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FAN = 1024
"""Number of inputs by which A is scaled. PEFT takes the largest of a model's; here A is the same for every model."""
_drawn: dict[tuple[int, int, int, str], Any] = {}
"""(seed, which, rank, device) → the longest matrix (n, rank) drawn so far: shorter ones are its beginning."""


class VeraAlgorithm(PeftOnlyAlgorithm):
    """ΔW = (b ⊙ B) · (d ⊙ A), with trained `lambda_b` b (out,) and `lambda_d` d (r,), on Linear layers.

    A (r, in) and B (out, r) are random, uniform, and slices of the same two matrices for all modules. Either a `seed` draws
    them, or a file of PEFT's holds them: `A`, `B` in the size of the largest module, of which each takes the beginning.
    """

    keys: ClassVar = {
        "lambda_b": "vera_lambda_b", "lambda_d": "vera_lambda_d", "A": "vera_A", "B": "vera_B", "seed": "vera_seed",
        INPUTS: "vera_inputs",
    }  # fmt: skip
    peft_keys: ClassVar = keys
    peft_type: ClassVar = "VERA"
    peft_size: ClassVar = "r"
    peft_shared: ClassVar = ("vera_A", "vera_B")
    peft_settings: ClassVar = {
        "projection_prng_key": {"type": "integer", "minimum": 0, "maximum": 2**62, "default": 0},
        "save_projection": {"type": "boolean"},
        "d_initial": {"type": "number"},
    }
    flags: ClassVar = frozenset({"seed", INPUTS})
    frozen: ClassVar = frozenset({"A", "B"})
    precise: ClassVar = frozenset({"lambda_b", "lambda_d"})
    optional: ClassVar = flags | frozen

    def rank(self, tensors: Tensors) -> int:
        return int(tensors["lambda_d"].shape[0])

    def needs_weight(self, tensors: Tensors) -> bool:
        return INPUTS not in tensors

    def missing(self, tensors: Tensors) -> list[str]:
        is_drawn = "seed" in tensors and not self.frozen & tensors.keys()
        drawn = [] if is_drawn else [short for short in ("A", "B") if short not in tensors]
        return super().missing(tensors) + drawn

    def delta(self, tensors: Tensors, alpha: float, weight: Tensor | None = None) -> Tensor:
        outputs, diagonal = tensors["lambda_b"], tensors["lambda_d"]
        inputs = self.inputs(tensors, weight)
        if "A" not in tensors:
            down, up = projections(tensors["seed"], self.rank(tensors), inputs, len(outputs), diagonal.device)
        else:
            down, up = tensors["A"][:, :inputs], tensors["B"][: len(outputs)]
        return (outputs[:, None] * up) @ (diagonal[:, None] * down)

    def scaled(self, tensors: Tensors, factor: float | Tensor) -> dict[str, Tensor]:
        return {**tensors, "lambda_b": tensors["lambda_b"] * factor}

    def from_peft(self, tensors: Tensors, config: Mapping[str, Any], path: str, shared: Tensors) -> dict[str, Tensor]:
        import torch

        if missing := [f"base_model.{name}" for name in self.peft_shared if name not in shared]:
            what = f"the folder lacks {' and '.join(missing)}: VeRA's random matrices were not saved."
            raise InputError(what, cure="Save it with save_projection=True.")
        down, up, seed = shared["vera_A"], shared["vera_B"], number(config["projection_prng_key"])
        if down.dim() != 2 or up.dim() != 2 or down.shape[0] != up.shape[1] or not down.numel():
            what = f"base_model.vera_A and base_model.vera_B do not fit: {shapes_in_words(shared)}."
            raise InputError(what, cure="The file is damaged.")
        ours = projections(seed, down.shape[0], down.shape[1], up.shape[0])
        if all(torch.equal(one, other) for one, other in zip(ours, (down, up), strict=True)):
            return {**tensors, "seed": seed}
        return {**tensors, "A": down, "B": up}

    def peft_config(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, object]:
        found = [tensors for tensors, _ in modules.values()]
        seed = only("seed", (int(each["seed"]) if "seed" in each else 0 for each in found))
        return {"r": only("r", map(self.rank, found)), "projection_prng_key": seed, "save_projection": True}

    def peft_projections(self, modules: Mapping[str, tuple[Tensors, float]]) -> dict[str, Tensor]:
        found = [tensors for tensors, _ in modules.values()]
        seed = found[0].get("seed")
        if seed is None or "A" in found[0]:
            return {"vera_A": found[0]["A"], "vera_B": found[0]["B"]}
        if lacking := [path for path, (each, _) in modules.items() if INPUTS not in each]:
            what = f"{lacking[0]} is of a PEFT folder, which does not tell the number of its inputs."
            raise InputError(what, cure="Use that folder as it is, or export with convert: lora or convert: diff.")
        inputs, outputs = max(int(each[INPUTS]) for each in found), max(len(each["lambda_b"]) for each in found)
        down, up = projections(seed, self.rank(found[0]), inputs, outputs)
        return {"vera_A": down.contiguous(), "vera_B": up.contiguous()}

    def flaw(self, tensors: Tensors) -> str:
        vectors = [tensors["lambda_b"], tensors["lambda_d"]]
        fits = all(each.dim() == 1 and each.numel() for each in vectors)
        if "A" in tensors:
            down, up, rank = tensors["A"], tensors["B"], vectors[1].numel()
            fits = fits and down.dim() == up.dim() == 2 and down.shape[0] == up.shape[1] == rank
            fits = fits and up.shape[0] >= vectors[0].numel()
        return "" if fits else f"its shapes do not fit, {shapes_in_words(tensors)}"


def projections(
    seed: Tensor, rank: int, inputs: int, outputs: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Return A (rank, inputs) and B (outputs, rank), float32, uniform with PEFT's Kaiming bounds √(6 / fan).

    Larger matrices of a seed and rank begin with the smaller ones.
    """
    must_be_sensible(rank * max(inputs, outputs), "vectors and inputs")
    place = str(device or "cpu")
    return _uniform(int(seed), FAN, inputs, rank, place).T, _uniform(int(seed), rank, outputs, rank, place, 1)


def _uniform(seed: int, fan: int, rows: int, rank: int, device: str, which: int = 0) -> Tensor:
    """Return (rows, rank) in ±√(6 / fan), from the raw bits of PCG64, which are the same in every release of NumPy.

    The longest that was drawn is kept on each device, so that no step draws or copies it again.
    """
    import numpy as np
    import torch

    key = seed % 2**63, which, rank, device
    if key not in _drawn or len(_drawn[key]) < rows:
        bits = np.random.PCG64([seed % 2**63, which]).random_raw(rows * rank)
        values = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
        _drawn[key] = (torch.from_numpy(values).reshape(rows, rank) * (6 / fan) ** 0.5).to(device)
    found: Tensor = _drawn[key][:rows]
    return found
