"""The `export` stage: writes weights to a file that other programs load."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.formats import Format
from lorapipe.pipeline.artifacts import Artifact, Base, File, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.delivery_log import HASH, sealed
from lorapipe.pipeline.events import Log
from lorapipe.spec import Destination, Source, param
from lorapipe.stages import Stage, _checkpoint_export, _compatibility
from lorapipe.stages._checkpoint_export import CheckpointExport

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Family, Model
    from lorapipe.training_record import TrainingRecord

ENDING = ".safetensors"
ROUNDING = {"fp32": 1e-6, "fp16": 2**-10, "bf16": 2**-7}
"""Largest relative error of ΔW from rounding both factors: half a unit in the last place each, with a margin."""

EPSILON = 2**-22
"""Rounding of float32 in sums with the base's weight, which is relative to the weight."""
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
        metadata = partial(self._metadata, snapshot, learned, model.diffusion.prediction)
        formats.save(learned, names, path, self.format, dtype=self.dtype, metadata=metadata)
        worst = self._verify(path, learned, model)
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
        about = self._about(snapshot, learned, model.diffusion.prediction)
        about = {key: value for key, value in about.items() if not key.startswith("ss_network_")}

        def metadata(digest: str) -> Mapping[str, str]:
            chosen = about | {HASH: digest}
            if self.metadata == "none":
                return chosen
            return sealed(chosen | {"modelspec.hash_sha256": f"0x{digest}"})

        worst = found.write(path, self._is_folder, metadata)
        changed = f"{len(learned.modules)} layers changed at strength {strength:g}"
        context.emit(Log(text=f"a checkpoint, {changed}, {_megabytes(path):.1f} MB, read back within {worst:.1e}"))
        return Base(path)

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
            text = f"As a LoRA of rank {self.convert_rank} it has an error of {found.error:.1%} (of the norm of ΔW)"
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

    def _metadata(
        self, snapshot: Snapshot, learned: AdapterWeights, prediction: str, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, str]:
        from lorapipe.formats import serialize
        from lorapipe.metadata import hashes

        chosen = {**self._about(snapshot, learned, prediction), **hashes(serialize(tensors, {}))}
        return chosen if self.metadata == "none" else sealed(chosen)

    def _about(self, snapshot: Snapshot, learned: AdapterWeights, prediction: str) -> dict[str, str]:
        """Return the metadata that does not depend on the file's bytes."""
        from lorapipe.metadata import kohya_metadata, origin_metadata, untrained_metadata
        from lorapipe.training_record import TrainingRecord

        record = TrainingRecord.load(self.weights.training) if self.weights.training else None
        base = cast("Family", self.weights.model)
        if record:
            step, epoch, algorithms = snapshot.step, snapshot.epoch, learned.algorithms
            chosen = kohya_metadata(record, self.title, step, epoch, self.metadata, algorithms)
        else:
            chosen = untrained_metadata(type(base), base.base_model_version(prediction), learned, self.metadata)
            chosen |= {} if self.metadata != "full" else origin_metadata(snapshot.path)
        if self.convert != "own":
            loader = untrained_metadata(type(base), base.base_model_version(prediction), learned, "none")
            chosen |= {key: value for key, value in loader.items() if key.startswith("ss_network_")}
        if self.metadata != "none":
            chosen |= {"ss_training_comment": self.comment} if self.comment else {}
            # The snapshot's own time: exporting the same weights twice gives the same bytes.
            made = datetime.datetime.fromtimestamp(snapshot.path.stat().st_mtime, datetime.UTC)
            chosen["ss_training_finished_at"] = str(made.timestamp())
            chosen |= self._modelspec(record, base, prediction, made, learned)
        return chosen

    def _modelspec(
        self,
        record: TrainingRecord | None,
        base: Family,
        prediction: str,
        made: datetime.datetime,
        learned: AdapterWeights,
    ) -> dict[str, str]:
        from lorapipe.metadata import modelspec

        return modelspec(
            record.architecture if record else base.architecture(prediction),
            record.prediction if record else prediction,
            self.title,
            made.isoformat(timespec="seconds").replace("+00:00", "Z"),
            record.resolution if record else None,
            record.settings.get("clip_skip", 1) if record else 1,
            self.trigger or next(iter(learned.embeddings), ""),
            self._hint(record),
            kind="" if self.convert == "checkpoint" else "lora" if learned.modules else "textual-inversion",
        )

    def _hint(self, record: TrainingRecord | None) -> str:
        if self.convert == "checkpoint":
            return f"Made at {record.resolution[0]}x{record.resolution[1]}." if record else ""
        size = f", at {record.resolution[0]}x{record.resolution[1]}" if record else ""
        usage = f" {self.weights.usage}" if self.weights.usage else ""
        return f"Strength {self.weights.strength:g}{size}.{usage}"

    def _verify(self, path: Path, learned: AdapterWeights, model: Model) -> float:
        """Return the largest relative error of a module's ΔW in the file. `LorapipeError` if it exceeds rounding.

        If ΔW depends on the base's weights, random ones are used instead: no weights are loaded.
        """
        from lorapipe import formats
        from lorapipe.training.adapter_layers.base_weights import drawn

        read = formats.open(path, model.kohya_names())
        if read.modules.keys() != learned.modules.keys():
            raise LorapipeError("the file read back has other modules than the adapter.", where=str(path))
        worst = 0.0
        for place, module in learned.modules.items():
            needed = module.needs_weight or read.modules[place].needs_weight
            weight = drawn(model, place) if needed else None
            wanted, found = module.delta(weight), read.modules[place].delta(weight)
            size, apart = float(wanted.norm()) or 1e-12, float((found - wanted).norm())
            error = apart / size
            if not apart <= 4 * ROUNDING[self.dtype] * size + (0 if weight is None else EPSILON * float(weight.norm())):
                what = f"ΔW of {' '.join(place)} was not saved exactly (relative error {error:.1e})."
                raise LorapipeError(what, where=str(path), cure="Export with dtype: fp32 and report this.")
            worst = max(worst, error)
        return max(worst, self._verify_words(path, learned, read))

    def _verify_words(self, path: Path, learned: AdapterWeights, read: AdapterWeights) -> float:
        """Return the same for vectors of words, in order, since not every format has their names."""
        worst = 0.0
        if (nets := learned.hypernetwork) is not None:
            theirs = read.hypernetwork.tensors() if read.hypernetwork else {}
            worst = max(_error(theirs[key], tensor) for key, tensor in nets.tensors().items())
            if not worst <= ROUNDING[self.dtype]:
                raise LorapipeError(
                    f"the networks were not saved exactly (relative error {worst:.1e}).", where=str(path)
                )
        for wanted, found in zip(learned.embeddings.values(), read.embeddings.values(), strict=True):
            if wanted.keys() != found.keys():
                raise LorapipeError("the file read back has vectors for other text encoders.", where=str(path))
            for part, vectors in wanted.items():
                error = _error(found[part], vectors)
                if not error <= ROUNDING[self.dtype]:
                    raise LorapipeError(
                        f"the vectors were not saved exactly (relative error {error:.1e}).", where=str(path)
                    )
                worst = max(worst, error)
        return worst


def _error(found: Tensor, wanted: Tensor) -> float:
    """Return the relative error of a tensor."""
    return float((found.float() - wanted).norm() / wanted.norm().clamp(min=1e-12))


def _megabytes(path: Path) -> float:
    """Return the size of a file, or of a folder's files, in megabytes."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file()) / 1e6


def _contents(learned: AdapterWeights) -> str:
    vectors = {word: len(next(iter(each.values()))) for word, each in learned.embeddings.items()}
    words = [f"{word} of {count} vectors" for word, count in vectors.items()]
    modules = [f"{len(learned.modules)} modules"] if learned.modules else []
    nets = [f"a hypernetwork of {', '.join(map(str, learned.hypernetwork.nets))}"] if learned.hypernetwork else []
    return ", ".join([*modules, *words, *nets])
