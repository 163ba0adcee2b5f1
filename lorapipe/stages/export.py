"""`export`: weights become a file that other programs load."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from lorapipe.atomic import write_bytes
from lorapipe.errors import LorapipeError, Problem
from lorapipe.formats import Format
from lorapipe.pipeline.artifacts import Artifact, File, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery import Delivery
from lorapipe.pipeline.delivery_log import SEAL, seal
from lorapipe.pipeline.events import Log
from lorapipe.spec import Destination, param
from lorapipe.stages import Stage

if TYPE_CHECKING:
    import torch

    from lorapipe.formats import AdapterWeights, ModuleWeights, Names
    from lorapipe.models import Family
    from lorapipe.training_record import TrainingRecord

ENDING = ".safetensors"
SMALL = 2**-10
"""Factors whose largest number is below this are brought up for fp16, whose precision fades below 2⁻¹⁴."""
ROUNDING = {"fp32": 1e-6, "fp16": 2**-10, "bf16": 2**-7}
"""Relative error of ΔW that rounding both factors may cause: two halves of a unit in the last place, and some."""


@dataclass(frozen=True)
class Export(Stage):
    """Write a LoRA file for ComfyUI, A1111, Forge or diffusers, read it back, and compare every module's ΔW."""

    version: ClassVar[int] = 1
    makes: ClassVar[type[Artifact]] = File

    weights: Weights = param(help="what to export: $evaluation.best, or a train stage for its last snapshot")
    to: Destination = param(
        help="where the file goes, such as out/penny.safetensors; in a folder, out/, it is called as the pipeline's file "
        "is. ComfyUI keeps loaded files by name: a new name for a new version is safe",
        content=False,
        kohya=("output_dir", "output_name"),
    )
    format: Format = param(
        Format.default("kohya"), "the dialect of its keys; kohya's is loaded everywhere", kohya=("save_model_as",)
    )
    dtype: Literal["fp16", "bf16", "fp32"] = param(
        "fp16", "numbers of the file: fp16 is usual, fp32 twice the size", kohya=("save_precision",)
    )
    metadata: Literal["full", "private", "none"] = param(
        "full",
        "what the file tells of its making; private leaves out names, tags and folders, none all but the format",
        kohya=("no_metadata",),
    )
    title: str = param(
        "",
        "a name written into the file, which A1111 shows; empty: programs show the file's name",
        kohya=("metadata_title",),
    )
    comment: str = param(
        "", "a note written into the file, for whoever reads its metadata", kohya=("training_comment",)
    )
    trigger: str = param("", "the trigger word or phrase, for programs that show it")
    overwrite: bool = param(
        False,
        "let a file go that is there and that lorapipe has not made, or that was changed since; its own it always replaces",
        content=False,
    )

    def problems(self) -> Iterator[Problem]:
        """See `Spec.problems`."""
        if (found := self.to.complaint(ENDING)) is not None:
            yield Problem(found[0], cure=found[1], path=("to",))

    def deliveries(self) -> Iterator[Delivery]:
        """See `Stage.deliveries`."""
        yield Delivery("to", self.to, attrgetter("path"), ENDING, self.overwrite)

    def run(self, context: Context) -> File:
        """See `Stage.run`."""
        from lorapipe.formats._files import load
        from lorapipe.training.snapshots import serialize

        snapshot = self.weights.snapshots[-1]
        names = cast("Family", self.weights.dataset.base).load("cpu").kohya_names()  # loads no weights
        learnt = load(snapshot.path, names)
        tensors = _cast(self.format.save(_in_range(learnt) if self.dtype == "fp16" else learnt, names), self.dtype)
        path = context.out / self.to.file("lora", ENDING).name
        write_bytes(serialize(tensors, self._metadata(snapshot, tensors)), path)
        worst = self._verify(path, learnt, names)
        megabytes = path.stat().st_size / 1e6
        context.emit(Log(text=f"{len(learnt.modules)} modules, {megabytes:.1f} MB, ΔW read back within {worst:.1e}"))
        return File(path)

    def cautions(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        """See `Stage.cautions`."""
        from lorapipe.stages._trigger import lacking

        return lacking(self.trigger, self, stages)

    def _metadata(self, snapshot: Snapshot, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
        from lorapipe.metadata import hashes, kohya_metadata, modelspec
        from lorapipe.training.snapshots import serialize
        from lorapipe.training_record import TrainingRecord

        record = TrainingRecord.load(self.weights.training)
        chosen = kohya_metadata(record, self.title, snapshot.step, snapshot.epoch, self.metadata)
        if self.metadata != "none":
            chosen |= {"ss_training_comment": self.comment} if self.comment else {}
            # The snapshot's own time: exporting the same weights twice gives the same bytes.
            made = datetime.datetime.fromtimestamp(snapshot.path.stat().st_mtime, datetime.UTC)
            date = made.isoformat(timespec="seconds").replace("+00:00", "Z")
            chosen["ss_training_finished_at"] = str(made.timestamp())
            chosen |= modelspec(record, self.title, date, self.trigger, self._hint(record))
        chosen |= hashes(serialize(tensors, {}))
        return chosen if self.metadata == "none" else {**chosen, SEAL: seal(chosen)}

    def _hint(self, record: TrainingRecord) -> str:
        return f"Strength {self.weights.strength:g}, at {record.resolution[0]}x{record.resolution[1]}."

    def _verify(self, path: Path, learnt: AdapterWeights, names: Names) -> float:
        """The largest relative error of a module's ΔW in the file; an error where it is more than rounding."""
        read = self.format.load(_tensors(path), names)
        if read.modules.keys() != learnt.modules.keys():
            raise LorapipeError("the file read back has other modules than the adapter.", where=str(path))
        worst = 0.0
        for place, module in learnt.modules.items():
            wanted, found = module.delta(), read.modules[place].delta()
            error = float((found - wanted).norm()) / (float(wanted.norm()) or 1e-12)
            if not error <= 4 * ROUNDING[self.dtype]:
                what = f"ΔW of {' '.join(place)} was not saved as it is (relative error {error:.1e})."
                raise LorapipeError(what, where=str(path), cure="Export with dtype: fp32 and report this.")
            worst = max(worst, error)
        return worst


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _in_range(learnt: AdapterWeights) -> AdapterWeights:
    """The same updates with factors that half precision can hold.

    After few steps `up` may be so small that fp16 has but a bit or two left for it. It is multiplied by a power of two, and
    `down` divided by it: ΔW does not change, not even in its last bit.
    """
    return replace(learnt, modules={place: _evened(module) for place, module in learnt.modules.items()})


def _evened(module: ModuleWeights) -> ModuleWeights:
    up, down = (float(module.tensors[name].abs().max()) for name in ("up", "down"))
    if not 0 < up < SMALL or down == 0:
        return module
    power = 2.0 ** round(math.log2(down / up) / 2)
    tensors = {"up": module.tensors["up"] * power, "down": module.tensors["down"] / power}
    return replace(module, tensors={**module.tensors, **tensors})


def _cast(tensors: Mapping[str, torch.Tensor], dtype: str) -> dict[str, torch.Tensor]:
    """The tensors in the file's dtype; alpha keeps float32, since bf16 rounds it above 256."""
    import torch

    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    return {key: tensor if key.endswith(".alpha") else tensor.to(kind) for key, tensor in tensors.items()}
