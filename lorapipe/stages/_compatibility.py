"""Compatibility of an export with other programs: checked by its settings before a training, and on the written file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from lorapipe.errors import InputError, Problem, listed
from lorapipe.formats import Format, NameTable
from lorapipe.formats.algorithms import Algorithm
from lorapipe.pipeline.events import Log
from lorapipe.spec import Ref
from lorapipe.stages import Stage
from lorapipe.stages._train_rules import bases_among

if TYPE_CHECKING:
    from lorapipe.inspection.readers import ReadModule
    from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
    from lorapipe.training.adapters import Adapter
    from lorapipe.training.options import TrainingOptions

TRIAL_PATH = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
"""A module of every U-Net and every preset. It is one of an attention, since some programs lack names for these."""


class Exporting(Protocol):
    """The settings of `export` that say what it writes."""

    @property
    def weights(self) -> object: ...
    @property
    def format(self) -> Format: ...
    @property
    def convert(self) -> str: ...
    @property
    def what(self) -> str: ...


def problems(export: Exporting, stages: Mapping[str, Stage]) -> Iterator[Problem]:
    """Yield a problem if the format cannot store the adapter, or the word, that will be trained."""
    if (training := trained(export, stages)) is None:
        return
    for word in training.words:
        yield from _of_word(export, word, is_alone="embedding" in training.adapter.trains)
    if export.what != "embedding":
        yield from _of_adapter(export, training.adapter)


def _of_word(export: Exporting, word: WordEmbedding, is_alone: bool) -> Iterator[Problem]:
    """Yield a problem if there is no place for a word that is learnt, by itself or beside an adapter."""
    if export.what == "adapter":
        if is_alone:
            what = "a word alone is trained, and no adapter."
            yield Problem(what, cure="Take what away.", path=("what",))
        return
    cure = "Write what: adapter, and export the word in another stage, with what: embedding, in kohya's format."
    if export.convert == "checkpoint":
        yield Problem("a checkpoint has no place for the vectors of words.", cure=cure, path=("what",))
        return
    is_alone = is_alone or export.what == "embedding"
    try:
        export.format.embedding_keys(word.trigger, ["text_encoder"], bundled=not is_alone)
    except InputError:
        what = f"{export.format.name} has no place for a word{'' if is_alone else ' beside an adapter'}."
        yield Problem(what, cure="Write format: kohya." if is_alone else cure, path=("format" if is_alone else "what",))


def _of_adapter(export: Exporting, adapter: Adapter) -> Iterator[Problem]:
    if adapter.formats and export.format.name not in adapter.formats:
        form = Format.registry.get(adapter.formats[0])()  # type: ignore[union-attr]
        what = f"programs read what {adapter.name} learns only in the format {' or '.join(adapter.formats)}."
        yield Problem(what, cure=f"Write format: {form.name}, and a name that ends in {form.ending}.", path=("format",))
    if export.convert in ("lora", "checkpoint"):
        return
    name = "full" if export.convert == "diff" else getattr(adapter, "algorithm", "")
    if name and (problem := only_elsewhere([name], export) or _no_place(export, adapter, Algorithm.of(name))):
        yield problem


def _no_place(export: Exporting, adapter: Adapter, algorithm: Algorithm) -> Problem | None:
    """Return a problem if the export's format lacks a tensor of the adapter; else None."""
    shorts = _shorts(adapter, algorithm) if export.convert == "own" else {"diff"}
    suffixes = export.format.suffixes(algorithm)
    lacking = [short for short in shorts if short not in suffixes]
    if suffixes and not lacking and export.format.updates:
        return None
    what = f"{export.format.name} has no place for {adapter.name if export.convert == 'own' else 'a difference'}"
    what += f" ({', '.join(lacking)})." if lacking else "."
    return Problem(what, cure="Write format: kohya, or convert: lora.", path=("format",))


def only_elsewhere(algorithms: Iterable[str], export: Exporting) -> Problem | None:
    """Return a problem if programs read one of these algorithms only in other formats than the export's; else None."""
    if export.convert != "own":
        return None
    for name in algorithms:
        if (formats := Algorithm.of(name).formats) and export.format.name not in formats:
            what = f"programs read {name} only in the format {' or '.join(formats)}."
            cure = (
                f"Write format: {formats[0]}, and a folder such as to: out/penny/; or convert: lora, or convert: diff."
            )
            return Problem(what, cure=cure, path=("format",))
    return None


def of_trainings(export: Exporting, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Yield a warning if no program reads the adapter that will be trained correctly, as the export would write it."""
    from lorapipe.inspection.compatibility import unread

    training = trained(export, stages)
    if training is None or export.convert != "own" or not export.format.ending:
        return
    adapter, base = training.adapter, next(iter(bases_among(training, stages)), None)
    module = _trial(export, adapter, base.denoiser) if base and hasattr(adapter, "algorithm") else None
    found = [*unread([module], module.keys)] if module else []
    if found:
        told = "; ".join(f"{each.program} {each.what}" for each in found)
        cures = [*dict.fromkeys(each.cure for each in found if each.cure)]
        what = f"no program reads {adapter.name} of these settings rightly in {export.format.name}'s format"
        yield f"{what}: {told}. {' '.join(cures)}".strip()


def of_file(path: Path) -> Iterator[Log]:
    """Yield log lines about programs that read a written file wrongly.

    Warnings about programs that load it with a wrong ΔW, and information about those that do not load it.
    """
    from lorapipe.inspection.compatibility import misreadings

    programs: dict[tuple[str, str, bool], list[str]] = {}
    for found in misreadings(path):
        programs.setdefault((found.what, found.cure, found.is_silent), []).append(found.program)
    for (what, cure, is_silent), titles in programs.items():
        yield Log(text=f"{listed(titles)}: {what}. {cure}".strip(), level="warning" if is_silent else "info")


def trained(export: Exporting, stages: Mapping[str, Stage]) -> TrainingOptions | None:
    """Return the training whose weights are exported; None if there is none."""
    stage: object = export
    for _ in stages:
        weights = getattr(stage, "weights", None)
        stage = stages.get(weights.stage) if isinstance(weights, Ref) else None
        if hasattr(stage, "adapter"):
            return cast("TrainingOptions", stage)
    return None


def _shorts(adapter: Adapter, algorithm: Algorithm) -> list[str]:
    """Return the short names of the tensors that every module of the adapter has."""
    needed = [short for short in algorithm.keys if short not in algorithm.optional]
    return [*needed, *(["dora_scale"] if getattr(adapter, "dora", False) else [])]


def _trial(export: Exporting, adapter: Adapter, denoiser: str) -> ReadModule | None:
    """Return a module of the denoiser as the export will write it; None if its format has no name for it."""
    from lorapipe.inspection._module_names import parsed
    from lorapipe.inspection.readers import ReadModule

    algorithm = Algorithm.of(getattr(adapter, "algorithm", ""))
    shorts, place = _shorts(adapter, algorithm), (denoiser, TRIAL_PATH)
    table, suffixes = NameTable({f"lora_unet_{TRIAL_PATH.replace('.', '_')}": place}), export.format.suffixes(algorithm)
    if not suffixes or not set(shorts) <= suffixes.keys():
        return None
    keys = tuple(export.format.key(place, suffixes[short], table) for short in shorts or [*suffixes][:1])
    parts = export.format.split(keys[0])
    of_outputs = "dora_scale" in shorts and getattr(adapter, "dora_axis", "") == "output"
    name = parsed(parts[0]) if parts else None
    return ReadModule(name, algorithm, frozenset(shorts), keys, 1.0, of_outputs) if name else None
