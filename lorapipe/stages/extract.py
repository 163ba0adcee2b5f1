"""The `extract` stage: the difference of two checkpoints as a LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import Problem
from lorapipe.models import Checkpoint, Family
from lorapipe.pipeline.artifacts import Artifact, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages._kept import emit_report, modules_told

if TYPE_CHECKING:
    from lorapipe.lora_tools.extract import ExtractRules


@dataclass(frozen=True)
class Extract(Stage):
    """Extract a LoRA from a tuned checkpoint and its base (distil): the best approximation of their difference."""

    menu_title: ClassVar[str] = "Extract LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("extract lora", "checkpoint difference", "svd")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Weights

    tuned: Checkpoint = param(
        help="the tuned checkpoint: a file or a diffusers folder, of the base's family", shelf="checkpoints"
    )
    base: Family = param(help="the base model that it was trained from, whose LoRA it becomes")
    form: Literal["lora", "diff"] = param(
        "lora",
        "lora, the nearest LoRA; diff, the dense difference of all layers, biases and normalisations: exact, as large as "
        "the base",
    )
    rank: int = param(
        64,
        "rank of Linear layers and 1×1 convolutions; the largest one, where energy or threshold chooses. More keeps more of "
        "the difference: the log says how much",
        ge=1,
        le=768,
        kohya=("dim",),
    )
    conv_rank: int = param(
        0,
        "rank of the convolutional blocks' layers (LoCon): 3×3 convolutions have this one; 0 leaves the blocks out, as a "
        "plain LoRA does",
        ge=0,
        le=768,
        kohya=("conv_dim",),
    )
    energy: float | None = param(
        None,
        "choose each module's rank so that it keeps this share of the squared norm of its difference: 0.95; rounding noise "
        "of half-precision files is never kept",
        gt=0,
        le=1,
    )
    threshold: float | None = param(
        None,
        "choose each module's rank so that what it loses has at most this Frobenius norm: modules that changed more get "
        "more; those that changed less are left out",
        gt=0,
        rare=True,
    )
    block_ranks: tuple[int, ...] = param(
        (),
        "a rank for each block of the denoiser (U-Net) in place of rank: 25 numbers for SD1.x and SD2, 23 for SDXL; 0 "
        "leaves a block out",
        ge=0,
        le=768,
        kohya=("block_dims",),
        rare=True,
    )
    text_encoders: bool = param(True, "also extract the text encoders' differences")
    clamp: float | None = param(
        None,
        "cut off the factors' values beyond this quantile, as kohya's script does at 0.99; it bends the strongest "
        "directions and more than doubles the error; empty: off",
        gt=0.5,
        lt=1,
        kohya=("clamp_quantile",),
        rare=True,
    )
    dtype: Literal["fp16", "bf16", "fp32"] = param(
        "fp16", "number type of the file: fp16 is usual, fp32 twice the size", kohya=("save_precision",), rare=True
    )

    def problems(self) -> Iterator[Problem]:
        yield from self._rule_problems()
        if isinstance(self.tuned, Source) and not self.base.is_pending:
            yield from self._file_problems()
        if self.block_ranks and not self.base.is_pending and (found := self.base.footprint()):
            from lorapipe.training.adapter_layers.block_widths import Blocks

            yield from Blocks.problems(self, found.blocks)

    def _rule_problems(self) -> Iterator[Problem]:
        if self.energy is not None and self.threshold is not None:
            yield Problem("both energy and threshold choose ranks.", cure="Keep one of them.", path=("threshold",))
        for name in ("energy", "threshold", "clamp") if self.form == "diff" else ():
            if getattr(self, name) is not None:
                yield Problem("is for form: lora alone.", cure="Take it away.", path=(name,))

    def _file_problems(self) -> Iterator[Problem]:
        path, other = self.tuned.path, self.base.checkpoint.path
        if path.exists() and other.exists() and path.samefile(other):
            yield Problem(
                f"{path.name} is the base itself: nothing differs.",
                cure="Name the tuned checkpoint here, and under base what it was trained from.",
                path=("tuned",),
            )
            return
        for problem in self._tuned_base().problems():
            cure = problem.cure
            if "LoRA" in problem.what:
                cure = "Name a checkpoint; a LoRA is made smaller by resize, and added to a base by merge."
            elif cure.startswith("Write family"):
                cure = f"The base is {self.base.kind}: name two checkpoints of one family."
            yield replace(problem, what=f"{path.name} {problem.what}", cure=cure, path=("tuned",))

    def _tuned_base(self) -> Family:
        """Return the tuned checkpoint as a base; a single file is described by the base, if that is a folder."""
        base, folder = self.base, self.base.checkpoint.path
        is_described = folder.is_dir() and not self.tuned.path.is_dir() and getattr(base, "config", self) is None
        described = {"config": Source(folder)} if is_described else {}
        return replace(base, checkpoint=self.tuned, **described)

    def rules(self) -> ExtractRules:
        """Return the settings that say what to extract."""
        from lorapipe.lora_tools.extract import ExtractRules

        return ExtractRules(**{each.name: getattr(self, each.name) for each in fields(ExtractRules)})

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        if self.form == "lora" and not self.base.is_pending and (found := self.base.footprint()):
            parts = [part for part in self.base.trainable if self.text_encoders or part == self.base.denoiser]
            refs = [ref for part in parts for ref in found.targets(part, self.conv_rank > 0)]
            yield f"differences of up to {len(refs)} modules"

    def run(self, context: Context) -> Weights:
        from lorapipe.lora_tools.extract import extract
        from lorapipe.training.device import Compute

        path = context.out / "extracted.safetensors"
        device = Compute.of(context.device, "fp32").device
        tell = modules_told(context)
        found = extract(self._tuned_base(), self.base, self.rules(), path, dtype=self.dtype, tell=tell, device=device)
        emit_report(found, context)
        return Weights((Snapshot(1, 0, path),), base=self.base)
