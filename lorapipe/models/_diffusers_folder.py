"""Find weights, configurations and vocabularies in a diffusers folder, without torch.

Weights are one file or shards, with or without an index, of any variant (`model.fp16.safetensors`). Files without a variant
and safetensors files are preferred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.models._tensor_index import Shape, keys_of

MOST_JSON = 32 << 20
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = ("safetensors", "bin", "ckpt", "pt", "pth")
VARIANTS = ("", "fp32", "fp16", "bf16")
"""Order of preference; other variants follow by name."""
WEIGHTS = re.compile(
    rf"(?P<stem>{'|'.join(STEMS)})(?:\.(?P<variant>[\w-]+?))?(?:-(?P<shard>\d{{1,5}})-of-(?P<of>\d{{1,5}}))?"
    rf"(?:\.(?P<late>[\w-]+))?\.(?P<ending>{'|'.join(ENDINGS)})",
    re.IGNORECASE,
)
COPY = "Copy the model again, with all its files."


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. `InputError` if it is damaged."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError("it is larger than any configuration")
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.", where=str(path), cure=COPY) from error
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:100]
        raise InputError(f"is not a readable configuration ({reason}).", where=str(path), cure=COPY) from error
    return data


def weights_in(folder: Path) -> tuple[Path, ...]:
    """Return the file with a part's weights, or its shards in order. `InputError` if some or all are missing."""
    choices: dict[tuple[bool, int, str, int], list[re.Match[str]]] = {}
    names = _names(folder)
    for found in filter(None, map(WEIGHTS.fullmatch, names)):
        choices.setdefault(_preference(found), []).append(found)
    if not choices:
        raise InputError(_nothing(names), where=str(folder), cure=COPY)
    chosen = choices[min(choices)]
    if not chosen[0]["shard"]:
        return (folder / chosen[0][0],)
    there = {found[0] for found in chosen}
    if missing := [name for name in _shards(folder, chosen, names) if name not in there]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"lacks {missing[0]}{more}: its weights are in parts.", where=str(folder), cure=COPY)
    return tuple(folder / name for name in sorted(there))


def _preference(found: re.Match[str]) -> tuple[bool, int, str, int]:
    """Return a sort key: of several sets of weights the least is taken."""
    variant = (found["variant"] or found["late"] or "").lower()
    rank = VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS)
    pickled = found["ending"].lower() != "safetensors"
    return pickled, rank, variant, STEMS.index(found["stem"].lower()) * 2 + bool(found["shard"])


def vae_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a VAE: a file, or those in a folder, which may be that of a whole base."""
    if not path.is_dir():
        return (path,)
    return weights_in(path / "vae" if (path / "vae").is_dir() else path)


def keys_in(files: Iterable[Path]) -> dict[str, Shape]:
    """Return key → shape of all tensors in these files."""
    return {key: shape for file in files for key, shape in keys_of(file).items()}


def _shards(folder: Path, chosen: list[re.Match[str]], names: list[str]) -> list[str]:
    """Return the names of all shards: from their index, else from the count in their names."""
    first = chosen[0]
    start = first[0].partition("-")[0].partition(".")[0]
    kind = f".{first['ending']}.index"
    indexes = [name for name in names if name.startswith(start) and kind in name and name.endswith(".json")]
    for name in indexes:
        listed = read_json(folder / name).get("weight_map")
        files = {str(file) for file in listed.values()} if isinstance(listed, Mapping) else set()
        if first[0] in files:
            return sorted(files)
    total = int(first["of"])
    if not 0 < total <= 1000:
        return []
    width = len(first["shard"])
    left, right = first.start("shard"), first.end("shard")
    return [f"{first[0][:left]}{number:0{width}}{first[0][right:]}" for number in range(1, total + 1)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as error:
        what = "is missing." if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}."
        raise InputError(what, where=str(folder), cure=COPY) from None


def _nothing(names: list[str]) -> str:
    """Describe a folder without weights."""
    unfinished = [name for name in names if name.lower().endswith((".incomplete", ".part", ".crdownload", ".aria2"))]
    others = [name for name in names if name.lower().endswith((".msgpack", ".h5", ".onnx", ".xml", ".gguf"))]
    shards = [name for name in names if name.endswith(".index.json")]
    if unfinished:
        return f"has no weights yet: {unfinished[0]} is an unfinished download."
    if shards:
        return f"has no weights, only their index ({shards[0]})."
    return f"has no PyTorch weights, only {others[0]}." if others else "has no weights."


def vocabulary_in(folder: Path) -> bool:
    """Return whether a folder has a tokenizer's vocabulary."""
    both = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return both or (folder / "tokenizer.json").is_file()
