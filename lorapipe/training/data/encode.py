"""Pictures and captions through the base model's encoders, once each, into the cache.

The encoders are frozen while they are used here, so what they say of a picture is a constant of the training.

A key names the encoder by the digest of its weights, not by the checkpoint's: a hundred merges that share one VAE share
its latents. Hashing needs the part in memory (it is about to be used) and 0.3–0.5 s for SD1.5's VAE, once for each
checkpoint: the digest is remembered under the sizes and times of the checkpoint's files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lorapipe.errors import LorapipeError
from lorapipe.spec import Source, Spec, knobs, to_dict
from lorapipe.training.data.ahead import ahead
from lorapipe.training.data.cache import Cache, key_of
from lorapipe.training.data.manifest import Manifest, Picture
from lorapipe.training.data.pictures import RECIPE, Colour, quiet, to_pixels, view

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    Condition = Mapping[str, torch.Tensor]


class Encoders(Protocol):
    """What is used of a family's `Model`."""

    device: torch.device
    trainable: tuple[str, ...]

    def part(self, name: str) -> torch.nn.Module: ...
    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor: ...
    def encode_text(self, captions: Sequence[str], *, max_tokens: int = 75, clip_skip: int = 1) -> Condition: ...


PICTURE_PARTS = ("vae",)


def text_parts(model: Encoders) -> tuple[str, ...]:
    """The parts that encode captions."""
    return tuple(name for name in model.trainable if name.startswith("text_encoder"))


# --------------------------------------------------------------------------------------------------------- encoders


def encoder_digest(base: Spec, parts: Sequence[str], dtype: str, cache: Cache, load: Callable[[], Encoders]) -> str:
    """What the named parts of a base are, held as `dtype` (fp32, fp16 or bf16): a digest of their weights and settings.

    `base` is a `Family`. `load` is only called where its files were not met before. Ask before an adapter is injected.
    """
    files = _files(base)
    stats = [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memo = key_of("encoder", to_dict(base), stats, list(parts), dtype)
    if isinstance(known := cache.record("encoders", memo), str):
        return known
    digest = hashlib.sha256()
    for file in filter(_settings, files):
        digest.update(file.read_bytes())
    model = load()
    for part in parts:
        _hash_weights(model.part(part), digest)
    cache.keep_record("encoders", memo, digest.hexdigest())
    return digest.hexdigest()


def _files(base: Spec) -> list[Path]:
    """Every file that a base is made of: the checkpoint, and a VAE or settings of its own if it has them."""
    values = (getattr(base, knob.name) for knob in knobs(type(base)))
    roots = [value.path for value in values if isinstance(value, Source)]
    inside = (sorted(root.rglob("*")) if root.is_dir() else [root] for root in roots)
    return [file for files in inside for file in files if file.is_file()]


def _settings(file: Path) -> bool:
    """Whether a file of a checkpoint folder decides, beside the weights, what encoders say: scaling, vocabulary."""
    return file.suffix in (".json", ".txt") and file.parent.name.partition("_")[0] in ("vae", "text", "tokenizer")


def _hash_weights(module: torch.nn.Module, digest: Any) -> None:
    import torch

    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))


# ---------------------------------------------------------------------------------------------------------- pictures


def latents_key(picture: Picture, background: Colour, encoder: str) -> str:
    """The key of a picture's latents: its bytes, how it is cut, what shows through it, and who encodes it."""
    geometry = [picture.resized, picture.crop, picture.bucket]
    return key_of("latents", RECIPE, picture.digest, background.plain(), geometry, encoder)


def picture_bytes(images: Path, picture: Picture) -> bytes:
    """The file of a picture, `images` being the dataset's folder; `LorapipeError` where it has changed."""
    path, cure = images / picture.path, "Run the pipeline again; prepare will take it up."
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LorapipeError(f"cannot be opened ({error.strerror}).", where=str(path), cure=cure) from None
    if hashlib.sha256(data).hexdigest() != picture.digest:
        raise LorapipeError("this picture was changed since it was prepared.", where=str(path), cure=cure)
    return data


