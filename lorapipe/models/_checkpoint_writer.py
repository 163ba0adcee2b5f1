"""Write a base with changed weights: as a single file in the original layout (LDM), or as a diffusers folder.

If the base is a single file, all its keys are kept, and unchanged tensors keep their values. Names are mapped by the
inverse of `_weight_files`. Tensors are computed, cast and written one at a time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from lorapipe.errors import InputError
from lorapipe.models import Change, Saving
from lorapipe.models._ldm_names import open_clip_name, unet_name, vae_name
from lorapipe.models._safetensors_writer import Entry, name_of, write
from lorapipe.models._tensor_shapes import UNET as UNET_DEFAULTS
from lorapipe.models._weight_files import TOP, UNET, VAE, Folder, TextPart, torch_dtype, vae_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.models._weight_files import SingleFile

MOST_COPIED = 64 << 20
"""Largest file besides the weights that is copied into a folder, in bytes: configurations and vocabularies."""
WEIGHT_ENDINGS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx")


class StoredModel(Protocol):
    """The part of a `Model` with a U-Net that writing uses: its weights and configurations."""

    source: Folder | SingleFile
    denoiser: ClassVar[str]
    text_encoders: tuple[str, ...]
    texts: ClassVar[tuple[TextPart, ...]]
    pipeline: ClassVar[str]

    def tensors(self, name: str) -> dict[str, Tensor]: ...
    def skeleton(self, name: str) -> Any: ...
    def scheduler(self) -> Any: ...
    def tokenizer(self, text: TextPart) -> Any: ...
    def checkpoint_marks(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class CheckpointWriter:
    """Writes the model with `saving.changes` to its tensors; see `Model.save_checkpoint`."""

    model: StoredModel
    saving: Saving

    # ------------------------------------------------------------------------------------------------- of both layouts

    def _tensors(self, part: str) -> Mapping[str, Tensor]:
        """Return a part's tensors by diffusers' names, memory-mapped."""
        if part == "vae" and self.saving.vae is not None:
            return vae_tensors(self.saving.vae, self.model.source.config("vae"))
        return self.model.tensors(part)

    def _change(self, part: str, name: str) -> Change | None:
        changes, path = self.saving.changes.get(part, {}), name.removeprefix(TOP)
        return changes.get(path) or changes.get(f"{TOP}{path}")

    def _changed(self, part: str, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor's new values, float32 if it changes."""
        change = self._change(part, name)
        return tensor if change is None else change(tensor.float())

    def _dtype(self, tensor: Tensor) -> str:
        return name_of(torch_dtype(self.saving.dtype) if tensor.is_floating_point() else tensor.dtype)

    def _entry(self, part: str, name: str, tensor: Tensor, shape: tuple[int, ...] | None = None) -> Entry:
        numbers = partial(self._changed, part, name, tensor)
        return Entry(tuple(tensor.shape) if shape is None else shape, self._dtype(tensor), numbers)

    # ------------------------------------------------------------------------------------------------ the single file

    def single_file(self, path: Path) -> None:
        """Write the original layout."""
        source, entries = self.model.source, dict[str, Entry]()
        if isinstance(source, Folder):
            entries = {key: entry for key, _, entry in self._mapped()} | dict(self._marks())
            write(path, entries, self.saving.metadata)
            return
        for key in source.keys():  # noqa: SIM118
            tensor = source.tensor(key)
            assert tensor is not None
            entries[key] = self._plain(tensor)
        for key, names, entry in self._mapped():
            if any(map(self._is_changed, names)):
                there = entries.get(key) or entries.get(key.replace(TOP, "", 1))
                if there is None:
                    raise InputError(f"has no {key}, which was trained.", where=str(source.path))
                # The file's shape: a Linear layer may be stored as a 1×1 convolution.
                entries[key if key in entries else key.replace(TOP, "", 1)] = replace(entry, shape=there.shape)
        write(path, entries, self.saving.metadata)

    def _is_changed(self, place: tuple[str, str]) -> bool:
        """Return whether a part's tensor differs from the source's."""
        return self._change(*place) is not None or (place[0] == "vae" and self.saving.vae is not None)

    def _mapped(self) -> Iterator[tuple[str, list[tuple[str, str]], Entry]]:
        """Yield each tensor of a single file: its key, the (part, name) of the tensors that it contains, and its entry."""
        model = self.model
        config = {**UNET_DEFAULTS, **model.source.config("unet")}
        attentions = ["CrossAttn" in kind for kind in config["up_block_types"]]
        for name, tensor in self._tensors("unet").items():
            key = UNET + unet_name(name, config["layers_per_block"], attentions)
            yield key, [("unet", name)], self._entry("unet", name, tensor)
        levels = len(model.source.config("vae")["block_out_channels"])
        for name, tensor in self._tensors("vae").items():
            key = VAE + vae_name(name, levels)
            shape = tuple(tensor.shape)
            pointwise = ".mid.attn_1." in key and len(shape) == 2  # LDM has 1×1 convolutions here
            yield key, [("vae", name)], self._entry("vae", name, tensor, (*shape, 1, 1) if pointwise else shape)
        for text in model.texts:
            yield from self._open_clip(text) if text.open_clip else self._clip(text)

    def _clip(self, text: TextPart) -> Iterator[tuple[str, list[tuple[str, str]], Entry]]:
        for name, tensor in self._tensors(text.name).items():
            key = f"{text.prefix}{TOP}{name.removeprefix(TOP)}"
            yield key, [(text.name, name)], self._entry(text.name, name, tensor)

    def _open_clip(self, text: TextPart) -> Iterator[tuple[str, list[tuple[str, str]], Entry]]:
        """Yield a text encoder in OpenCLIP's layout: q, k and v stacked in one tensor, the projection transposed."""
        tensors = {name.removeprefix(TOP): (name, tensor) for name, tensor in self._tensors(text.name).items()}
        for name, (whole, tensor) in tensors.items():
            if name.endswith("position_ids") or ".k_proj." in name or ".v_proj." in name:
                continue
            key = text.prefix + open_clip_name(name)
            if ".q_proj." in name:
                three = [tensors[name.replace(".q_proj.", f".{kind}_proj.")] for kind in "qkv"]
                entries = [self._entry(text.name, *each) for each in three]
                shape = (3 * tensor.shape[0], *tensor.shape[1:])
                stacked = Entry(shape, self._dtype(tensor), partial(_stacked, entries))
                yield key, [(text.name, each) for each, _ in three], stacked
            elif name == "text_projection.weight":
                entry = self._entry(text.name, whole, tensor)
                turned = Entry(tuple(tensor.shape)[::-1], entry.dtype, partial(_turned, entry))
                yield key, [(text.name, whole)], turned
            else:
                yield key, [(text.name, whole)], self._entry(text.name, whole, tensor)
        if isinstance(self.model.source, Folder):
            yield from self._unread(text)

    def _unread(self, text: TextPart) -> Iterator[tuple[str, list[tuple[str, str]], Entry]]:
        """Yield tensors of published files that nothing uses, so that strict readers find all keys.

        They are a logit scale, and for SD2 OpenCLIP's last layer (filled with the one before it) and a projection.
        """
        import torch

        yield f"{text.prefix}logit_scale", [], self._plain(torch.tensor(CLIP_SCALE))
        if text.projected:
            return
        config = self.model.source.config(text.name)
        last, width = config["num_hidden_layers"] - 1, config["hidden_size"]
        for name, tensor in self._tensors(text.name).items():
            if f"encoder.layers.{last}." in name and not any(f".{kind}_proj." in name for kind in "qkv"):
                key = text.prefix + open_clip_name(name.removeprefix(TOP))
                key = key.replace(f".{last}.", f".{last + 1}.")
                yield key, [], self._entry(text.name, name, tensor)
        for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
            empty = torch.zeros(shape)
            yield f"{text.prefix}transformer.resblocks.{last + 1}.attn.in_proj_{kind}", [], self._plain(empty)
        yield f"{text.prefix}text_projection", [], self._plain(torch.eye(width))

    def _plain(self, tensor: Tensor) -> Entry:
        return Entry(tuple(tensor.shape), self._dtype(tensor), partial(_as_it_is, tensor))

    def _marks(self) -> Iterator[tuple[str, Entry]]:
        """Yield the empty tensors by which programs detect an SDXL's prediction type."""
        import torch

        for name in self.model.checkpoint_marks():
            yield name, Entry((0,), "F32", lambda: torch.empty(0))

    # ------------------------------------------------------------------------------------------------------ the folder

    def folder(self, path: Path) -> None:
        """Write a diffusers folder, with one weight file per part."""
        model, source = self.model, self.model.source
        path.mkdir(parents=True, exist_ok=True)
        parts = [model.denoiser, "vae", *model.text_encoders]
        if isinstance(source, Folder):
            copy_settings(source.root, path)
        else:
            self._describe(path)
        index = {"_class_name": model.pipeline, **_json(path / "model_index.json")}
        for part in parts:
            stem = "model" if part in model.text_encoders else "diffusion_pytorch_model"
            entries = {name: self._entry(part, name, tensor) for name, tensor in self._tensors(part).items()}
            write(path / part / f"{stem}.safetensors", entries, lambda digest: {"format": "pt"})
        if "safety_checker" in index:
            index["safety_checker"] = [None, None]
        (path / "model_index.json").write_text(f"{json.dumps(index, indent=2)}\n", encoding="utf-8")

    def _describe(self, path: Path) -> None:
        """Write the configurations, noise schedule and vocabulary of a base that is a single file."""
        model = self.model
        index: dict[str, object] = {"_class_name": model.pipeline}
        for part in (model.denoiser, "vae", *model.text_encoders):
            module = model.skeleton(part)
            library = "transformers" if part in model.text_encoders else "diffusers"
            index[part] = [library, type(module).__name__]
            if library == "diffusers":
                module.save_config(path / part)
            else:
                module.config.save_pretrained(path / part)
        scheduler = model.scheduler()
        scheduler.save_pretrained(path / "scheduler")
        index["scheduler"] = ["diffusers", type(scheduler).__name__]
        for text in model.texts:
            tokenizer = model.tokenizer(text)
            tokenizer.save_pretrained(path / text.tokenizer)
            index[text.tokenizer] = ["transformers", "CLIPTokenizer"]
        (path / "model_index.json").write_text(f"{json.dumps(index, indent=2)}\n", encoding="utf-8")


CLIP_SCALE = 4.6052
"""CLIP's logit scale, ln 100, its upper limit in training; pictures do not depend on it."""


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _stacked(entries: list[Entry]) -> Tensor:
    import torch

    return torch.cat([cast("Tensor", entry.numbers()).float() for entry in entries])


def _turned(entry: Entry) -> Tensor:
    return cast("Tensor", entry.numbers()).T


def _json(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def copy_settings(root: Path, path: Path) -> None:
    """Copy configurations, noise schedule and vocabularies; not the safety checker, which has 1.2 GB."""
    for file in sorted(root.rglob("*")):
        inner = file.relative_to(root)
        is_weight = file.suffix.lower() in WEIGHT_ENDINGS or file.name.endswith(".index.json")
        if (
            file.is_file()
            and inner.parts[0] != "safety_checker"
            and not is_weight
            and file.stat().st_size < MOST_COPIED
        ):
            (path / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path / inner)
