"""The report of `lorapipe inspect`, made from the headers and numbers of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lorapipe.errors import InputError, Problem, counted, listed
from lorapipe.formats import _embeddings, _hypernetwork, all_formats
from lorapipe.formats._reader import Contents, NamedModule, contents
from lorapipe.formats._tensor_file import AGAIN, TensorFile
from lorapipe.formats._unread_keys import first_few
from lorapipe.formats.peft import Peft
from lorapipe.inspection import _norms, _training_facts, base_family
from lorapipe.inspection._module_names import ModuleName, parsed
from lorapipe.models import _folder_detection, _model_detection

if TYPE_CHECKING:
    from collections.abc import Iterator

DAMAGED = "It cannot be used as it is: " + AGAIN[0].lower() + AGAIN[1:]
TEXT_PARTS = {"text_encoder": "text encoder", "text_encoder_2": "text encoder 2"}


@dataclass(frozen=True)
class PartReport:
    """A part of the model that a file changes."""

    modules: int
    blocks: Mapping[str, int]
    """Block → modules in it."""


@dataclass(frozen=True)
class FileReport:
    """The report of a file. In JSON, these names and meanings are stable; fields may be added."""

    file: str
    bytes: int
    container: str
    kind: Literal["adapter", "embedding", "other"]
    what: str
    """A phrase that follows "is"."""
    formats: tuple[str, ...] = ()
    """The formats of its keys: `kohya`, `diffusers`, `peft`."""
    algorithms: Mapping[str, int] = field(default_factory=dict)
    """Algorithm → modules."""
    modules: int = 0
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Rank → modules, for algorithms with ranks and alphas."""
    alphas: Mapping[str, int] = field(default_factory=dict)
    """Alpha → modules; `none` for those without one in the file."""
    parts: Mapping[str, PartReport] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    """Embedding's word → text encoder → (vectors, numbers in each)."""
    base: str = ""
    """The family by names and shapes; `training` has the one in the metadata."""
    trigger: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)
    """The most frequent tags of the captions, with their counts."""
    tensors: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Number type → tensors."""
    not_finite: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Key → (NaN, infinite) numbers in it."""
    problems: tuple[str, ...] = ()
    norms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Part → block → ‖ΔW‖ (Frobenius) of its modules together, where it can be told without the base."""
    suspicions: tuple[str, ...] = ()
    """What is odd, though the file can be used."""

    def as_data(self) -> dict[str, object]:
        """Return JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class InspectedFile:
    """An open file with its report."""

    file: TensorFile
    contents: Contents
    names: Mapping[str, ModuleName]
    """A module's name in the file → the parsed name."""
    report: FileReport

    def alpha(self, module: NamedModule) -> float | None:
        """Return a module's alpha from its tensor; None if there is none."""
        return _number(self.file, module.alpha_key)


def inspected(path: Path) -> InspectedFile:
    """Open a file and make its report. `InputError`, with the path, if it is damaged or would run code."""
    file = open_file_in_words(path)
    if not file.headers:
        raise InputError("contains no tensors.", where=str(path), cure="Is it the right file?")
    try:
        found = contents(file.stored, [Peft()] if file.stored.texts else all_formats(), path.stem)
    except InputError as error:
        raise InputError(Problem(each.what, str(path), each.cure) for each in error.problems) from None
    names = {module.name: parsed(module.name) for module in found.modules}
    common = {
        "file": str(path),
        "bytes": file.size,
        "container": file.container,
        "tensors": len(file.headers),
        "dtypes": dict(Counter(header.dtype or "unknown" for header in file.headers.values()).most_common()),
    }
    if _hypernetwork.sorted_keys([*file.headers])[0]:
        return InspectedFile(file, found, names, _of_hypernetwork(file, common))
    if (other := _other_kind(file, found)) is not None:
        return InspectedFile(file, found, names, FileReport(kind="other", what=other, **common))  # type: ignore[arg-type]
    return InspectedFile(file, found, names, _of_adapter(file, found, names, common))


def open_file_in_words(path: Path) -> TensorFile:
    """Call `open_file`. `InputError` for a folder that is not an adapter's, with its kind."""
    from lorapipe.formats._tensor_file import open_file

    if path.is_dir() and not any((path / name / "adapter_config.json").is_file() for name in ("", *_folders(path))):
        what = _folder_detection.of_folder(path).what
        raise InputError(f"is {what}, not an adapter's file.", where=str(path), cure="Name a file.")
    return open_file(path)


def _folders(path: Path) -> Iterator[str]:
    return (each.name for each in path.iterdir() if each.is_dir())


def _other_kind(file: TensorFile, found: Contents) -> str | None:
    """Return the kind of a file that is mostly not an adapter or embedding; None if it is one."""
    ours = sum(len(module.keys) + bool(module.alpha_key) for module in found.modules if not module.flaw)
    ours += sum(map(len, found.words.values()))
    if 2 * ours >= len(file.headers):
        return None
    kind = _model_detection.of_keys({key: header.shape for key, header in file.headers.items()})
    if found.modules and len(found.others) * 2 < len(file.headers) and ".lora_" in "".join(file.headers):
        return None  # a damaged adapter
    if "LoRA" in kind.what:
        return None
    family = base_family.of_names(file.headers)
    return f"an adapter of {family}, which is not read" if family and "Stable" in kind.what else kind.what


