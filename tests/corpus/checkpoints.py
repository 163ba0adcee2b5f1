"""Base models in every form in which people have them, made of a tiny random one; and files that are none."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ldm_layout
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lorapipe.models._unet import LatentDiffusion

Tensors = dict[str, torch.Tensor]
PREFIXES = {"text_encoder": "conditioner.embedders.0.transformer.", "text_encoder_2": "conditioner.embedders.1.model."}


def ldm(model: LatentDiffusion) -> Tensors:
    """A base's tensors as one file of the original layout has them."""
    texts: Tensors = {}
    for text in model.texts:
        layout = ldm_layout.open_clip if text.open_clip else ldm_layout.clip
        texts |= layout(model.part(text.name), text.prefix)
    return ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts)


def vae(model: LatentDiffusion) -> Tensors:
    """Its VAE in the original layout, without a prefix."""
    start = "first_stage_model."
    return {key.removeprefix(start): value for key, value in ldm(model).items() if key.startswith(start)}


# ------------------------------------------------------------------------------------------------------------- pickles


@contextmanager
def pretended(*names: str) -> Iterator[list[type]]:
    """Classes of packages that are not installed, while something of theirs is pickled."""
    made, modules = [], []
    for name in names:
        module, _, cls = name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            inner = ".".join(parts[:end])
            if inner not in sys.modules:
                sys.modules[inner] = types.ModuleType(inner)
                modules.append(inner)
        made.append(type(cls, (dict,), {"__module__": module}))
        setattr(sys.modules[module], cls, made[-1])
    try:
        yield made
    finally:
        for inner in modules:
            del sys.modules[inner]


def lightning(tensors: Tensors) -> dict[str, Any]:
    """What PyTorch Lightning saves beside the weights: counters, its callbacks under their classes, an optimizer's state."""
    return {
        "epoch": 6, "global_step": 470000, "pytorch-lightning_version": "1.4.2",
        "state_dict": OrderedDict(tensors),
        "callbacks": {"best_model_score": np.float64(0.25), "best_k_models": {}, "when": np.array([1.0, 2.0])},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [], "hyper_parameters": {"where": Path("logs"), "betas": (0.9, 0.999), "kinds": {1, 2}},
    }  # fmt: skip


def save_lightning(tensors: Tensors, path: Path, zipped: bool = True) -> None:
    """A checkpoint of 2022, its callback filed under its class, its settings OmegaConf's."""
    names = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint", "omegaconf.dictconfig.DictConfig")
    with pretended(*names) as (callback, settings):
        whole = lightning(tensors)
        whole["callbacks"] = {callback: whole["callbacks"], "other": callback(monitor="val")}
        whole["hyper_parameters"]["config"] = settings(size=512)
        torch.save(whole, path, _use_new_zipfile_serialization=zipped)


