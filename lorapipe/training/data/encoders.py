"""The base model's encoders (VAE and text encoders), and the digests that identify them in cache keys.

A cache key contains the digest of the encoder's weights, not of the checkpoint, so a hundred merges with the same VAE
share its latents. Hashing needs the part in memory and takes 0.3–0.5 s for SD1.5's VAE. It is done once for each
checkpoint: the digest is cached under the sizes and modification times of the checkpoint's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lorapipe.models import TextReading
from lorapipe.spec import Source, Spec, knobs, to_dict
from lorapipe.training.data.cache import Cache, key_of

if TYPE_CHECKING:
    import torch

    Condition = Mapping[str, torch.Tensor]


class Encoders(Protocol):
    """The part of a family's `Model` that encoding uses."""

    device: torch.device
    text_encoders: tuple[str, ...]
    settings_folders: tuple[str, ...]

    def part(self, name: str) -> torch.nn.Module: ...
    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor: ...
    def encode_text(self, captions: Sequence[str], reading: TextReading) -> Condition: ...


PICTURE_PARTS = ("vae",)
"""Parts that encode pictures."""


def encoder_digest(base: Spec, parts: Sequence[str], dtype: str, cache: Cache, load: Callable[[], Encoders]) -> str:
    """Return a digest of the weights (as `dtype`: fp32, fp16 or bf16) and settings of the named parts of a base.

    `base` is a `Family`. `load` is called only if the digest of its files is not cached. Call it before an adapter is
    attached.
    """
    files = _files(base)
    stats = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memo = key_of("encoder", to_dict(base), stats, list(parts), dtype)
    if isinstance(known := cache.record("encoders", memo), str):
        return known
    digest, model = hashlib.sha256(), load()
    for file in files:
        if file.suffix in (".json", ".txt") and file.parent.name in model.settings_folders:
            digest.update(file.read_bytes())
    for part in parts:
        _hash_weights(model.part(part), digest)
    cache.keep_record("encoders", memo, digest.hexdigest())
    return digest.hexdigest()


def _files(base: Spec) -> list[Path]:
    """Return all files of a base: the checkpoint, and a separate VAE or settings if given."""
    values = (getattr(base, knob.name) for knob in knobs(type(base)))
    roots = [value.path for value in values if isinstance(value, Source)]
    inside = (sorted(root.rglob("*")) if root.is_dir() else [root] for root in roots)
    return [file for files in inside for file in files if file.is_file()]


def _hash_weights(module: torch.nn.Module, digest: Any) -> None:
    import torch

    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
