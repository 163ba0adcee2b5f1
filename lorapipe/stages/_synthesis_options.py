"""The settings of a `synthesize` stage: what is painted with which weights, and what is chosen of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lorapipe.evaluation import prompts
from lorapipe.models import Family
from lorapipe.pipeline.artifacts import Dataset, Pictures, Weights
from lorapipe.spec import Source, Spec, param
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._merge_inputs import AdapterWeight
from lorapipe.stages._picture_folder import PictureFolder
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision
from lorapipe.training.solver_names import SolverName


@dataclass(frozen=True)
class SynthesisOptions(Spec):
    """What to paint, and what to choose."""

    weights: Weights | None = param(
        None,
        "the weights to paint with: a train stage, whose last snapshot is taken, or the chosen one, $grid.best; empty: the "
        "base alone",
    )
    base: Family | None = param(
        None, "the base to paint on, if not the weights' own: another checkpoint paints in another style"
    )
    against: Dataset | None = param(
        None,
        "a prepare stage of true pictures, which what is painted is held against: how much of the subject it shows, and "
        "that it copies none. One picture is enough. Empty: the training set",
    )
    prompts: tuple[str, ...] = param(
        (prompts.AUTO,),
        "what is painted, and the pictures' captions: the trigger word in scenes, poses and clothes. auto: four scenes made "
        "from the captions' tags, and the trigger word alone",
        min_items=1,
        word=prompts.AUTO,
    )
    negative_prompt: str = knobs.negative_prompt()
    pictures: int = param(
        4, "pictures for each prompt at each strength and in each style, to choose from", ge=1, le=256
    )
    seed: int = knobs.seed()
    strengths: tuple[float, ...] = param(
        (),
        "strengths at which the weights are applied; empty: what evaluate recommends, 1 for a train stage",
        gt=0,
        le=4,
    )
    styles: tuple[AdapterWeight, ...] = param(
        (),
        "adapters of styles, to vary how the subject is drawn: each prompt is painted with each of them, and none without. "
        "Another style is also another base",
    )
    denoise: float | None = param(
        None,
        "paint over the true pictures instead of from pure noise (img2img): 0.7 keeps their composition, 1 nothing; empty: "
        "from noise",
        gt=0,
        le=1,
    )
    choose: int = param(4, "number of pictures to choose", ge=1, le=10_000)
    ask: bool = param(
        False,
        "let a person choose, on a local page that `lorapipe run` opens for it. The run waits meanwhile without holding the "
        "device, and goes on after a kill; a script writes the pictures' numbers into the file that the run names",
    )
    least_likeness: float = param(
        0.6,
        "a picture with less than this share of the highest likeness is not chosen, however much it differs",
        ge=0,
        le=1,
        rare=True,
    )
    again: tuple[PictureFolder, ...] = param(
        (),
        "pictures of earlier synthesize stages, which are judged again beside the new ones: stand-outs among them are not "
        "chosen again",
        shelf="pictures",
        rare=True,
    )
    after: Pictures | None = param(
        None,
        "an earlier synthesize stage: if the pictures are less like the true ones than its were, the stage fails, so that a "
        "loop of training and painting ends before it collapses",
    )
    most_fall: float = param(
        0.2, "with after: the largest share of its pictures' likeness that may be lost", ge=0, lt=1, rare=True
    )
    steps: int = knobs.steps()
    cfg: float | None = param(
        None,
        "scale of classifier-free guidance. Higher burns the colours, and a training learns that; empty: 6, and 4 for "
        "pocket",
        ge=1,
        le=50,
    )
    sampler: SolverName = knobs.sampler()
    size: Resolution | None = knobs.size("that of the training")
    batch: int = knobs.batch()
    kind: Literal["auto", "subject", "style"] = param(
        "auto",
        "what was trained, as in evaluate: a subject, or a style. auto: a subject, if the pictures share a part",
        rare=True,
    )
    embeddings: tuple[Source, ...] = knobs.embeddings()
    precision: Precision = knobs.precision()
