"""Where the parts of a base model lie, and how they get into memory: a diffusers folder or one LDM-layout file.

Nothing here goes to the network. Modules are built without weights and take the file's memory-mapped tensors as they
are, so that loading costs one pass over the file and no second copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
"""Key prefixes of the parts in an LDM-layout file; of the text encoder in one of SD1.x."""


@dataclass(frozen=True)
class TextPart:
    """A text encoder of a base: where a folder has it, and where and how a single file does.

    `pad` is the token that fills a caption up where the tokenizer does not say, None for the one that ends it.
    """

    name: str = "text_encoder"
    tokenizer: str = "tokenizer"
    prefix: str = TEXT
    open_clip: bool = False
    projected: bool = False
    pad: int | None = None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; a damaged one is the user's to know of."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), cure="Copy the model again.") from error
    return data


def read_tensors(path: Path) -> Tensors:
    """The tensors of a .safetensors file (memory-mapped) or of a pickled checkpoint (`weights_only`: no code runs)."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # truncated files fail in a dozen ways, none of them worth a traceback
        first = str(error).partition("\n")[0]
        raise InputError(f"is not a readable checkpoint: {first}", where=str(path), cure="Copy it again.") from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {key: value for key, value in loaded.items() if isinstance(value, torch.Tensor)}


def keys_of(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Key → shape of a checkpoint; of a .safetensors file only the header is read."""
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return {key: tuple(tensor.shape) for key, tensor in read_tensors(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise InputError(f"is not a readable checkpoint: {error}", where=str(path), cure="Copy it again.") from error


@dataclass(frozen=True)
class Folder:
    """A base as a diffusers folder: a sub-folder with configuration and weights for each part."""

    root: Path

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """The part's configuration."""
        return read_json(self.root / part / name)

    def tensors(self, part: str) -> Tensors:
        """The part's weights."""
        stems = ("diffusion_pytorch_model", "model", "pytorch_model")
        names = [f"{stem}{kind}" for kind in (".safetensors", ".fp16.safetensors", ".bin") for stem in stems]
        for name in names:
            if (path := self.root / part / name).is_file():
                return read_tensors(path)
        raise InputError("holds no weights.", where=str(self.root / part), cure=f"Expected one of {', '.join(names)}.")

    def tokenizer(self, name: str) -> Path:
        """The folder of a tokenizer's vocabulary."""
        return self.root / name


@dataclass(frozen=True)
class SingleFile:
    """A base as one file in the layout of the original LDM code; its configuration is known or lies in `described`."""

    path: Path
    known: Mapping[str, Mapping[str, Any]]
    texts: tuple[TextPart, ...] = (TextPart(),)
    described: Folder | None = None

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """The part's configuration."""
        return self.described.config(part, name) if self.described else dict(self.known[part])

    def tensors(self, part: str) -> Tensors:
        """The part's weights under the names of its module; renaming copies nothing."""
        if part in _RENAMINGS:
            return _RENAMINGS[part](self._all, self.config(part))
        text = next(text for text in self.texts if text.name == part)
        return _rename_text(_under(self._all, text.prefix), text, self.config(part))

    def tensor(self, key: str) -> torch.Tensor | None:
        """One tensor under its name in the file; None where it has none such."""
        return self._all.get(key)

    @cached_property
    def _all(self) -> Tensors:
        return read_tensors(self.path)

    def tokenizer(self, name: str) -> Path:
        """The folder of a tokenizer's vocabulary; all published bases have the same."""
        if self.described:
            return self.described.tokenizer(name)
        from lorapipe.training.families._vocabulary import clip_vocabulary

        return clip_vocabulary(self.path)


def _rename_unet(tensors: Tensors, config: dict[str, Any]) -> Tensors:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return convert_ldm_unet_checkpoint(_under(tensors, UNET), config)


def _rename_vae(tensors: Tensors, config: dict[str, Any]) -> Tensors:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    return convert_ldm_vae_checkpoint(_under(tensors, VAE), config)


def _rename_text(tensors: Tensors, text: TextPart, config: dict[str, Any]) -> Tensors:
    if not text.open_clip:
        return {key.removeprefix(text.prefix): tensor for key, tensor in tensors.items()}
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    whose = SimpleNamespace(config=SimpleNamespace(hidden_size=config["hidden_size"]))
    return convert_open_clip_checkpoint(whose, tensors, text.prefix)


_RENAMINGS: dict[str, Callable[[Tensors, dict[str, Any]], Tensors]] = {"unet": _rename_unet, "vae": _rename_vae}


def _under(tensors: Tensors, prefix: str) -> Tensors:
    # A copy of the names only: the conversion empties the mapping it is given.
    return {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def fill(module: torch.nn.Module, tensors: Tensors, dtype: torch.dtype, where: str) -> None:
    """Give a module built without weights its tensors, whichever way the text encoder's keys are spelled.

    transformers 5 has no `text_model.` in a text encoder's names; transformers 4 and the published files have.
    """
    import torch

    wanted = set(module.state_dict())
    spelled = _spelling(wanted, tensors)
    own = {key: tensor for key, tensor in spelled.items() if key in wanted}
    if missing := sorted(wanted - own.keys()):
        raise InputError(f"{len(missing)} tensors are missing, such as {missing[0]}.", where=where, cure=INCOMPLETE)
    try:
        module.load_state_dict(own, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise InputError(f"does not fit its configuration: {first}", where=where, cure=INCOMPLETE) from error
    # torch's own `to`: diffusers' warns of a case that is not ours.
    torch.nn.Module.to(module, dtype).requires_grad_(False).eval()


INCOMPLETE = "The file is incomplete or of another kind of model."


def _spelling(wanted: Iterable[str], tensors: Tensors) -> Tensors:
    prefix = "text_model."
    ours = any(key.startswith(prefix) for key in wanted)
    theirs = any(key.startswith(prefix) for key in tensors)
    if ours == theirs:
        return tensors
    if theirs:
        return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    beside = ("text_projection.",)  # never inside
    return {key if key.startswith(beside) else f"{prefix}{key}": tensor for key, tensor in tensors.items()}


def identify(path: Path) -> str:
    """What kind of file this is, for a message: a guess from names and shapes."""
    keys = keys_of(path)
    if any(".lora_" in key or ".hada_" in key or ".lokr_" in key for key in keys):
        return "a LoRA file, not a base model"
    if any(key.startswith("conditioner.embedders.1.") for key in keys):
        return "an SDXL checkpoint"
    if any(key.startswith("cond_stage_model.model.") for key in keys):
        return "an SD2 checkpoint"
    if any(key.startswith(UNET) for key in keys):
        parts = {"VAE": VAE, "text encoder": TEXT}
        lacking = [name for name, prefix in parts.items() if not any(key.startswith(prefix) for key in keys)]
        return f"a checkpoint without {' and '.join(lacking)}" if lacking else "an SD1.x checkpoint"
    if any(key.startswith("down_blocks.") for key in keys):
        return "a bare diffusers U-Net"
    return "no Stable Diffusion checkpoint"
