"""Load the weights of a base model's parts from a diffusers folder or a single file in LDM's layout.

Nothing is downloaded. Modules are built without weights and then get the file's memory-mapped tensors, so loading needs one
pass over the file and no second copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lorapipe.errors import InputError
from lorapipe.models._diffusers_folder import read_json, vae_files, vocabulary_in, weights_in
from lorapipe.models._ldm_names import OLDER_ATTENTION
from lorapipe.models._tensor_index import AGAIN, SAFETENSORS, flat, format_of, keys_of, numbers_of

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
TOP = "text_model."
"""Prefix of a CLIP text model's paths in some versions of transformers and in single files, absent in others."""
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Our names of number types → torch's."""

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
"""Key prefixes of the parts in a file of LDM's layout; of the text encoder in SD1.x."""
HALVES = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
"""Prefixes of a VAE's keys; other keys in its file belong to its training."""
LDM_VAE = ("encoder.down.", "encoder.mid.", "decoder.up.", "decoder.mid.")
"""Prefixes that only LDM's layout has."""


@dataclass(frozen=True)
class TextPart:
    """A text encoder of a base: its subfolders in a diffusers folder, and its prefix and layout in a single file.

    `pad` is the padding token if there is no tokenizer that defines it; None is EOS.
    """

    name: str = "text_encoder"
    tokenizer: str = "tokenizer"
    prefix: str = TEXT
    open_clip: bool = False
    projected: bool = False
    pad: int | None = None


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's number type of `fp32`, `fp16` or `bf16`."""
    import torch

    found: torch.dtype = getattr(torch, DTYPES[name])
    return found


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a file, memory-mapped; the format is detected, and pickles are read by `_pickle_reader`."""
    if format_of(path) != SAFETENSORS:
        return _mapped(path)
    from safetensors.torch import load_file

    keys_of(path)  # raises a readable error if something is wrong with the file
    try:
        return load_file(path)
    except Exception as error:
        first = str(error).partition("\n")[0][:200]
        raise InputError(f"is not a readable checkpoint: {first}.", where=str(path), cure=AGAIN) from error


def _mapped(path: Path) -> Tensors:
    """Return the tensors of a file of torch.save."""
    import mmap

    import torch

    found = numbers_of(path)
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    storages: dict[tuple[int, int, str], torch.Tensor] = {}
    tensors = {}
    for key, at in found.items():
        if not at.count or 0 in at.shape:
            tensors[key] = torch.empty(at.shape, dtype=getattr(torch, at.dtype))
            continue
        if (place := (at.start, at.count, at.dtype)) not in storages:
            dtype = getattr(torch, at.dtype)
            storage = torch.frombuffer(whole, dtype=dtype, count=at.count, offset=at.start)
            storages[place] = (
                storage.clone() if at.start % dtype.itemsize else storage
            )  # the older format does not align storages
        tensors[key] = storages[place].as_strided(at.shape, at.stride, at.offset)
    return tensors


@dataclass(frozen=True)
class Folder:
    """A base as a diffusers folder: a sub-folder with configuration and weights for each part."""

    root: Path

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """Return the part's configuration."""
        return read_json(self.root / part / name)

    def tensors(self, part: str) -> Tensors:
        """Return the part's weights."""
        tensors = {key: tensor for file in weights_in(self.root / part) for key, tensor in read_tensors(file).items()}
        return _with_names_of_today(tensors) if part == "vae" else tensors

    def tokenizer(self, name: str) -> Path:
        """Return the folder of a tokenizer's vocabulary: the base's own, else CLIP's, which all published bases use."""
        if self.has_tokenizer(name):
            return self.root / name
        from lorapipe.models._clip_vocabulary import clip_vocabulary

        return clip_vocabulary(self.root)

    def has_tokenizer(self, name: str) -> bool:
        """Return whether the folder has its own vocabulary."""
        return vocabulary_in(self.root / name)


def vae_tensors(path: Path, config: dict[str, Any]) -> Tensors:
    """Return the weights of a separate VAE, or that of another base: a file or a folder, of either layout."""
    tensors = {key: tensor for file in vae_files(path) for key, tensor in read_tensors(file).items()}
    start = VAE if any(key.startswith(VAE) for key in tensors) else ""
    own = {
        key.removeprefix(start): t
        for key, t in tensors.items()
        if key.startswith(tuple(f"{start}{half}" for half in HALVES))
    }
    if any(key.startswith(LDM_VAE) for key in own):
        return _rename_vae({f"{VAE}{key}": tensor for key, tensor in own.items()}, config)
    return _with_names_of_today(own)


