"""The settings of an `evaluate` stage: what is sampled of which weights, and with what it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lorapipe.evaluation import prompts
from lorapipe.models import Checkpoint
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.spec import Source, Spec, param
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision
from lorapipe.training.solver_names import SolverName

SURER = 2
"""How often `surer: auto` doubles the pictures at most."""


@dataclass(frozen=True)
class EvaluationOptions(Spec):
    """What to judge, and how."""

    weights: Weights = param(help="the weights to judge: a train stage")
    dataset: Dataset | None = param(
        None,
        "a prepare stage with pictures to compare with, for weights that were not trained here; empty: the training set",
    )
    prompts: tuple[str, ...] = param(
        (prompts.AUTO,),
        "the prompts, the same for every snapshot: the trigger word in scenes, poses and clothes that the training pictures "
        "do not all show. Four or more that differ; the verdict measures whether their pictures do. auto, alone or among "
        "others: four scenes made from the captions' tags. The trigger word alone is always a prompt too, where it is known",
        min_items=1,
        word=prompts.AUTO,
    )
    negative_prompt: str = knobs.negative_prompt()
    pictures: int = param(2, "pictures for each prompt in each cell; more make the verdict more certain", ge=1, le=64)
    surer: Literal["never", "auto"] = param(
        "never",
        "auto: if the verdict is not certain, sample twice as many pictures of each prompt and judge again, at most twice: "
        "up to four times the pictures",
        rare=True,
    )
    seed: int = knobs.seed()
    strengths: tuple[float, ...] = param(
        (0.5, 1.0, 1.5),
        "strengths at which the LoRA is applied; a good one works at 1. Others show whether the training was too much "
        "or too little",
        gt=0,
        le=4,
        min_items=1,
    )
    part_strengths: tuple[float, ...] = param(
        (0.0, 0.5, 1.5, 2.0),
        "where denoiser (U-Net or transformer) and text encoder were both trained: also sample the last sound snapshot with "
        "one of them at these strengths and the other at 1, to find a part that learns too fast or too slowly. Those that "
        "lie beyond a worse one are left out; four prompts at most; empty: off",
        ge=0,
        le=4,
        aliases=("text_encoder_strengths",),
        rare=True,
    )
    snapshots: int = param(
        6, "largest number of snapshots to sample, evenly spaced, always with the last one", ge=1, le=1000
    )
    steps: int = knobs.steps()
    cfg: float | None = param(
        None,
        "scale of classifier-free guidance: 5–7 for Stable Diffusion; empty: 7, and 4 for pocket",
        ge=1,
        le=50,
    )
    low_cfg: float | None = param(
        1.5,
        "also sample the chosen snapshot with this low guidance: if its pictures are better there, guidance burns them, not "
        "the training; null: off",
        ge=1,
        le=50,
        rare=True,
    )
    sampler: SolverName = knobs.sampler()
    size: Resolution | None = knobs.size("the base's native size")
    batch: int = knobs.batch()
    clip: Source | None = param(
        None,
        "a CLIP model folder (transformers): adds its similarities to the report. The verdict uses the base's own features",
        rare=True,
    )
    kind: Literal["auto", "subject", "style"] = param(
        "auto",
        "what was trained: a subject (a character, a thing), which is compared part by part, or a style, which is texture. "
        "auto: a subject, if most of the pictures share a part",
        rare=True,
    )
    bases: tuple[Checkpoint, ...] = param(
        (),
        "further checkpoints of the same family, beside the base of the weights: the same prompts, seeds, snapshots and "
        "strengths are sampled on each, one after the other. The report says on which the weights work, on which they fail, "
        "and the strength that each needs; the snapshot is chosen for all",
        shelf="checkpoints",
        rare=True,
    )
    embeddings: tuple[Source, ...] = knobs.embeddings(
        ", such as a negative embedding. They apply to the judged weights and to the base beside them"
    )
    precision: Precision = knobs.precision()

    @property
    def rounds(self) -> int:
        """How often the pictures may be doubled."""
        return SURER if self.surer == "auto" else 0
