"""Find CLIP's vocabulary for checkpoints without a tokenizer.

A single-file checkpoint contains weights but no tokenizer. All SD1.x models have the same vocabulary, and most machines
have it: beside the checkpoint, in ComfyUI, in Hugging Face's cache, or in an installed CLIP package.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lorapipe.errors import InputError

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2
"""Number of merges of the published table that CLIP uses."""


def clip_vocabulary(checkpoint: Path) -> Path:
    """Return a folder with CLIP's `vocab.json` and `merges.txt`. `InputError` says where to put one if there is none."""
    found = find(checkpoint)
    return _build(found) if found.is_file() else found


def find(checkpoint: Path) -> Path:
    """Return the folder with the vocabulary, or the file from which it can be built. Fast, since `check` calls it."""
    for folder in (*_beside(checkpoint), *_huggingface()):
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return folder
    for package in ("open_clip", "clip"):
        found = importlib.util.find_spec(package)
        for root in (found.submodule_search_locations or ()) if found else ():
            if (table := Path(root) / VOCABULARY).is_file():
                return table
    place = checkpoint if checkpoint.is_dir() else checkpoint.parent
    other = "" if checkpoint.is_dir() else "give `config: FOLDER` with a diffusers folder of its family, or "
    raise InputError(
        f"{checkpoint.name} has no tokenizer, and CLIP's vocabulary was not found on this machine.",
        where=str(checkpoint),
        cure=f"Put a `tokenizer` folder (vocab.json and merges.txt of any SD1.5 model) into {place}, or {other}"
        "`pip install --no-deps clip-anytorch`, which has it.",
    )


def _beside(checkpoint: Path) -> Iterator[Path]:
    for folder in checkpoint.absolute().parents[:4]:  # ComfyUI/models/checkpoints/x.safetensors
        yield folder / "tokenizer"
        yield folder / "comfy" / "sd1_tokenizer"


def _huggingface() -> Iterator[Path]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")) / "hub"
    for model in ("openai--clip-vit-large-patch14", "stable-diffusion-v1-5--stable-diffusion-v1-5"):
        for snapshot in sorted((home / f"models--{model}" / "snapshots").glob("*")):
            yield from (snapshot, snapshot / "tokenizer")


def _build(table: Path) -> Path:
    """Build `vocab.json` and `merges.txt` from the published table of merges (Radford et al. 2021, `simple_tokenizer`)."""
    folder = Path(tempfile.gettempdir()) / f"lorapipe-clip-vocabulary-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    merges = gzip.decompress(table.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    letters = list(_printable().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return folder


def _printable() -> dict[int, str]:
    """Return byte → printable character, in CLIP's order (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}
