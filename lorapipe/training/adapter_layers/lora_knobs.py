"""Knobs of adapters with a rank: dropouts, LoRA+, DoRA, rsLoRA, ranks by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.adapter_layers.block_widths import Width
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs

if TYPE_CHECKING:
    from torch.nn import Module

    from lorapipe.models import Role
    from lorapipe.training.adapter_layers.layer import AdapterLayer


@dataclass(frozen=True)
class LoraKnobs(TargetKnobs):
    """Dropouts, LoRA+ and settings by block as in kohya's `networks/lora.py`; DoRA; rsLoRA.

    A subclass declares the knobs `rank` and `alpha` and implements `layer`. It may declare `conv_rank` and `conv_alpha` for
    3×3 convolutions; a `conv_rank` of 0 means `rank` and `alpha`.
    """

    dropout: float = param(
        0.0,
        "chance of each activation between down and up to be zeroed in training; 0 is common",
        ge=0,
        lt=1,
        kohya=("network_dropout",),
    )
    rank_dropout: float = param(
        0.0,
        "chance of each rank of a module to be zeroed in training; 0.1 to 0.3 against over-fitting",
        ge=0,
        lt=1,
        kohya=("rank_dropout",),
        rare=True,
    )
    lora_plus: float = param(
        1.0,
        "LoRA+: learning rate of up relative to down; 4 to 16 converges sooner, with a lower base rate; "
        "1 is plain LoRA  (Hayou et al. 2024, arXiv:2402.12354)",
        ge=1,
        le=64,
        kohya=("loraplus_lr_ratio", "loraplus_unet_lr_ratio"),
        rare=True,
    )
    lora_plus_text_encoder: float | None = param(
        None,
        "LoRA+ of the text encoders; empty: as lora_plus",
        ge=1,
        le=64,
        kohya=("loraplus_text_encoder_lr_ratio",),
        rare=True,
    )
    block_ranks: tuple[int, ...] = param(
        (),
        "a rank for each block of the denoiser (U-Net) in place of `rank`: 25 numbers for SD1.x and SD2 (12 down, the "
        "middle, 12 up), 23 for SDXL (1, 9 down, 3 in the middle, 9 up, 1); 0 leaves a block out",
        ge=0,
        le=768,
        kohya=("block_dims",),
        rare=True,
    )
    block_alphas: tuple[float, ...] = param(
        (),
        "with block_ranks: an alpha for each block in place of `alpha`; 0 means the block's rank",
        ge=0,
        kohya=("block_alphas",),
        rare=True,
    )
    block_rates: tuple[float, ...] = param(
        (),
        "a factor on unet_lr for each block, as many numbers as block_ranks; 0 leaves a block out",
        ge=0,
        le=100,
        kohya=("block_lr", "down_lr_weight", "mid_lr_weight", "up_lr_weight"),
        rare=True,
    )
    force_alpha: bool = param(False, "allow an alpha above the rank, which over-fits", rare=True)
    dora: bool = param(
        False,
        "DoRA: train the magnitudes of the weights beside the update; often better at low ranks, and slower  "
        "(Liu et al. 2024, arXiv:2402.09353)",
        kohya=("dora_wd",),
    )
    dora_axis: Literal["input", "output"] = param(
        "input",
        "axis of the magnitudes: one for each input, which ComfyUI, Forge and A1111 read correctly; or one for each output, "
        "as in the paper and LyCORIS since 3.2, which they misread",
        rare=True,
    )
    rs_lora: bool = param(
        False,
        "rsLoRA: scale by alpha / √rank, so that high ranks learn as fast as low ones; files hold alpha · √rank  "
        "(Kalajdzievski 2023, arXiv:2312.03732)",
        kohya=("rs_lora",),
        rare=True,
    )

    def width(self, pointwise: bool) -> Width:
        own = "" if pointwise or not getattr(self, "conv_rank", 0) else "conv_"
        return Width.of(getattr(self, f"{own}rank"), getattr(self, f"{own}alpha"))

    def of_rank(self, rank: int, pointwise: bool) -> Width:
        """With the alpha that is set; 0 means the rank."""
        own = "" if pointwise or not getattr(self, "conv_rank", 0) else "conv_"
        return Width.of(rank, getattr(self, f"{own}alpha"))

    def layer_of(self, base: Module, width: Width) -> AdapterLayer:
        if self.rs_lora:
            width = replace(width, alpha=width.alpha * math.sqrt(width.rank))
        inner = self.layer(base, width)
        if not self.dora:
            return inner
        from lorapipe.training.adapter_layers.dora_layer import DoraLayer

        return DoraLayer(inner, on_output=self.dora_axis == "output")

    def lora_plus_of(self, role: Role) -> float:
        text = self.lora_plus_text_encoder
        return self.lora_plus if role == "denoiser" or text is None else text

    @classmethod
    def network_args(cls, settings: Mapping[str, object]) -> dict[str, str]:
        args = super().network_args(settings)
        if settings.get("dora"):
            args["wd_on_output"] = str(settings.get("dora_axis") == "output")
        return {name: value for name, value in args.items() if name != "loraplus_lr_ratio" or float(value) != 1}

    def numbers_of(self, shape: Sequence[int], width: Width) -> int:
        found = self.numbers(shape, width)
        magnitudes = shape[0 if self.dora_axis == "output" else 1]
        return found + magnitudes if found and self.dora else found

    @property
    def has_rates_of_its_own(self) -> bool:
        ratios = {1.0, self.lora_plus, self.lora_plus_text_encoder} - {None}
        return len(ratios) > 1 or len(set(self.block_rates)) > 1

    def problems(self) -> Iterator[Problem]:
        """Check that no alpha exceeds its rank, which over-fits, and that lists of alphas and ranks have one length."""
        yield from super().problems()
        for alpha, rank in (("alpha", "rank"), ("conv_alpha", "conv_rank")):
            if hasattr(self, rank):
                yield from self._too_strong(alpha, getattr(self, alpha), rank, getattr(self, rank))
        if own := [rank for rank in self.module_ranks.values() if rank]:
            yield from self._too_strong("alpha", getattr(self, "alpha", 0.0), "the lowest of module_ranks,", min(own))
        for alphas, ranks in (("block_alphas", "block_ranks"), ("conv_block_alphas", "conv_block_ranks")):
            if hasattr(self, ranks):
                yield from self._by_block(alphas, ranks)

    def _by_block(self, alphas: str, ranks: str) -> Iterator[Problem]:
        given: tuple[float, ...] = getattr(self, alphas)
        wide: tuple[int, ...] = getattr(self, ranks)
        if given and len(given) != len(wide):
            what = f"{len(given)} numbers, but {ranks} has {len(wide)}."
            yield Problem(what, cure=f"Give both for every block, or take {alphas} away.", path=(alphas,))
        elif given:
            for place, (alpha, rank) in enumerate(zip(given, wide, strict=True)):
                yield from self._too_strong(alphas, alpha, f"the rank of block {place},", rank)
        elif wide and (narrow := [rank for rank in wide if rank]):
            name = "conv_alpha" if ranks.startswith("conv_") else "alpha"
            yield from self._too_strong(name, getattr(self, name), f"the lowest of {ranks},", min(narrow))

    def _too_strong(self, alpha: str, strength: float, rank: str, width: int) -> Iterator[Problem]:
        if width and strength > width and not self.force_alpha:
            what = f"{strength:g} is above {rank} {width}, which over-fits."
            cure = f"Use at most {width}, or a higher learning rate, which has the same effect; or force_alpha: true."
            yield Problem(what, cure=cure, path=(alpha,))