def picture_view(images: Path, picture: Picture, background: Colour) -> Image:
    """What the trainer sees of a picture: RGB, of the size of its bucket."""
    return view(picture_bytes(images, picture), picture.fit, background)


def missing_latents(manifest: Manifest, cache: Cache) -> list[Picture]:
    """The pictures, held-out ones too, whose latents are not in the cache or are damaged."""
    return [picture for picture in manifest.pictures if cache.tensors("latents", picture.latents) is None]


def encode_latents(
    pictures: Sequence[Picture], images: Path, background: Colour, model: Encoders, cache: Cache
) -> Iterator[Picture]:
    """Encode pictures into the cache under their `latents` keys; yields each when it is done.

    Threads read, decode and resize ahead of the encoder. One picture at a time is encoded: on a CPU batches gain
    nothing, on a GPU little, and a picture's latents must not depend on which others were missing.
    """
    import torch

    def pixels(picture: Picture) -> torch.Tensor:
        return to_pixels(picture_view(images, picture, background))

    with quiet(), torch.no_grad():
        for picture, tensor in zip(pictures, ahead(pixels, pictures), strict=True):
            latents = model.encode_images(tensor.to(model.device)).float().cpu()
            if not torch.isfinite(latents).all():
                cure = "The VAE in this checkpoint is damaged or overflows; give the base another one."
                raise LorapipeError("the VAE encodes this picture to NaN.", where=picture.path, cure=cure)
            cache.keep_tensors("latents", picture.latents, {"latents": latents[0]})
            yield picture


def load_latents(pictures: Sequence[Picture], cache: Cache) -> torch.Tensor:
    """Scaled latents of pictures of one bucket, (B, C, h, w), float32, on the CPU."""
    import torch

    return torch.stack([_need(cache, "latents", p.latents, p.path)["latents"] for p in pictures])


# ---------------------------------------------------------------------------------------------------------- captions


def condition_key(caption: str, encoder: str, max_tokens: int, clip_skip: int) -> str:
    """The key of an encoded caption."""
    return key_of("text", caption, encoder, max_tokens, clip_skip)


def encode_captions(
    captions: Sequence[str], model: Encoders, encoder: str, cache: Cache, *, max_tokens: int = 75, clip_skip: int = 1
) -> Iterator[str]:
    """Encode the captions that the cache does not hold; yields each new one when it is done.

    `encoder` is the `encoder_digest` of `text_parts(model)`.
    """
    import torch

    for caption in dict.fromkeys(captions):
        key = condition_key(caption, encoder, max_tokens, clip_skip)
        if cache.tensors("text", key) is None:
            with torch.no_grad():
                condition = model.encode_text([caption], max_tokens=max_tokens, clip_skip=clip_skip)
            cache.keep_tensors("text", key, condition)
            yield caption


def load_conditions(
    captions: Sequence[str], encoder: str, cache: Cache, *, max_tokens: int = 75, clip_skip: int = 1
) -> dict[str, torch.Tensor]:
    """The condition of a batch of captions that `encode_captions` has seen, on the CPU."""
    import torch

    keys = [condition_key(caption, encoder, max_tokens, clip_skip) for caption in captions]
    found = [_need(cache, "text", key, repr(caption[:60])) for key, caption in zip(keys, captions, strict=True)]
    return {name: torch.cat([condition[name] for condition in found]) for name in found[0]}


def _need(cache: Cache, kind: str, key: str, whose: str) -> dict[str, torch.Tensor]:
    tensors = cache.tensors(kind, key)
    if tensors is None:
        cure = "It was deleted or damaged while the training ran; run the same command again."
        raise LorapipeError(f"the cache has lost the {kind} of {whose}.", where=str(cache.path(kind, key)), cure=cure)
    return tensors
