"""A1111's embeddings as its own trainer writes them: a `.pt` file of torch.save."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.errors import InputError
from lorapipe.formats import Format, NameTable, Place, Stored
from lorapipe.formats._embeddings import ONLY, kohya_keys

VECTORS = "*"


@dataclass(frozen=True)
class A1111(Format):
    """`string_to_param: {"*": vectors}` and the word as `name`; `clip_l` and `clip_g` of SDXL. Only for an embedding.

    As `textual_inversion.py` of stable-diffusion-webui saves it. It is a pickle, which some programs refuse: kohya's format
    is read by all of them, A1111 included.
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

    def encode(self, stored: Stored) -> bytes:
        import torch

        told = {
            "name": stored.metadata.get("name", ""),
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        }
        if (vectors := stored.tensors.get(VECTORS)) is None:
            content: dict[str, object] = dict(stored.tensors)
        else:
            content = {"string_to_token": {VECTORS: 265}, "string_to_param": {VECTORS: vectors}, **told}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()
