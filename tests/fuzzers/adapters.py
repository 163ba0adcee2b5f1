"""LoRA files with keys lost, doubled and renamed, tensors of other shapes and kinds, headers and bytes damaged."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from corpus.adapters import PATHS, SPELLINGS, STRANGE, Tensors, lora, renamed, write

from lorapipe.errors import InputError
from lorapipe.formats import complaints
from lorapipe.formats import open as load
from lorapipe.pipeline.delivery_log import is_as_exported

CASES = 150
DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.int64,
    torch.float8_e4m3fn,
)
SIDES = (0, 1, 2, 4, 7, 8)


def _drop(tensors: Tensors, draw: random.Random) -> None:
    del tensors[draw.choice([*tensors])]


def _rename(tensors: Tensors, draw: random.Random) -> None:
    key = draw.choice([*tensors])
    tensors[draw.choice([f"{key}x", key.replace("_", "."), key.upper(), key[1:], f"unet.{key}", ""])] = tensors.pop(key)


def _reshape(tensors: Tensors, draw: random.Random) -> None:
    tensors[draw.choice([*tensors])] = torch.ones([draw.choice(SIDES) for _ in range(draw.randrange(6))])


def _cast(tensors: Tensors, draw: random.Random) -> None:
    key = draw.choice([*tensors])
    tensors[key] = tensors[key].to(draw.choice(DTYPES))


def _spoil(tensors: Tensors, draw: random.Random) -> None:
    key = draw.choice([*tensors])
    tensors[key] = torch.full_like(tensors[key].float(), draw.choice([float("nan"), float("inf"), -0.0, 1e38]))


def _add(tensors: Tensors, draw: random.Random) -> None:
    tensors.update(draw.choice([*STRANGE.values()])[0])


def _respell(tensors: Tensors, draw: random.Random) -> None:
    some = {key: tensor for key, tensor in tensors.items() if key.partition(".")[0] in PATHS and key.count(".") == 2}
    spelled = renamed(some, draw.choice(SPELLINGS))
    if draw.random() < 0.7:
        tensors.clear()
    tensors.update({key: tensor.clone() for key, tensor in spelled.items()})


CHANGES: tuple[Callable[[Tensors, random.Random], None], ...] = (
    _drop,
    _rename,
    _reshape,
    _cast,
    _spoil,
    _add,
    _respell,
)


def _damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes changed, cut away or put in, mostly in the header."""
    place = draw.randrange(len(data)) if draw.random() < 0.3 else draw.randrange(min(400, len(data)))
    match draw.randrange(4 if len(data) > 400 else 3):
        case 0:
            return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
        case 1:
            return data[:place]
        case 2:
            return data[:place] + draw.randbytes(draw.randrange(1, 20)) + data[place:]
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    key = draw.choice([*header])
    header[key] = draw.choice(
        [None, 1, [], {"dtype": "F32"}, {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}, header[key]]
    )
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def case(seed: int, folder: Path) -> str:
    """A file is read, and then finite and of whole modules, or refused in words that name it."""
    draw = random.Random(seed)
    tensors = lora(seed=seed)
    for _ in range(draw.randrange(4)):
        if tensors:
            draw.choice(CHANGES)(tensors, draw)
    file = write(folder, tensors)
    if draw.random() < 0.4:
        file.write_bytes(_damaged(file.read_bytes(), draw))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            list(complaints(file))
            is_as_exported(file)
            read = load(file, PATHS)
            for module in read.modules.values():
                if not bool(module.delta().isnan().any()) and module.tensors.keys() >= {"down", "up"}:
                    continue
                return f"read, but {module}"
    except InputError as error:
        words = str(error)
        return "" if str(file) in words and all(each.cure for each in error.problems) else f"poor words: {words}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
