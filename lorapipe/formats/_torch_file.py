"""Reads `torch.save` files, in which A1111 and early diffusers wrote embeddings, without unpickling them."""

from __future__ import annotations

import json
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.file_signatures import kind_of
from lorapipe.formats._hypernetwork import SETTINGS
from lorapipe.formats._weights import Stored
from lorapipe.regular_files import open_regular

ENDINGS = (".pt", ".bin", ".pth", ".ckpt")


def is_one(path: Path) -> bool:
    """Return whether a path is a `torch.save` file, by its extension and first bytes."""
    if path.suffix.lower() not in ENDINGS:
        return False
    try:
        with open_regular(path) as file:
            return kind_of(file.read(64)) in ("zip", "pickle")
    except OSError:
        return False


def read(path: Path) -> Stored:
    """Read a file's tensors; `InputError` where it is damaged, or its pickle needs anything but tensors."""
    from lorapipe.models._tensor_index import settings_of
    from lorapipe.models._weight_files import read_tensors

    tensors = {key: tensor.clone() for key, tensor in read_tensors(path).items()}
    is_network = any(key.startswith(f"{SETTINGS}.") for key in tensors)
    return Stored(tensors, {SETTINGS: json.dumps(settings_of(path))} if is_network else {})


def keys(path: Path) -> list[str]:
    """Return the keys of a file's tensors, without torch."""
    from lorapipe.models._tensor_index import keys_of

    if found := [*keys_of(path)]:
        return found
    raise InputError("holds no tensors.", cure="Is it the right file?")
