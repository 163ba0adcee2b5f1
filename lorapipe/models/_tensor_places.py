"""Find each tensor of a base in its files, from headers and configurations alone, without torch.

The inverse of `_weight_files`: module's tensor → file, key, and for OpenCLIP's layout the rows of a stacked tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.models import TensorPlace
from lorapipe.models._diffusers_folder import weights_in
from lorapipe.models._ldm_names import open_clip_name
from lorapipe.models._missing_tensors import Wanted, in_folder, in_ldm_file, shapes_of, text_in_ldm_file
from lorapipe.models._model_detection import UNET, VAE
from lorapipe.models._tensor_index import Shape, keys_of

if TYPE_CHECKING:
    from lorapipe.models._weight_files import TextPart

STACKED = ("q_proj", "k_proj", "v_proj")
"""Layers whose tensors OpenCLIP's layout stacks in one, in this order."""
Places = dict[tuple[str, str], TensorPlace]


def in_file(path: Path, texts: Sequence[TextPart], configs: Mapping[str, Mapping[str, Any]]) -> Places:
    """Return (part, tensor name) → place in a single file of LDM's layout; `configs` are the parts' configurations."""
    keys, found = keys_of(path), Places()
    for part, start in (("unet", UNET), ("vae", VAE)):
        shapes = shapes_of(texts, part, configs[part]) or {}
        found |= _found(path, part, shapes, in_ldm_file(part, configs[part], shapes, start), keys)
    for text in texts:
        shapes = shapes_of(texts, text.name, configs[text.name]) or {}
        if text.open_clip:
            found |= _open_clip(path, text, shapes, keys)
        else:
            found |= _found(path, text.name, shapes, text_in_ldm_file(text, shapes), keys)
    return found


def in_parts(root: Path, texts: Sequence[TextPart], configs: Mapping[str, Mapping[str, Any]]) -> Places:
    """Return the same of a diffusers folder."""
    found = Places()
    for part, config in configs.items():
        shapes = shapes_of(texts, part, config) or {}
        for file in weights_in(root / part):
            found |= _found(file, part, shapes, in_folder(part, shapes), keys_of(file))
    return found


def _found(
    path: Path, part: str, shapes: Mapping[str, Shape], wanted: Iterable[Wanted], keys: Mapping[str, Shape]
) -> Places:
    places = Places()
    for name, (names, _) in zip(shapes, wanted, strict=True):
        if (key := next((each for each in names if each in keys), None)) is not None:
            places[part, name] = TensorPlace(path, key)
    return places


def _open_clip(path: Path, text: TextPart, shapes: Mapping[str, Shape], keys: Mapping[str, Shape]) -> Places:
    places = Places()
    for name in shapes:
        layer = next((each for each in STACKED if f".{each}." in name), "")
        key = text.prefix + open_clip_name(name)
        if key in keys:
            index, of = (STACKED.index(layer), len(STACKED)) if layer else (0, 1)
            places[text.name, name] = TensorPlace(path, key, index, of, is_transposed=name == "text_projection.weight")
    return places
