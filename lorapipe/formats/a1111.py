"""A1111's own files of embeddings and hypernetworks: `.pt`, written with torch.save."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError
from lorapipe.formats import Format, Hypernetwork, NameTable, Place, Stored
from lorapipe.formats._embeddings import ONLY, kohya_keys
from lorapipe.formats._hypernetwork import read, sorted_keys

if TYPE_CHECKING:
    from torch import Tensor

VECTORS = "*"
NOBODYS = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}


@dataclass(frozen=True)
class A1111(Format):
    """An embedding (`string_to_param: {"*": vectors}`, the word as `name`; `clip_l`, `clip_g` for SDXL), or a hypernetwork.

    The same as `textual_inversion.py` and `hypernetwork.py` of stable-diffusion-webui save. The file is a pickle, which some
    programs refuse; all of them, A1111 included, read embeddings in kohya's format.
    """

    ending: ClassVar[str] = ".pt"
    updates: ClassVar[bool] = False

    def split(self, key: str) -> tuple[str, str] | None:
        return None

    def place(self, module: str, table: NameTable) -> Place | None:
        return None

    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        raise InputError("A1111's format has no place for an adapter.", cure="Export it in kohya's format.")

    def embedding_keys(self, word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
        if bundled:
            return super().embedding_keys(word, encoders, bundled)
        return {ONLY: VECTORS} if [*encoders] == [ONLY] else kohya_keys(word, encoders, bundled)

    def hypernetwork_tensors(self, weights: Hypernetwork) -> dict[str, Tensor]:
        return weights.tensors()

    def encode(self, stored: Stored) -> bytes:
        name, tensors = stored.metadata.get("name", ""), stored.tensors
        if (weights := read(sorted_keys([*tensors])[0], tensors, stored.metadata)) is not None:
            return _saved(weights.a1111(name or "hypernetwork"))
        if (vectors := tensors.get(VECTORS)) is None:
            return _saved(dict(tensors))
        both = {"string_to_token": {VECTORS: 265}, "string_to_param": {VECTORS: vectors}}
        return _saved({**both, "name": name, **NOBODYS})


def _saved(content: object) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
