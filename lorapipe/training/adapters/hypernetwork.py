"""Hypernetworks as A1111 trains them: small networks transform the context of cross-attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import Problem
from lorapipe.spec import param
from lorapipe.training.adapters import Adapter, Attached

if TYPE_CHECKING:
    import torch

    from lorapipe.models import Footprint, Model

LATENT, CAPTION = 8**2, 77 / 512**2
"""Pixels of a latent, and tokens of a caption per pixel of a picture of 512 px."""
KEPT = {"leakyrelu": 1, "elu": 1, "mish": 1, "swish": 1, "softsign": 2}
"""How many tensors an activation keeps, besides the one that the next layer keeps anyhow."""
SPREAD = 0.01
"""Standard deviation of initial weights: A1111's `Normal`."""


@dataclass(frozen=True)
class Hypernetwork(Adapter):
    """net(x) = x + strength · f(x) on attention's context: for each width one network for keys and one for values.

    After stable-diffusion-webui's `hypernetwork.py` (2022). An old method, for styles: a LoRA learns more with fewer
    parameters. The last layer starts at zero, so training starts from the unchanged base.
    """

    search_words: ClassVar[tuple[str, ...]] = ("train hypernetwork",)
    trains: ClassVar[tuple[str, ...]] = ("denoiser",)
    has_norms: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("a1111",)

    structure: tuple[float, ...] = param(
        (1, 2, 1),
        "widths of the layers as multiples of the context's; begins and ends with 1",
        gt=0,
        le=16,
        min_items=2,
    )
    activation: Literal["linear", "relu", "leakyrelu", "elu", "tanh", "sigmoid", "softsign", "mish", "swish"] = param(
        "linear",
        "activation between the layers; linear means none and is the most stable; relu, swish and mish are common",
    )
    layer_norm: bool = param(False, "LayerNorm after each layer: more stable, and slower to learn")
    dropout: float = param(0.0, "chance of each activation between layers to be zeroed in training", ge=0, lt=1)

    def size(self, footprint: Footprint, parts: Sequence[str]) -> int:
        from lorapipe.training.adapter_layers.context_sites import sites

        if footprint.denoiser not in parts:
            return 0
        return sum(2 * self._numbers(width) for width in {width for _, width, _ in sites(footprint)})

    def activations(self, footprint: Footprint, parts: Sequence[str]) -> float:
        from lorapipe.training.adapter_layers.context_sites import sites

        if footprint.denoiser not in parts:
            return 0.0
        strides = {ref.path: ref.stride for ref in footprint.modules(footprint.denoiser)}
        tokens = {path: 1 / (LATENT * stride**2) if stride else CAPTION for path, stride in strides.items()}
        return sum(tokens[path] * self._kept(width) for path, width, _ in sites(footprint))

    def _kept(self, width: int) -> float:
        """Return the bytes that one network keeps for each token of a context: in fp32, what its layers were given."""
        found = float(width)
        for place, share in enumerate(self.structure[1:], start=2):
            out, is_last = int(width * share), place == len(self.structure)
            found += out * (not is_last)  # what the next layer is given
            found += out * KEPT.get(self.activation, 0) * (not is_last or self._activates_output)
            found += out * self.layer_norm  # what LayerNorm is given
            found += out / 4 * bool(self.dropout and not is_last)  # a mask of bytes
        return 4 * found

    def _numbers(self, width: int) -> int:
        """Count the parameters of one network for contexts of this width."""
        sides = [int(width * share) for share in self.structure]
        return sum(out * (inside + (3 if self.layer_norm else 1)) for inside, out in pairwise(sides))

    def attach(self, model: Model, parts: Sequence[str], seed: int = 0) -> Attached:
        from lorapipe.training.adapter_layers.context_sites import KINDS, sites
        from lorapipe.training.adapter_layers.host import generator
        from lorapipe.training.adapter_layers.hypernetwork_nets import ContextNet, HypernetworkAttached

        nets = {}
        for width in sorted({width for _, width, _ in sites(model)}):
            for which, kind in enumerate(KINDS):
                layers = [*self._initial(width, generator(seed, f"hypernetwork.{width}.{kind}"))]
                nets[width, which] = ContextNet(layers, self.activation, self._activates_output, self.dropout)
        return HypernetworkAttached(model, nets, self.activation, self._activates_output)

    @property
    def _activates_output(self) -> bool:
        """Whether the activation follows the last layer too.

        With LayerNorm it must: ComfyUI applies it there whatever the file says (`load_hypernetwork_patch`); A1111 and Forge
        read the file's `activate_output`.
        """
        return self.layer_norm and self.activation != "linear"

    def _initial(self, width: int, draw: torch.Generator) -> Iterator[torch.nn.Module]:
        """Yield the initialised layers of one network for contexts of this width."""
        import torch
        from torch import nn

        sides = [int(width * share) for share in self.structure]
        for place, (inside, out) in enumerate(pairwise(sides), start=2):
            is_last = place == len(sides)
            linear = nn.Linear(inside, out)
            nn.init.zeros_(linear.bias)
            drawn = torch.randn(linear.weight.shape, generator=draw) * SPREAD
            linear.weight.data.copy_(drawn * (not is_last or self.layer_norm))
            yield linear
            if self.layer_norm:
                norm = nn.LayerNorm(out)
                if is_last:
                    nn.init.zeros_(norm.weight)
                yield norm

    def problems(self) -> Iterator[Problem]:
        """Check that output and input have the same width."""
        if self.structure[0] != 1 or self.structure[-1] != 1:
            what = "its networks must begin and end at the width of the context."
            yield Problem(what, cure="Write 1 as the first and the last: [1, 2, 1].", path=("structure",))
