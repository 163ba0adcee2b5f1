"""kohya's keys, which ComfyUI, A1111, Forge and diffusers all load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorapipe.formats import Format, Hypernetwork, NameTable, Place
from lorapipe.formats._embeddings import kohya_keys
from lorapipe.formats._key_scheme import ALPHA, suffix_table

OFT_PREFIX = re.compile(r"^oft_unet_")
"""Prefix of sd-scripts' `networks/oft.py` in place of `lora_unet_`."""

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Kohya(Format):
    """`lora_unet_….lora_down.weight`, `.lora_up.weight`, `.alpha`; module names in diffusers' style.

    The keys of sd-scripts (`networks/lora.py`) and LyCORIS. A missing alpha means the rank, as in kohya's own loader; every
    module is written with its alpha, since other programs read a missing one differently.
    """

    def split(self, key: str) -> tuple[str, str] | None:
        name, _, suffix = key.partition(".")
        return (name, suffix) if suffix == ALPHA or suffix in suffix_table() else None

    def place(self, module: str, table: NameTable) -> Place | None:
        return table.names.get(OFT_PREFIX.sub("lora_unet_", module))

    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        return f"{table.written[place]}.{suffix}"

    def embedding_keys(self, word: str, encoders: Sequence[str], bundled: bool) -> dict[str, str]:
        return kohya_keys(word, encoders, bundled)

    def hypernetwork_tensors(self, weights: Hypernetwork) -> dict[str, Tensor]:
        """Return our own keys, for snapshots; other programs read A1111's file."""
        return weights.tensors()
