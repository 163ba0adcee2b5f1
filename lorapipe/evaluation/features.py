"""What the base itself sees in pictures: latents, and features of its denoiser. One pass of the denoiser a picture.

A denoiser that was trained on pictures knows their parts: features of an inner block match between two pictures where
both show the same thing (DIFT: Tang et al. 2023, arXiv:2306.03881, §4). So pictures can be compared without another
network, on any base. The picture is mixed with noise as far as `AT`, and the caption is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorapipe.evaluation.metrics import looks
from lorapipe.evaluation.sampler import decoded

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lorapipe.models import Condition, Model

Array: TypeAlias = NDArray[np.float32]
AT = 0.15
"""The share of noise: t ≈ 150 of 1000, within what Tang et al. (2023, appendix) and Baranchuk et al. (2022) found best."""
BATCH = 8
WIDE = 128
"""Features of a part are reduced to so many numbers by a fixed random projection, which keeps distances
(Johnson & Lindenstrauss 1984)."""
FEW_PLACES = 256
"""Where the semantic features have fewer places in a picture, a hand can be smaller than one: finer ones are read too."""
NARROW = 48
"""The same of texture, before its Gram matrix is made."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the base sees in some pictures, an entry for each in every field.

    `latents` (C · h · w) as the VAE encodes them; `patches` (P, d) unit vectors of the semantic features, one for each
    place; `fine` (Q, e) the same of smaller places, none where P is `FEW_PLACES` or more; `grams` (g,) of the shallow ones;
    `looks` (3,) noise, saturation and contrast of the pixels, see `metrics.looks`.
    """

    pictures: Sequence[Image]
    latents: Sequence[Array]
    patches: Sequence[Array]
    fine: Sequence[Array]
    grams: Sequence[Array]
    looks: Sequence[Array]

    def __len__(self) -> int:
        return len(self.pictures)

    def of(self, places: Sequence[int]) -> Seen:
        """The same of some of the pictures."""
        rows = ([getattr(self, field.name)[place] for place in places] for field in fields(self))
        return Seen(*rows)


class FeatureReader:
    """Reads features with the denoiser as it is: no adapter may be in the model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._condition: Condition | None = None

    def __call__(self, pictures: Sequence[Image]) -> Seen:
        """What the base sees in pictures; those of one size go through it together."""
        import torch

        found: dict[int, tuple[Array, ...]] = {}
        by_size: dict[tuple[int, int], list[int]] = {}
        for place, picture in enumerate(pictures):
            by_size.setdefault(picture.size, []).append(place)
        with torch.inference_mode():
            for places in by_size.values():
                for start in range(0, len(places), BATCH):
                    batch = places[start : start + BATCH]
                    found |= dict(zip(batch, self._batch([pictures[place] for place in batch]), strict=True))
        rows = [found[place] for place in range(len(pictures))]
        latents, patches, fine, grams = ([row[place] for row in rows] for place in range(4))
        return Seen(pictures, latents, patches, fine, grams, [looks(picture) for picture in pictures])

    def training(self, pictures: Sequence[Image]) -> Seen:
        """What the base sees in training pictures as its autoencoder returns them: sampled pictures come out of it too, and
        what it cannot keep would tell the two apart."""
        import torch

        with torch.inference_mode():
            known = [decoded(self.model, self.model.encode_images(_pixels(each)[None])[0]) for each in pictures]
        return replace(self(known), pictures=pictures)

    def _batch(self, pictures: Sequence[Image]) -> list[tuple[Array, ...]]:
        import torch

        model, count = self.model, len(pictures)
        clean = torch.cat([model.encode_images(_pixels(picture)[None]) for picture in pictures])
        noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(0)).to(clean)
        t = model.diffusion.at(AT).to(model.device).expand(count)
        layers = model.feature_layers
        denoiser = model.part(model.denoiser)
        with _outputs(denoiser, layers) as outputs:
            model.predict(model.diffusion.mix(clean, noise.expand_as(clean), t), t, self._empty(pictures))
        cells = clean.shape[-2] * clean.shape[-1]
        semantic = _tokens(outputs[layers.semantic], cells)
        finer = layers.fine != layers.semantic and semantic.shape[1] < FEW_PLACES
        fine = _tokens(outputs[layers.fine], cells) if finer else semantic[:, :0]
        patches, smaller = (torch.nn.functional.normalize(_reduced(each, WIDE), dim=-1) for each in (semantic, fine))
        grams = _gram(_reduced(_tokens(outputs[layers.texture], cells), NARROW))
        tensors = clean.flatten(1).float(), patches, smaller, grams
        return list(zip(*(each.cpu().numpy() for each in tensors), strict=True))

    def _empty(self, pictures: Sequence[Image]) -> Condition:
        """The empty caption for pictures of one size."""
        import torch

        if self._condition is None:
            self._condition = self.model.encode_text([""])
        size = pictures[0].size
        sizes = self.model.size_conditioning(size, (0, 0), size)
        one = {**self._condition, **{name: tensor.to(self.model.device) for name, tensor in sizes.items()}}
        return {name: torch.cat([tensor] * len(pictures)) for name, tensor in one.items()}


def _pixels(picture: Image) -> Tensor:
    import torch

    levels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(levels).permute(2, 0, 1)


@contextmanager
def _outputs(denoiser: Any, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What the modules at these paths give, while the context lasts."""
    found: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            found[path] = output

        return denoiser.get_submodule(path).register_forward_hook(hook)

    handles = [keep(path) for path in dict.fromkeys(paths)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tokens(output: Any, cells: int) -> Tensor:
    """A block's output as (B, P, C), float32: maps are flattened; of several outputs, that of the picture is taken.

    A transformer block that also carries the caption's tokens gives both: the picture has as many tokens as the latents
    have places, or a quarter of them where patches are 2 × 2.
    """
    several = output if isinstance(output, (tuple, list)) else (output,)
    tensors = [each for each in several if hasattr(each, "dim") and each.dim() in (3, 4)]
    maps = [each for each in tensors if each.dim() == 4]
    if maps:
        return maps[0].flatten(2).transpose(1, 2).float()
    fitting = [each for each in tensors if each.shape[1] in (cells, cells // 4, cells // 16)]
    return (fitting or tensors)[-1].float()


def _reduced(tokens: Tensor, width: int) -> Tensor:
    """(B, P, C) → (B, P, width) by a fixed random projection, where C is larger."""
    import torch

    inner = tokens.shape[-1]
    if inner <= width:
        return tokens
    projection = torch.randn((inner, width), generator=torch.Generator().manual_seed(inner)).to(tokens)
    return tokens @ projection / width**0.5


def _gram(tokens: Tensor) -> Tensor:
    """(B, C (C + 1) / 2): products of features over all places, and their means (Gatys et al. 2016, eq. 3)."""
    import torch

    whole = torch.cat([tokens, torch.ones_like(tokens[..., :1])], dim=-1)
    gram = whole.transpose(1, 2) @ whole / tokens.shape[1]
    rows, columns = torch.triu_indices(whole.shape[-1], whole.shape[-1])
    return gram[:, rows, columns]
