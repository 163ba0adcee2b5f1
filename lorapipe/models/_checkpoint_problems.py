"""Check a base before a run: its architecture, that all its parts are there, and that they fit each other.

Only headers and configurations are read, no weights and no torch. It takes milliseconds, and results are cached while the
files do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lorapipe.errors import InputError, Problem
from lorapipe.models import Checkpoint, Family, _folder_detection, _model_detection, _tensor_shapes
from lorapipe.models._diffusers_folder import COPY, keys_in, read_json, vae_files, vocabulary_in, weights_in
from lorapipe.models._ldm_names import older_vae_name, vae_name
from lorapipe.models._missing_tensors import (
    CALLED,
    ODD_CONFIGURATION,
    OTHER,
    SMALLER,
    in_folder,
    in_ldm_file,
    misfits,
    shapes_of,
    text_in_ldm_file,
)
from lorapipe.models._model_detection import UNET, VAE, Kind
from lorapipe.models._tensor_index import Shape, keys_of, settled
from lorapipe.spec import Source

if TYPE_CHECKING:
    from lorapipe.models._unet import LatentDiffusion


class Base(Protocol):
    """The part of a Stable Diffusion family that is checked: its settings, and the published configuration of its parts."""

    def __hash__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def checkpoint(self) -> Checkpoint: ...
    @property
    def vae(self) -> Source | None: ...
    @property
    def config(self) -> Source | None: ...
    @property
    def known(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def kind(self) -> str: ...
    @property
    def model(self) -> type[LatentDiffusion]: ...


Look = Callable[[Base, Path], Iterable[Problem]]
PARTS = (*CALLED, "tokenizer", "tokenizer_2", "scheduler", "transformer")
MOST_FILES = 2000
VAE_BEGINS = ("encoder.conv_in.", "encoder.down", "encoder.mid", "decoder.conv_in.", "decoder.up", "decoder.mid")
"""Prefixes of a VAE's keys in LDM's and diffusers' layouts; `encoder.` alone may also be a text encoder's."""


def problems(base: Base) -> tuple[Problem, ...]:
    """Return the problems of a base's files, each under the knob that names the file."""
    knobs = {"checkpoint": base.checkpoint.path}
    knobs |= {name: source.path for name in ("vae", "config") if (source := getattr(base, name))}
    state = tuple(_state(file) for path in knobs.values() for file in _files(path))
    look = _problems if settled(max(changed for _, _, changed in state)) else _problems.__wrapped__
    return look(base, state)


@lru_cache(maxsize=128)
def _problems(base: Base, state: tuple[Any, ...]) -> tuple[Problem, ...]:
    return tuple(_all(base))


def _files(path: Path) -> list[Path]:
    """Return the files of a base that are checked."""
    if not path.is_dir():
        return [path]
    inside = (file for part in PARTS for file in (path / part).glob("*"))
    return [path, *islice(chain(path.glob("*"), inside), MOST_FILES)]


