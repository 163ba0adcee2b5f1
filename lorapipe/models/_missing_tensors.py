"""Find tensors of a base's part that a file lacks, from the part's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lorapipe.errors import Problem
from lorapipe.models import _tensor_shapes
from lorapipe.models._ldm_names import older_vae_name, open_clip_name, unet_name, vae_name
from lorapipe.models._tensor_index import Shape, flat
from lorapipe.models._weight_files import TOP

if TYPE_CHECKING:
    from lorapipe.models._weight_files import TextPart

Keys = Mapping[str, Shape]
Wanted = tuple[tuple[str, ...], Shape]
"""The possible names of a tensor in a file, and its shape."""
CALLED = {"unet": "U-Net", "vae": "VAE", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}
ODD_CONFIGURATION = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError)
"""Exceptions that reading a configuration with impossible values may raise."""
OTHER = "The file is incomplete or of another kind of model."
SMALLER = f"{OTHER} A smaller variant of the family needs config: FOLDER, with its diffusers folder."


def shapes_of(texts: Sequence[TextPart], part: str, config: Mapping[str, Any]) -> Mapping[str, Shape] | None:
    """Return a part's tensors and shapes from its configuration; None if that has unknown features."""
    if part == "unet":
        return _tensor_shapes.unet(config)
    if part == "vae":
        return _tensor_shapes.vae(config)
    return _tensor_shapes.text(config, next(text.projected for text in texts if text.name == part))


def in_folder(part: str, shapes: Mapping[str, Shape]) -> Iterator[Wanted]:
    """Yield the tensors with their names in a part's folder, of current and earlier versions."""
    for key, shape in shapes.items():
        other = older_vae_name(key) if part == "vae" else f"{TOP}{key}"
        yield ((key,) if part == "unet" else (key, other)), shape


def in_ldm_file(part: str, config: Mapping[str, Any], shapes: Mapping[str, Shape], start: str) -> Iterator[Wanted]:
    """Yield the tensors of a U-Net or VAE with their names in a single file; `start` is the names' prefix."""
    whole = {**(_tensor_shapes.UNET if part == "unet" else _tensor_shapes.VAE), **config}
    attentions = ["CrossAttn" in kind for kind in whole["up_block_types"]]
    for key, shape in shapes.items():
        if part == "unet":
            yield (start + unet_name(key, whole["layers_per_block"], attentions),), shape
        else:
            yield (start + vae_name(key, len(whole["block_out_channels"])),), shape


def text_in_ldm_file(text: TextPart, shapes: Mapping[str, Shape]) -> Iterator[Wanted]:
    """Yield the tensors of a text encoder with their names in a single file, transformers' or OpenCLIP's."""
    for key, shape in shapes.items():
        if not text.open_clip:
            yield (f"{text.prefix}text_model.{key}", f"{text.prefix}{key}"), shape
        elif ".q_proj." in key:
            yield (text.prefix + open_clip_name(key),), (3 * shape[0], *shape[1:])
        elif ".k_proj." not in key and ".v_proj." not in key:
            transposed = shape[::-1] if key == "text_projection.weight" else shape
            yield (text.prefix + open_clip_name(key),), transposed


def misfits(part: str, wanted: Iterable[Wanted], keys: Keys, cure: str = OTHER) -> Iterator[Problem]:
    """Yield at most one problem about a part's missing tensors or different shapes."""
    missing, other, count = list[str](), list[str](), 0
    for names, shape in wanted:
        count += 1
        found = next((name for name in names if name in keys), None)
        if found is None:
            missing.append(names[0])
        elif flat(keys[found]) != flat(shape):
            other.append(f"{found} is {_sized(keys[found])} and should be {_sized(shape)}")
    yield from _described(part, missing, other, count, cure)


def _described(part: str, missing: Sequence[str], other: Sequence[str], count: int, cure: str) -> Iterator[Problem]:
    whose = f"its {CALLED[part]}" if part else "it"
    if part and missing and len(missing) == count:
        yield Problem(f"{whose} is missing.", cure=cure)
    elif missing:
        yield Problem(f"{whose} lacks {len(missing)} of {count} tensors, such as {missing[0]}.", cure=cure)
    elif other:
        more = f" (and {len(other) - 1} more)" if other[1:] else ""
        yield Problem(f"{whose} does not fit its configuration: {other[0]}{more}.", cure=cure)


def _sized(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a number"