@dataclass(frozen=True)
class SingleFile:
    """A base as a single file in LDM's layout; its configuration is the published one (`known`) or in `described`."""

    path: Path
    known: Mapping[str, Mapping[str, Any]]
    texts: tuple[TextPart, ...] = (TextPart(),)
    described: Folder | None = None

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """Return the part's configuration."""
        return self.described.config(part, name) if self.described else dict(self.known[part])

    def tensors(self, part: str) -> Tensors:
        """Return the part's weights by the names of its module, without copying."""
        if part in _RENAMINGS:
            return _RENAMINGS[part](self._all, self.config(part))
        text = next(text for text in self.texts if text.name == part)
        return _rename_text(_under(self._all, text.prefix), text, self.config(part))

    def tensor(self, key: str) -> torch.Tensor | None:
        """Return a tensor by its name in the file; None if there is none."""
        return self._all.get(key)

    def keys(self) -> list[str]:
        """Return the names of all tensors in the file."""
        return [*self._all]

    @cached_property
    def _all(self) -> Tensors:
        return read_tensors(self.path)

    def tokenizer(self, name: str) -> Path:
        """Return the folder of a tokenizer's vocabulary; all published bases use the same."""
        if self.has_tokenizer(name) and self.described:
            return self.described.tokenizer(name)
        from lorapipe.models._clip_vocabulary import clip_vocabulary

        return clip_vocabulary(self.path)

    def has_tokenizer(self, name: str) -> bool:
        """Return whether the folder `described` has a vocabulary."""
        return self.described is not None and self.described.has_tokenizer(name)


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


def _with_names_of_today(tensors: Tensors) -> Tensors:
    """Rename a VAE's attention from diffusers' older names, when it was made of 1×1 convolutions."""
    today = {f".attentions.0.{older}.": f".attentions.0.{name}." for name, older in OLDER_ATTENTION.items()}
    renamed = {}
    for key, tensor in tensors.items():
        name = next((key.replace(older, now) for older, now in today.items() if older in key), key)
        renamed[name] = tensor
    return renamed


def _under(tensors: Tensors, prefix: str) -> Tensors:
    # A shallow copy, because the conversion empties its argument.
    return {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def fill(module: torch.nn.Module, tensors: Tensors, dtype: torch.dtype, where: str) -> None:
    """Load tensors into a module that was built without weights, with or without `text_model.` in their names.

    transformers 5 omits that prefix of the text encoder; transformers 4 and the published files have it.
    """
    import torch

    wanted = {key: tensor.shape for key, tensor in module.state_dict().items()}
    spelled = _spelling(wanted, tensors)
    own = {key: _shaped(tensor, wanted[key]) for key, tensor in spelled.items() if key in wanted}
    if missing := sorted(wanted.keys() - own.keys()):
        raise InputError(f"{len(missing)} tensors are missing, such as {missing[0]}.", where=where, cure=INCOMPLETE)
    try:
        module.load_state_dict(own, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise InputError(f"does not fit its configuration: {first}", where=where, cure=INCOMPLETE) from error
    # torch's `to`, since diffusers' warns of an unrelated case
    torch.nn.Module.to(module, dtype).requires_grad_(False).eval()
    _finite(module, own, dtype, where)


def _finite(module: torch.nn.Module, own: Tensors, dtype: torch.dtype, where: str) -> None:
    """Raise InputError if a weight is NaN or infinite, since the base would then predict NaN.

    It takes 0.2 s for SD1.5. Token embeddings are not checked: unused rows may be arbitrary.
    """
    import torch

    asked = {key: tensor for key, tensor in module.state_dict().items() if "token_embedding" not in key}
    bad = [key for key, tensor in asked.items() if tensor.is_floating_point() and not _is_finite(tensor)]
    if not bad:
        return
    which = f"{len(bad)} of its tensors, such as {bad[0]}," if len(bad) > 1 else f"its tensor {bad[0]}"
    have = "have" if len(bad) > 1 else "has"
    if dtype == torch.float16 and all(_is_finite(own[key].float()) for key in bad):
        cure = "Set precision: bf16 or fp32."
        raise InputError(f"{which} {have} numbers too large for fp16.", where=where, cure=cure)
    cure = f"{AGAIN} If they are the model's own, take another model."
    raise InputError(f"{which} {have} NaN or infinite numbers: it would predict NaN.", where=where, cure=cure)


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.numel():
        return True
    least, most = tensor.aminmax()  # both are NaN if any element is
    return bool(least.isfinite() & most.isfinite())


def _shaped(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Reshape a Linear layer's weight to a 1×1 convolution's or back, if file and model differ in that."""
    alike = flat(tuple(tensor.shape)) == flat(tuple(shape))
    return tensor.reshape(shape) if alike and tensor.shape != shape else tensor


INCOMPLETE = "The file is incomplete or of another kind of model."


def _spelling(wanted: Iterable[str], tensors: Tensors) -> Tensors:
    ours = any(key.startswith(TOP) for key in wanted)
    theirs = any(key.startswith(TOP) for key in tensors)
    if ours == theirs:
        return tensors
    if theirs:
        return {key.removeprefix(TOP): tensor for key, tensor in tensors.items()}
    beside = ("text_projection.",)  # never inside
    return {key if key.startswith(beside) else f"{TOP}{key}": tensor for key, tensor in tensors.items()}
