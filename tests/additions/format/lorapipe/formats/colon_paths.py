"""A format of the tests' own: diffusers' paths with kohya's suffixes."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.formats import Format, NameTable, Place
from lorapipe.formats._key_scheme import ALPHA, suffix_table


@dataclass(frozen=True)
class ColonPaths(Format):
    """`lora:unet:down_blocks.0.….lora_down.weight`, `.lora_up.weight`, `.alpha`."""

    def split(self, key: str) -> tuple[str, str] | None:
        for suffix in sorted((ALPHA, *suffix_table()), key=len, reverse=True):  # some end as others do: `weight`
            if key.startswith("lora:") and key.endswith(f".{suffix}"):
                return key.removesuffix(f".{suffix}"), suffix
        return None

    def place(self, module: str, table: NameTable) -> Place | None:
        _, _, place = module.partition(":")
        part, _, path = place.partition(":")
        return table.find(part, path)

    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        return f"lora:{place[0]}:{place[1]}.{suffix}"
