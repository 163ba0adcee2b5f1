"""The cache of latents and masks: each view of a picture is encoded by the VAE once.

The VAE is frozen, so a view's latents are constant during training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lorapipe.errors import LorapipeError
from lorapipe.training.data.augment import fit_of, shown
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.encoders import Encoders
from lorapipe.training.data.image_reader import Unreadable, quiet, reading
from lorapipe.training.data.images import RECIPE, Colour, to_pixels, view
from lorapipe.training.data.manifest import Picture, Variant
from lorapipe.training.data.masks import mask_of
from lorapipe.training.data.prefetch import prefetched

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

COLOURING = 1
"""Bump when colour augmentation changes."""


@dataclass(frozen=True)
class Scene:
    """The folders of a dataset's pictures and masks, and the colour behind transparent pictures."""

    images: Path
    background: Colour
    masks: Path | None = None


class View(NamedTuple):
    """A picture in one of its variants."""

    picture: Picture
    variant: Variant

    @property
    def corner(self) -> Pair:
        """(left, top) of the crop in the scaled picture, which is mirrored first if the variant is."""
        (left, top), width = self.variant.crop, self.picture.bucket[0]
        return (self.variant.resized[0] - width - left, top) if self.variant.flip else (left, top)


def views_of(pictures: Sequence[Picture]) -> list[View]:
    """Return all views of the pictures, the plain one first; of held-out pictures only the plain one."""

    def variants(picture: Picture) -> Iterable[Variant]:
        return dict.fromkeys((picture.plain, *(() if picture.held_out else picture.variants)))

    return [View(picture, variant) for picture in pictures for variant in variants(picture)]


def latents_key(picture: Picture, variant: Variant, background: Colour, encoder: str) -> str:
    """Return the cache key of a view's latents: the picture's bytes, crop, background, variant, mask and encoder."""
    geometry = [variant.resized, variant.crop, picture.bucket]
    further: dict[str, Any] = {"flip": variant.flip, "colour": variant.colour and [COLOURING, variant.colour]}
    further["mask"] = picture.mask and picture.mask.digest
    options = [further] if any(further.values()) else []
    return key_of("latents", RECIPE, picture.digest, background.plain(), geometry, encoder, *options)


@contextmanager
def picture_bytes(images: Path, picture: Picture) -> Iterator[bytes]:
    """Read a picture's file from the dataset's folder `images`. `LorapipeError` if it has changed since `prepare`."""
    path, cure = images / picture.path, "Run the pipeline again; prepare will take it up."
    try:
        with reading(path) as data:
            if hashlib.sha256(data).hexdigest() != picture.digest:
                raise LorapipeError("this picture was changed since it was prepared.", where=str(path), cure=cure)
            yield data
    except Unreadable as reason:
        raise LorapipeError(f"this picture: {reason}.", where=str(path), cure=cure) from None


def picture_view(images: Path, picture: Picture, background: Colour) -> Image:
    """Return the part of a picture that the trainer sees: RGB, of its bucket's size."""
    with picture_bytes(images, picture) as data:
        return view(data, picture.fit, background)


def missing_latents(pictures: Sequence[Picture], cache: Cache) -> list[View]:
    """Return the views whose latents are missing from the cache or damaged."""
    found = {view.variant.latents: view for view in views_of(pictures)}
    return [view for key, view in found.items() if cache.tensors("latents", key) is None]


def encode_latents(missing: Sequence[View], scene: Scene, model: Encoders, cache: Cache) -> Iterator[View]:
    """Encode views and their masks into the cache under their `latents` keys; yield each when it is done.

    Threads read, decode and resize ahead of the encoder. Pictures are encoded one at a time: batches gain nothing on a CPU
    and little on a GPU, and a picture's latents must not depend on which others were missing.
    """
    import torch
    from torch.nn.functional import interpolate

    with quiet(), torch.no_grad():
        decoded = prefetched(lambda each: _decode(each, scene), missing)
        for each, (pixels, mask) in zip(missing, decoded, strict=True):
            latents = model.encode_images(pixels.to(model.device)).float().cpu()
            if not torch.isfinite(latents).all():
                cure = "The VAE in this checkpoint is damaged or overflows; give the base another one."
                raise LorapipeError("the VAE encodes this picture to NaN.", where=each.picture.path, cure=cure)
            entry = {"latents": latents[0]}
            if mask is not None:
                entry["mask"] = interpolate(mask, latents.shape[2:], mode="area")[0]
            cache.keep_tensors("latents", each.variant.latents, entry)
            yield each


def _decode(each: View, scene: Scene) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the pixels (1, 3, H, W) in −1 … 1, and the mask (1, 1, H, W) in 0 … 1 if there is one."""
    picture, variant = each
    fit = fit_of(picture, variant)
    with picture_bytes(scene.images, picture) as data:
        pixels = to_pixels(shown(view(data, fit, scene.background), variant))
        if picture.mask is None:
            return pixels, None
        mask = mask_of(picture, data, scene.masks, fit)
    return pixels, (to_pixels(shown(mask.convert("RGB"), replace(variant, colour=0)))[:, :1] + 1) / 2


def load_latents(pictures: Sequence[Picture], cache: Cache) -> torch.Tensor:
    """Return the scaled latents of the plain views of pictures of one bucket: (B, C, h, w), float32, on the CPU."""
    return load_views([View(picture, picture.plain) for picture in pictures], cache)[0]


def load_views(chosen: Sequence[View], cache: Cache) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the latents (B, C, h, w) of views of one bucket, and their masks (B, 1, h, w) if any has one."""
    import torch

    found = [cache.require("latents", variant.latents, picture.path) for picture, variant in chosen]
    latents = torch.stack([tensors["latents"] for tensors in found])
    if not any("mask" in tensors for tensors in found):
        return latents, None
    everywhere = torch.ones(1, *latents.shape[2:])
    return latents, torch.stack([tensors.get("mask", everywhere) for tensors in found])
