"""PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`, which `PeftModel.from_pretrained` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights, Format, Names, NameTable, Place, Stored, _peft_modules
from lorapipe.formats._key_scheme import suffix_table
from lorapipe.formats._peft_config import FILE, TENSORS, alpha_of, made_of, parse
from lorapipe.formats._peft_modules import ADAPTER_NAME, WRAPPER
from lorapipe.formats._safetensors_file import read as read_file
from lorapipe.formats.algorithms import Algorithm
from lorapipe.regular_files import open_regular

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Peft(Format):
    """A folder for the trained part; where several parts were trained, a subfolder for each: `unet/`, `text_encoder/`.

    The layout of PEFT's own DreamBooth example. Keys are `base_model.model.….lora_A.weight`; alpha is in the settings.
    """

    ending: ClassVar[str] = ""
    alphas: ClassVar[Literal["tensors", "settings", "folded"]] = "settings"

    def split(self, key: str) -> tuple[str, str] | None:
        part, _, inner = key.rpartition("/")
        if not inner.startswith(WRAPPER):
            return None
        inner = ADAPTER_NAME.sub("", inner.removeprefix(WRAPPER))
        for theirs, suffix in suffix_table("peft_keys").items():
            if inner.endswith(f".{theirs}"):
                return f"{part}/{inner.removesuffix(f'.{theirs}')}", suffix
        return None

    def place(self, module: str, table: NameTable) -> Place | None:
        part, _, path = module.rpartition("/")
        found = [place for each in ([part] if part else table.parts) if (place := table.find(each, path)) is not None]
        if len(found) > 1:
            parts = " or ".join(place[0] for place in found)
            raise InputError(
                f"may be of {parts}: both have {path}.", cure=f"Put it into a folder called {found[0][0]}."
            )
        return found[0] if found else None

    def key(self, place: Place, suffix: str, table: NameTable) -> str:
        return f"{WRAPPER}{place[1]}.{suffix}"

    def suffixes(self, algorithm: Algorithm) -> Mapping[str, str]:
        return algorithm.peft_keys if algorithm.peft_writes else {}

    def alpha(self, module: str, usual: float, stored: Stored) -> float:
        part, _, path = module.rpartition("/")
        return alpha_of(parse(stored.texts[part]), path, usual)

    def files(self, weights: AdapterWeights, names: Names) -> Mapping[str, Stored]:
        if weights.hypernetwork is not None:
            self.hypernetwork_tensors(weights.hypernetwork)
        found: dict[str, Stored] = {}
        for word, vectors in weights.embeddings.items():
            self.embedding_keys(word, [*vectors], bundled=bool(weights.modules))
        for part in weights.parts:
            of_part = AdapterWeights({place: each for place, each in weights.modules.items() if place[0] == part})
            if len(of_part.algorithms) > 1:
                raise InputError(f"{part} has several kinds of adapter: {', '.join(of_part.algorithms)}.")
            config = made_of(of_part, {place: place[1] for place in of_part.modules})
            folder = f"{part}/" if len(weights.parts) > 1 else ""
            text = json.dumps(config, indent=2, sort_keys=True) + "\n"
            tensors, precise = _peft_modules.written(of_part)
            found[f"{folder}{TENSORS}"] = Stored(tensors, texts={FILE: text}, precise=precise)
        return found

    def holds(self, path: Path) -> bool:
        return bool(_texts(path))

    def read(self, path: Path) -> Stored | None:
        texts, tensors = _texts(path), dict[str, "Tensor"]()
        for part, inner in _folders(path):
            of_part = _peft_modules.spelt_out(parse(texts[part]), read_file(inner / TENSORS).tensors)
            tensors |= {f"{part}/{key}": tensor for key, tensor in of_part.items()}
        return Stored(tensors, texts=texts) if texts else None


def _texts(path: Path) -> dict[str, str]:
    """Return part → text of its settings; `InputError` where they are invalid."""
    found: dict[str, str] = {}
    for part, folder in _folders(path):
        with open_regular(folder / FILE) as file:
            found[part] = file.read().decode("utf-8", "replace")
        parse(found[part])
    return found


def _folders(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield (part, folder) for a folder or its tensors' file; the part is empty where no folder is named after it."""
    folder = path.parent if path.name == TENSORS and (path.parent / FILE).is_file() else path
    if (folder / FILE).is_file():
        yield "", folder
    elif folder.is_dir():
        yield from ((each.name, each) for each in sorted(folder.iterdir()) if (each / FILE).is_file())
