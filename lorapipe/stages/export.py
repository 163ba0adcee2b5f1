"""The `export` stage: writes weights to a file that other programs load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from lorapipe.errors import InputError, Problem
from lorapipe.formats import Format
from lorapipe.percent import percent
from lorapipe.pipeline.artifacts import Artifact, Base, File, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.events import Log
from lorapipe.spec import Destination, Source, param
from lorapipe.stages import Stage, _checkpoint_export, _compatibility
from lorapipe.stages._checkpoint_export import CheckpointExport

if TYPE_CHECKING:
    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Family, Model
    from lorapipe.stages._file_metadata import FileMetadata

ENDING = ".safetensors"
NOTABLE = 0.1
"""The relative error of a conversion above which it is reported as a warning."""


@dataclass(frozen=True)
class Export(Stage):
    """Write a LoRA file for ComfyUI, A1111, Forge or diffusers, read it back, and compare every module's ΔW."""

    menu_title: ClassVar[str] = "Export, save LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("save lora", "save checkpoint", "convert lora", "safetensors")
    version: ClassVar[int] = 1
    makes: ClassVar[type[Artifact]] = File

    weights: Weights = param(help="the weights to export: $evaluation.best, or a train stage for its last snapshot")
    to: Destination = param(
        help="path of the file, such as out/penny.safetensors; in a folder, out/, it gets the name of the pipeline's file. "
        "ComfyUI caches loaded files by name, so give a new version a new name",
        content=False,
        kohya=("output_dir", "output_name"),
    )
    format: Format = param(
        Format.default("kohya"),
        "kohya is loaded everywhere; diffusers is for load_lora_weights; peft is a folder for PeftModel.from_pretrained",
        kohya=("save_model_as",),
    )
    dtype: Literal["fp16", "bf16", "fp32"] = param(
        "fp16", "number type of the file: fp16 is usual, fp32 twice the size", kohya=("save_precision",)
    )
    metadata: Literal["full", "private", "none"] = param(
        "full",
        "metadata about the training in the file; private: without names, tags and folders; none: only the format",
        kohya=("no_metadata",),
    )
    title: str = param(
        "",
        "a name written into the file, which A1111 shows; empty: programs show the file's name",
        kohya=("metadata_title",),
    )
    comment: str = param("", "a note in the file's metadata", kohya=("training_comment",), rare=True)
    trigger: str = param("", "the trigger word or phrase, for programs that show it; an embedding's is its word")
    what: Literal["all", "adapter", "embedding"] = param(
        "all",
        "parts to write if a word was learnt together with an adapter: all in one file (bundle_emb, which ComfyUI and A1111 "
        "read), or one of them",
        rare=True,
    )
    convert: Literal["own", "lora", "diff", "checkpoint"] = param(
        "own",
        "form in the file: the adapter's own; lora, an approximation by singular values that every program reads, with its "
        "error in the log; diff, the dense difference, exact and as large as the base; checkpoint, the base with the update "
        "in it, for a fine-tune or to merge a LoRA: a single file in the original layout, or with format: diffusers a "
        "folder, which `checkpoint: $file` uses as a base",
        rare=True,
    )
    convert_rank: int = param(32, "with convert: lora, the rank; higher is nearer", ge=1, le=768, rare=True)
    strength: float | None = param(
        None,
        "with convert: checkpoint, the share of the update that is added to the base: 0.5 is half way between base and "
        "fine-tune; empty: what evaluate recommends, and 1 for a train stage",
        ge=-4,
        le=4,
        rare=True,
    )
    vae: Source | None = param(
        None,
        "with convert: checkpoint, another VAE for the checkpoint, as for a base; empty: the base's own",
        shelf="vae",
        rare=True,
    )
    overwrite: bool = param(
        False,
        "also replace a file that lorapipe has not made, or that was changed since; files of its own are always replaced",
        content=False,
        rare=True,
    )

    def problems(self) -> Iterator[Problem]:
        yield from _checkpoint_export.problems(self.format.name, self.vae, self.convert, self.strength)
        if (found := self.to.complaint(self._ending)) is not None:
            yield Problem(found[0], cure=found[1], path=("to",))
        elif self._is_folder and self.to.path.suffix == ENDING:
            what = f"{self.format.name} is a folder of files, not one file."
            yield Problem(what, cure=f"Write {self.to.path.stem}/.", path=("to",))

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        return _compatibility.problems(self, stages)

    def deliveries(self) -> Iterator[Delivery]:
        place = attrgetter("path")
        yield Delivery("to", self.to, place, self._ending, self.overwrite, is_folder=self._is_folder)

    @classmethod
    def makes_with(cls, settings: Mapping[str, object]) -> type[Artifact]:
        return Base if settings.get("convert") == "checkpoint" else cls.makes

    @property
    def _is_folder(self) -> bool:
        return not self._ending

    @property
    def _ending(self) -> str:
        """The ending of the file's name; empty for a folder."""
        return "" if self.convert == "checkpoint" and self.format.name == "diffusers" else self.format.ending

    def run(self, context: Context) -> File:
        from lorapipe import formats
        from lorapipe.stages._read_back import largest_error
        from lorapipe.training.model_libraries import import_model_libraries

        import_model_libraries(context.model_cache)
        snapshot = self.weights.snapshots[-1]
        model = cast("Family", self.weights.model).load("cpu")  # loads no weights
        names = model.kohya_names()
        chosen = self._chosen(formats.open(snapshot.path, names))
        (delivery,) = self.deliveries()
        path = context.out / delivery.place("checkpoint" if self.convert == "checkpoint" else "lora").name
        if self.convert == "checkpoint":
            return self._checkpoint(path, snapshot, chosen, model, context)
        learned = self._converted(chosen, model, context)
        metadata = partial(self._about.of_file, snapshot, learned, model.diffusion.prediction)
        formats.save(learned, names, path, self.format, dtype=self.dtype, metadata=metadata)
        worst = largest_error(path, learned, model, self.dtype)
        context.emit(Log(text=f"{_contents(learned)}, {_megabytes(path):.1f} MB, read back within {worst:.1e}"))
        for log in _compatibility.of_file(path):
            context.emit(log)
        return File(path)

    def _checkpoint(
        self, path: Path, snapshot: Snapshot, learned: AdapterWeights, model: Model, context: Context
    ) -> Base:
        """Write the base with the update in it."""
        strength = self.weights.strength if self.strength is None else self.strength
        base, vae = cast("Family", self.weights.model), self.vae.path if self.vae else None
        found = CheckpointExport(base, model, learned, strength, self.dtype, vae)
        metadata = partial(self._about.of_checkpoint, snapshot, learned, model.diffusion.prediction)
        worst = found.write(path, self._is_folder, metadata)
        changed = f"{len(learned.modules)} layers changed at strength {strength:g}"
        context.emit(Log(text=f"a checkpoint, {changed}, {_megabytes(path):.1f} MB, read back within {worst:.1e}"))
        return Base(path)

    @property
    def _about(self) -> FileMetadata:
        from lorapipe.stages._file_metadata import FileMetadata

        return FileMetadata(self.weights, self.convert, self.metadata, self.title, self.comment, self.trigger)

    def _chosen(self, learned: AdapterWeights) -> AdapterWeights:
        """Return the parts to write."""
        kept = learned
        if self.what == "adapter":
            kept = replace(learned, embeddings={})
        elif self.what == "embedding":
            kept = replace(learned, modules={}, hypernetwork=None)
        if not kept.parts and kept.hypernetwork is None:
            raise InputError(f"the weights have no {self.what}.", where="what", cure="Remove what.")
        if kept.hypernetwork is not None and self.format.updates:
            cure = "Write format: a1111, and a name that ends in .pt."
            raise InputError("programs read hypernetworks only in A1111's format.", where="format", cure=cure)
        if (problem := _compatibility.only_elsewhere(kept.algorithms, self)) is not None:
            raise InputError(problem.what, where="format", cure=problem.cure)
        return kept

    def _converted(self, learned: AdapterWeights, model: Model, context: Context) -> AdapterWeights:
        """Return the update in the requested form. The base's weights are loaded only if ΔW depends on them."""
        if self.convert not in ("lora", "diff"):
            return learned.portable() if self.convert == "own" else learned
        from lorapipe.formats import converted
        from lorapipe.training.adapter_layers.base_weights import bias, shape, weight

        form, rank = self.convert, self.convert_rank
        found = converted(learned, form, rank, partial(shape, model), partial(weight, model), partial(bias, model))
        if self.convert == "lora":
            level: Literal["info", "warning"] = "warning" if found.error > NOTABLE or found.biases else "info"
            text = f"As a LoRA of rank {self.convert_rank} it has an error of {percent(found.error, 1)} (of the norm of ΔW)"
            text += f", and changes of {found.biases} biases are left out." if found.biases else "."
            context.emit(Log(text=text, level=level))
        return found.weights

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.stages._trigger import lacking

        yield from _compatibility.of_trainings(self, stages)
        yield from lacking(self.trigger, self, stages)
        training = _compatibility.trained(self, stages)
        if self.convert == "own" and training is not None and training.adapter.in_place:
            what = "these are the changes of a fine-tune, as a file like a LoRA's"
            yield f"{what}; convert: checkpoint writes the base with them, and convert: lora the nearest LoRA."


def _megabytes(path: Path) -> float:
    """Return the size of a file, or of a folder's files, in megabytes."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file()) / 1e6


def _contents(learned: AdapterWeights) -> str:
    vectors = {word: len(next(iter(each.values()))) for word, each in learned.embeddings.items()}
    words = [f"{word} of {count} vectors" for word, count in vectors.items()]
    modules = [f"{len(learned.modules)} modules"] if learned.modules else []
    nets = [f"a hypernetwork of {', '.join(map(str, learned.hypernetwork.nets))}"] if learned.hypernetwork else []
    return ", ".join([*modules, *words, *nets])