def _state(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (str(file), 0, 0)
    return (str(file), found.st_size, found.st_mtime_ns)


def _all(base: Base) -> Iterator[Problem]:
    checkpoint = base.checkpoint.path
    wrong = [*_looked(_configured, base, "config", base.config.path)] if base.config is not None else []
    wrong += _looked(_kind, base, "checkpoint", checkpoint)
    yield from wrong
    if not wrong:
        yield from _looked(_folder if checkpoint.is_dir() else _single_file, base, "checkpoint", checkpoint)
    if base.vae is not None:  # whether it fits can only be checked against a valid base
        yield from _looked(_no_vae if wrong else _own_vae, base, "vae", base.vae.path)


def _looked(look: Look, base: Base, knob: str, root: Path) -> Iterator[Problem]:
    """Yield the problems that a check yields or raises, under its knob. Files inside the folder are named."""
    try:
        for problem in look(base, root):
            yield replace(problem, path=(knob,))
    except InputError as error:
        for problem in error.problems:
            yield Problem(_inside(root, problem), cure=problem.cure, path=(knob,))
    except ODD_CONFIGURATION as error:
        what = f"has an invalid configuration: {str(error)[:100]}."
        yield Problem(what, cure=COPY, path=(knob,))


def _inside(root: Path, problem: Problem) -> str:
    """Return the problem's text with the relative path of its file before it."""
    file = Path(problem.where)
    if not problem.where or file == root or root not in file.parents:
        return problem.what
    return f"{file.relative_to(root).as_posix()} {problem.what}"


def _kind(base: Base, root: Path) -> Iterator[Problem]:
    if problem := mismatch(base):
        yield problem


def mismatch(base: Base) -> Problem | None:
    """Return why the checkpoint is not of this family, or None. `InputError` if it cannot be read at all."""
    path = base.checkpoint.path
    kind = _folder_detection.of_folder(path) if path.is_dir() else _model_detection.of_keys(keys_of(path))
    if not _is(base, kind):
        return Problem(f"is {kind.what}.", cure=_cure(base, kind), path=("checkpoint",))
    if path.is_dir():
        return None
    missing = [part for part in _model_detection.lacking(keys_of(path)) if part != "VAE" or base.vae is None]
    if not missing:
        return None
    article, _, name = base.kind.partition(" ")
    cure = f"Family {base.name} takes {article} {name} with U-Net, VAE and text encoder."
    cure += " A VAE can be given as vae." if missing == ["VAE"] else ""
    return Problem(f"is a checkpoint without {' and '.join(missing)}.", cure=cure, path=("checkpoint",))


def _is(base: Base | type[Family], kind: Kind) -> bool:
    """Return whether a detected kind, a file or a folder, belongs to a family."""
    own = str(getattr(base, "kind", ""))
    return kind.what in (own, own.replace("checkpoint", "folder"))


def _cure(base: Base, kind: Kind) -> str:
    """Name the family that the checkpoint belongs to, if there is one."""
    registry = Family.registry
    assert registry is not None
    for name in registry.names():
        if _is(registry.get(name), kind):
            return f"Write family: {name}."
    return kind.cure or f"Family {base.name} takes {base.kind} with U-Net, VAE and text encoder."


# ------------------------------------------------------------------------------------------------------------ the parts


def _configured(base: Base, root: Path) -> Iterator[Problem]:
    """Yield the problems of the folder given as `config`."""
    if not root.is_dir():
        yield Problem("is a file.", cure="Name a diffusers folder, whose configurations describe the checkpoint.")
        return
    kind = _folder_detection.of_folder(root)
    if not _is(base, kind):
        yield Problem(f"is {kind.what}.", cure=_cure(base, kind))
        return
    for part in _parts(base):
        read_json(root / part / "config.json")
    read_json(root / "scheduler" / "scheduler_config.json")


def _parts(base: Base) -> list[str]:
    return ["unet", "vae", *(text.name for text in base.model.texts)]


def _folder(base: Base, root: Path) -> Iterator[Problem]:
    missing = [f"{part}/config.json" for part in _parts(base) if not (root / part / "config.json").is_file()]
    if not (root / "scheduler" / "scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    if missing:
        yield Problem(f"is incomplete: it lacks {', '.join(missing)}.", cure=COPY)
    for part in _parts(base):
        if f"{part}/config.json" in missing or (part == "vae" and base.vae is not None):
            continue
        try:
            config, keys = read_json(root / part / "config.json"), keys_in(weights_in(root / part))
        except InputError as error:
            for problem in error.problems:
                yield Problem(_inside(root, problem), cure=problem.cure)
            continue
        wanted = in_folder(part, shapes_of(base.model.texts, part, config) or {})
        yield from misfits(part, wanted, keys)
        yield from _other_vocabulary(root / part.replace("text_encoder", "tokenizer"), part, config)
    yield from _unlike(base, root, missing)


def _other_vocabulary(folder: Path, part: str, config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem if the tokenizer has more tokens than the text encoder: it belongs to another model."""
    if not part.startswith("text_encoder") or not (folder / "vocab.json").is_file():
        return
    words, rows = len(read_json(folder / "vocab.json")), config.get("vocab_size", _tensor_shapes.TEXT["vocab_size"])
    if words > rows:
        what = f"{folder.name} has {words} tokens but {part} only {rows}: they are from different models."
        yield Problem(what, cure=COPY)


def _unlike(base: Base, root: Path, missing: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem if the text encoders' width differs from the U-Net's cross-attention width."""
    if missing:
        return
    seen = read_json(root / "unet" / "config.json").get(
        "cross_attention_dim", _tensor_shapes.UNET["cross_attention_dim"]
    )
    texts = [read_json(root / text.name / "config.json") for text in base.model.texts]
    width = sum(config.get("hidden_size", _tensor_shapes.TEXT["hidden_size"]) for config in texts)
    if isinstance(seen, int) and seen != width:
        what = f"its U-Net expects text of width {seen}, but its text encoder gives {width}: they are from different models."
        yield Problem(what, cure=COPY)


def _single_file(base: Base, root: Path) -> Iterator[Problem]:
    keys = keys_of(root)
    for part in _parts(base):
        if part == "vae" and base.vae is not None:
            continue
        config = _config(base, part)
        shapes = shapes_of(base.model.texts, part, config)
        if shapes is None:
            continue
        if part in ("unet", "vae"):
            wanted = in_ldm_file(part, config, shapes, UNET if part == "unet" else VAE)
        else:
            wanted = text_in_ldm_file(next(text for text in base.model.texts if text.name == part), shapes)
        yield from misfits(part, wanted, keys, OTHER if base.config or part != "unet" else SMALLER)


def _config(base: Base, part: str) -> Mapping[str, Any]:
    return read_json(base.config.path / part / "config.json") if base.config else base.known[part]


def _own_vae(base: Base, path: Path) -> Iterator[Problem]:
    """Yield the problems of a separate VAE: in LDM's or diffusers' layout, with LDM's prefix or without."""
    wrong = [*_no_vae(base, path)]
    yield from wrong
    if wrong:
        return
    config = _described_vae(base)
    told = _folder_detection.of_vae(path) if path.is_dir() else {}
    ours, theirs = (each.get("scaling_factor") for each in (config, told))
    if ours and theirs and ours != theirs:
        what = f"is a VAE of another family: its latents are scaled by {theirs}, but the base expects {ours}."
        yield Problem(what, cure="Name a VAE that was made for this kind of base.")
        return
    keys = _vae_keys(path)
    shapes = _tensor_shapes.vae(config)
    if shapes is None:
        return
    levels = len({**_tensor_shapes.VAE, **config}["block_out_channels"])
    wanted = (((key, older_vae_name(key), vae_name(key, levels)), shape) for key, shape in shapes.items())
    latent = config.get("latent_channels", 4)
    there = next((keys[key][0] // 2 for key in ("encoder.conv_out.weight",) if keys.get(key)), latent)
    if there != latent:
        what = f"is a VAE of {there} channels (as in SD3 and FLUX), but the base's has {latent}."
        yield Problem(what, cure="Name a VAE that was made for this kind of base.")
        return
    yield from misfits("", wanted, keys)


def _no_vae(base: Base, path: Path) -> Iterator[Problem]:
    """Yield a problem if a file or folder is not a VAE."""
    if path.is_dir():
        _folder_detection.of_vae(path)
    keys = _vae_keys(path)
    if not any(key.startswith(VAE_BEGINS) for key in keys):
        what = _model_detection.of_keys(keys).what.removesuffix(", not a base model")
        yield Problem(f"is {what}, not a VAE.", cure="Name a VAE's file or folder.")


def _vae_keys(path: Path) -> Mapping[str, Shape]:
    return {key.removeprefix(VAE): shape for key, shape in keys_in(vae_files(path)).items()}


def _described_vae(base: Base) -> Mapping[str, Any]:
    folder = base.config.path if base.config else base.checkpoint.path
    return read_json(folder / "vae" / "config.json") if folder.is_dir() else base.known["vae"]


def no_vocabulary(base: Base) -> Problem | None:
    """Return a problem if captions cannot be encoded because the vocabulary is missing."""
    from lorapipe.models._clip_vocabulary import find

    checkpoint = base.checkpoint.path
    described = base.config.path if base.config and not checkpoint.is_dir() else checkpoint
    names = [text.tokenizer for text in base.model.texts]
    if all(described.is_dir() and vocabulary_in(described / name) for name in names):
        return None
    try:
        find(checkpoint)
    except InputError as error:
        return error.problems[0]
    return None