def _of_hypernetwork(file: TensorFile, common: Mapping[str, object]) -> FileReport:
    """Return the report of a hypernetwork: its contexts, layers and activation, or what is wrong with them."""
    keys, rest = _hypernetwork.sorted_keys([*file.headers])
    not_finite = dict(_not_finite(file))
    what, problems = "a hypernetwork", [*_odd_numbers(file, not_finite)]
    if others := _embeddings.sorted_keys(rest, "")[1]:
        problems.append(f"it has unknown keys: {first_few(others)}.")
    try:
        read = _hypernetwork.read(keys, file.stored.tensors, file.stored.metadata)
    except InputError as error:
        problems += [problem.what for problem in error.problems]
    else:
        assert read is not None
        widths = listed([str(width) for width in read.nets])
        layers = ", ".join(f"{side:g}" for side in read.structure)
        norm = ", LayerNorm" if read.has_layer_norm else ""
        what += f" for contexts of {widths}: layers {layers}, {read.activation}{norm}"
    training = _training_facts.of_metadata(file.stored.metadata)
    return FileReport(
        kind="other", what=what, training=training, not_finite=not_finite, problems=tuple(problems), **common  # type: ignore[arg-type]
    )  # fmt: skip


def _of_adapter(
    file: TensorFile, found: Contents, names: Mapping[str, ModuleName], common: Mapping[str, object]
) -> FileReport:
    algorithms = Counter(module.algorithm.name for module in found.modules)
    ranked = [module for module in found.modules if module.algorithm.has_alpha and not module.flaw]
    not_finite = dict(_not_finite(file))
    norms = {} if not_finite else _norms.module_norms(file, found)
    return FileReport(
        kind="adapter" if found.modules else "embedding",
        what=_in_words(algorithms, found),
        formats=_formats(found),
        algorithms=dict(algorithms.most_common()),
        modules=len(found.modules),
        ranks=_counts(str(module.algorithm.rank(module.tensors)) for module in ranked),
        alphas=_counts(_alpha_in_words(file, module) for module in ranked),
        parts=_parts(names),
        words={
            word: {TEXT_PARTS.get(part, part): _size(file, key) for part, key in keys.items()}
            for word, keys in found.words.items()
        },
        base=_base(file, found, names),
        trigger=_training_facts.trigger(file.stored.metadata) or ", ".join(found.words),
        training=_training_facts.of_metadata(file.stored.metadata),
        tags=_training_facts.tags(file.stored.metadata),
        not_finite=not_finite,
        problems=tuple(_problems(file, found, not_finite)),
        norms=_norms.by_block(norms, names),
        suspicions=tuple(_norms.suspicions(norms, names)),
        **common,  # type: ignore[arg-type]
    )


def _formats(found: Contents) -> tuple[str, ...]:
    used = {type(module.format) for module in found.modules}
    return tuple(each.name for each in all_formats() if type(each) in used)


def _in_words(algorithms: Mapping[str, int], found: Contents) -> str:
    words = counted(len(found.words), "embedding") if found.words else ""
    if not algorithms:
        return f"an adapter's file: {words}" if len(found.words) > 1 else "an embedding (textual inversion)"
    return f"an adapter: {' and '.join(algorithms)}{f', with {words} bundled in it' if words else ''}"


def _base(file: TensorFile, found: Contents, names: Mapping[str, ModuleName]) -> str:
    if found.modules:
        of_modules = base_family.of_modules((module, names[module.name]) for module in found.modules)
        return of_modules or base_family.of_names(file.headers)
    return base_family.of_vectors(file.headers[key].shape[-1] for keys in found.words.values() for key in keys.values())


def _parts(names: Mapping[str, ModuleName]) -> dict[str, PartReport]:
    by_part: dict[str, list[str]] = {}
    for name in names.values():
        by_part.setdefault(name.part, []).append(name.block)
    return {part: PartReport(len(blocks), dict(Counter(blocks))) for part, blocks in by_part.items()}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _alpha_in_words(file: TensorFile, module: NamedModule) -> str:
    alpha = _number(file, module.alpha_key)
    return "none" if alpha is None else f"{alpha:g}"


def _number(file: TensorFile, key: str) -> float | None:
    found = file.numbers(key) if key else None
    return float(found.reshape(-1)[0]) if found is not None and found.size else None


def _size(file: TensorFile, key: str) -> tuple[int, int]:
    """Return an embedding's number of vectors and their width."""
    shape = file.headers[key].shape
    return (shape[0] if len(shape) > 1 else 1), shape[-1]


def _not_finite(file: TensorFile) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the keys of tensors with NaN or infinite numbers, and how many of each."""
    import numpy as np

    for key in file.headers:
        numbers = file.numbers(key)
        if numbers is not None and not np.isfinite(numbers).all():
            yield key, (int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum()))


def _problems(file: TensorFile, found: Contents, not_finite: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield the problems, a sentence each, with the keys."""
    for module in found.modules:
        if module.flaw:
            yield f"the module {module.name} is invalid: {module.flaw}."
    yield from (problem.what for problem in found.flaws)
    if found.others:
        yield f"it has unknown keys: {first_few(found.others)}."
    yield from _odd_numbers(file, not_finite)


def _odd_numbers(file: TensorFile, not_finite: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for key, (nan, infinite) in not_finite.items():
        yield f"{key} has {nan} NaN and {infinite} infinite among {file.headers[key].numel()} numbers."