def save_as_numpy_1(tensors: Tensors, path: Path) -> None:
    """As numpy before 2 named its parts."""
    save_lightning(tensors, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            older = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            archive.writestr(name, older if name.endswith("data.pkl") else data)


PICKLES: dict[str, Callable[[Tensors, Path], None]] = {
    "bare": torch.save,
    "state_dict": lambda tensors, path: torch.save({"state_dict": tensors}, path),
    "older form": lambda tensors, path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
    "protocol 4": lambda tensors, path: torch.save(tensors, path, pickle_protocol=4),
    "older form, protocol 5": lambda tensors, path: torch.save(
        tensors, path, pickle_protocol=5, _use_new_zipfile_serialization=False
    ),
    "parameters": lambda tensors, path: torch.save(
        {key: torch.nn.Parameter(tensor, requires_grad=False) for key, tensor in tensors.items()}, path
    ),
    "lightning": save_lightning,
    "lightning, older form": lambda tensors, path: save_lightning(tensors, path, zipped=False),
    "lightning, numpy 1": save_as_numpy_1,
    "views of one storage": lambda tensors, path: torch.save(_views(tensors), path),
}  # fmt: skip


def _views(tensors: Tensors) -> Tensors:
    """All tensors as windows into one storage, some of them transposed."""
    whole, at = torch.cat([tensor.flatten() for tensor in tensors.values()]), 0
    views = {}
    for key, tensor in tensors.items():
        views[key] = whole[at : at + tensor.numel()].view(tensor.shape)
        at += tensor.numel()
    return views


# ------------------------------------------------------------------------------------------------------- what is no base


def _picture(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (9, 9)).save(data, kind)
    return data.getvalue()


def _zip(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return data.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 4265380512\n"
INSTEAD: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty. Copy or download it again"),
    "zeros": (bytes(100_000), "zeros only"),
    "pointer": (POINTER, "Git LFS pointer.*git lfs pull"),
    "page": (b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title>", "a web page.*login"),
    "page with a mark": (b"\xef\xbb\xbf<html lang='en'>", "a web page"),
    "answer": (b'{"error": "Access to model is restricted"}', r"a text \(JSON\).*Access to model"),
    "words": ("Nicht gefunden: größer\n".encode(), "a text of .*Nicht gefunden"),
    "png": (_picture("PNG"), r"a picture \(PNG\)"),
    "jpeg": (_picture("JPEG"), r"a picture \(JPEG\)"),
    "zip": (_zip(a_txt=b"a"), r"a zip archive \(in it: a.txt\)"),
    "zip with a model": (_zip(model_safetensors=b"a"), "a zip archive.*Unpack it, and name model.safetensors"),
    "gzip": (gzip.compress(b"a" * 99), r"packed file \(gzip\).*Unpack"),
    "7z": (b"7z\xbc\xaf'\x1c\0\4" + bytes(30), r"packed archive \(7z\)"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(90), "a GGUF file"),
    "noise": (bytes(range(200, 256)) * 9, "is not a checkpoint: its first bytes"),
    "header alone": (struct.pack("<Q", 50_000) + b'{"a"', "ends within its header"),
    "no header": (struct.pack("<Q", 4) + b"{\0\0}", "damaged"),
    "a pickle of something": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
}
"""Files that are called a checkpoint, and the words that they are met with (a regular expression)."""


# ------------------------------------------------------------------------------------------------------------- folders


def without(folder: Path, place: Path, *names: str) -> Path:
    """A copy of a folder in which some files or folders are missing."""
    shutil.copytree(folder, place)
    for name in names:
        shutil.rmtree(place / name) if (place / name).is_dir() else (place / name).unlink()
    return place


def weights(part: Path) -> Path:
    """The file of weights in a part's folder."""
    return next(part.glob("*.safetensors"))


def sharded(
    part: Path, shards: int = 3, kind: str = "safetensors", index: bool = True, variant: str = ""
) -> list[Path]:
    """Take the weights of a part apart, as `save_pretrained(max_shard_size=…)` does."""
    file = weights(part)
    tensors, stem = load_file(file), file.name.partition(".")[0]
    stem = {"bin": stem.replace("model", "pytorch_model") if stem == "model" else stem}.get(kind, stem)
    middle = f".{variant}" if variant else ""
    file.unlink()
    made, where = [], {}
    for number in range(shards):
        chosen = {key: tensors[key] for key in sorted(tensors)[number::shards]}
        made.append(part / f"{stem}{middle}-{number + 1:05d}-of-{shards:05d}.{kind}")
        save_file(chosen, made[-1]) if kind == "safetensors" else torch.save(chosen, made[-1])
        where |= dict.fromkeys(chosen, made[-1].name)
    if index:
        late = f".{variant}" if variant else ""
        text = json.dumps({"metadata": {"total_size": 1}, "weight_map": where})
        (part / f"{stem}.{kind}.index{late}.json").write_text(text, encoding="utf-8")
    return made


def configured(folder: Path, part: str, **values: Any) -> Path:
    """Change a part's configuration."""
    file = folder / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **values}), encoding="utf-8")
    return folder


def retensored(file: Path, change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> Path:
    """Change the tensors of a safetensors file."""
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    save_file(dict(change(tensors)), file)
    return file
