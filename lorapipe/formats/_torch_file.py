"""A file of torch.save with what was learnt, as A1111 and diffusers once wrote embeddings: read without unpickling it."""

from __future__ import annotations

import json
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.file_signatures import kind_of
from lorapipe.formats._hypernetwork import SETTINGS
from lorapipe.formats._weights import Stored
from lorapipe.regular_files import open_regular

ENDINGS = (".pt", ".bin", ".pth")


def is_one(path: Path) -> bool:
    """Whether a path is such a file, by its name and its first bytes."""
    if path.suffix.lower() not in ENDINGS:
        return False
    try:
        with open_regular(path) as file:
            return kind_of(file.read(64)) in ("zip", "pickle")
    except OSError:
        return False


def read(path: Path) -> Stored:
    """The tensors of a file; `InputError` where it is damaged, or asks for anything that tensors do not need."""
    from lorapipe.models._tensor_index import settings_of
    from lorapipe.models._weight_files import read_tensors

    tensors = {key: tensor.clone() for key, tensor in read_tensors(path).items()}
    is_network = any(key.startswith(f"{SETTINGS}.") for key in tensors)
    return Stored(tensors, {SETTINGS: json.dumps(settings_of(path))} if is_network else {})


def keys(path: Path) -> list[str]:
    """The keys of its tensors; light, and without torch."""
    from lorapipe.models._tensor_index import keys_of

    if found := [*keys_of(path)]:
        return found
    raise InputError("holds no tensors.", cure="Is it the right file?")
