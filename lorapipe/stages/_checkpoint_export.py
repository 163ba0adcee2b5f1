"""Export a base with an update as a checkpoint: a fine-tune, or a LoRA that is merged into its base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.models import Change, Checkpoint, Family, Model, Saving
from lorapipe.spec import Source

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import AdapterWeights, ModuleWeights

Dtype = Literal["fp32", "fp16", "bf16"]
ROUNDING = {"fp32": 2**-21, "fp16": 2**-10, "bf16": 2**-7}
"""Largest error from rounding, relative to a tensor's largest weight, with a margin."""


@dataclass(frozen=True)
class CheckpointExport:
    """The checkpoint of `base` in which every module of `learned` has W + strength · ΔW."""

    base: Family
    model: Model
    learned: AdapterWeights
    strength: float
    dtype: Dtype
    vae: Path | None

    def write(self, path: Path, is_folder: bool, metadata: Callable[[str], Mapping[str, str]]) -> float:
        """Write the checkpoint, read it back as a base, and return the largest relative error of a module's weight.

        `InputError` if the weights contain embeddings or a hypernetwork, which are not changes of modules.
        """
        if self.learned.embeddings or self.learned.hypernetwork is not None:
            what = "a checkpoint has no place for the vectors of words and for hypernetworks."
            raise InputError(what, where="convert", cure="Write what: adapter, and export the word by itself.")
        saving = Saving(self._changes(), self.dtype, metadata, self.vae)
        self.model.save_checkpoint(path, "folder" if is_folder else "single_file", saving)
        return self._verified(path)

    def _changes(self) -> dict[str, dict[str, Change]]:
        found: dict[str, dict[str, Change]] = {}
        for (part, layer), module in self.learned.modules.items():
            names = found.setdefault(part, {})
            names[f"{layer}.weight"] = _added(module, self.strength)
            if module.needs_bias or module.delta_bias() is not None:
                names[f"{layer}.bias"] = _plus_bias(module, self.strength)
        return found

    def _verified(self, path: Path) -> float:
        """Load the written checkpoint, and compare the changed weights."""
        described = {} if path.is_dir() or not self.base.checkpoint.path.is_dir() else {"config": self._described}
        read = replace(self.base, checkpoint=Checkpoint(path), vae=None, **described).load("cpu", self.dtype)  # type: ignore[call-arg]
        worst, base = 0.0, self.base.load("cpu", self.dtype)
        for (part, layer), module in self.learned.modules.items():
            before, after = (_weight(model, part, layer) for model in (base, read))
            wanted = _added(module, self.strength)(before.float())
            error = float((after.float() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
            if not error <= ROUNDING[self.dtype]:
                what = f"{part} {layer} was not saved as it is (relative error {error:.1e})."
                cure = "Export with dtype: bf16 or fp32; fp16 holds no number above 65504."
                raise LorapipeError(what, where=str(path), cure=cure)
            worst = max(worst, error)
        return worst

    @property
    def _described(self) -> Source:
        """The configuration of a single file that was made from a folder: that folder."""
        return getattr(self.base, "config", None) or Source(self.base.checkpoint.path)


def problems(format: str, vae: object, convert: str, strength: float | None) -> list[Problem]:
    """Return the problems of an export's settings that concern checkpoints."""
    found = []
    if convert == "checkpoint" and format not in ("kohya", "diffusers"):
        cure = "Take format away for a single file, or write format: diffusers for a folder."
        found.append(Problem(f"{format} is no form of a checkpoint.", cure=cure, path=("format",)))
    if convert != "checkpoint":
        for name, value in (("vae", vae), ("strength", strength)):
            if value is not None:
                what = "is for convert: checkpoint alone."
                found.append(Problem(what, cure="Take it away, or write convert: checkpoint.", path=(name,)))
    return found


def _weight(model: Model, part: str, layer: str) -> Tensor:
    weight: Tensor = model.part(part).get_submodule(layer).weight.detach()
    return weight


def _added(module: ModuleWeights, strength: float) -> Change:
    def changed(weight: Tensor) -> Tensor:
        return weight + strength * module.delta(weight).reshape(weight.shape)

    return changed


def _plus_bias(module: ModuleWeights, strength: float) -> Change:
    def changed(bias: Tensor) -> Tensor:
        found = module.delta_bias(bias)
        return bias if found is None else bias + strength * found.reshape(bias.shape)

    return changed
