"""`evaluate`: snapshots become pictures, figures and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from lorapipe.atomic import write_text
from lorapipe.errors import Problem, shortened
from lorapipe.pipeline.artifacts import Artifact, Report, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Source, param
from lorapipe.stages import Stage, _prompt_marks
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision

if TYPE_CHECKING:
    from lorapipe.evaluation.clip import Clip
    from lorapipe.evaluation.report_model import EvaluationResult
    from lorapipe.training.families import Family


@dataclass(frozen=True)
class Evaluate(Stage):
    """Sample every snapshot at several strengths from fixed noise, compare, and say which to use and what to change."""

    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Report

    weights: Weights = param(help="what to judge: a train stage")
    prompts: tuple[str, ...] = param(
        help="what to ask for, the same of every snapshot: the trigger word in scenes, poses and clothes that the "
        "training pictures do not all show. Four or more that differ; the verdict measures whether they still do",
        min_items=1,
    )
    negative_prompt: str = param("", "what the pictures should not show")
    pictures: int = param(2, "pictures for each prompt in each cell; more make the verdict surer", ge=1, le=64)
    seed: int = param(0, "the noise of the first picture of each prompt; the others have the next numbers", ge=0)
    strengths: tuple[float, ...] = param(
        (0.6, 0.8, 1.0), "how strongly the LoRA is applied; a good one works at 1", gt=0, le=4, min_items=1
    )
    text_encoder_strengths: tuple[float, ...] = param(
        (),
        "also try the best snapshot with its text encoder at these strengths against its U-Net at each of `strengths`, "
        "to find which part is off: 0.5, 1.0, 2.0",
        ge=0,
        le=4,
    )
    snapshots: int = param(6, "at most so many snapshots, evenly chosen; the last is always among them", ge=1, le=1000)
    steps: int = param(25, "sampling steps of a picture", ge=1, le=1000)
    cfg: float | None = param(
        None,
        "how strongly the prompt guides (classifier-free guidance): 5–7 for Stable Diffusion; empty: 7, and 4 for pocket",
        ge=1,
        le=50,
    )
    sampler: Literal["dpm++", "ddim", "euler"] = param(
        "dpm++", "the solver: dpm++ (2M Karras), ddim or euler", kohya=("sample_sampler",)
    )
    size: Resolution | None = param(
        None, "of the pictures, in pixels: 512, or 512x768 (width x height); by default what the base was made for"
    )
    batch: int = param(
        4, "pictures sampled at once; more is faster on a GPU and takes memory", ge=1, le=256, content=False
    )
    clip: Source | None = param(
        None, "a CLIP model folder (transformers) to compare pictures with; by default the one that comes with the base"
    )
    precision: Precision = param(
        "auto", "how the base is held. auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU"
    )

    def problems(self) -> Iterator[Problem]:
        """See `Spec.problems`."""
        seen = set[str]()
        for place, prompt in enumerate(self.prompts):
            if prompt in seen:
                yield Problem(
                    f"{shortened(prompt, 100)!r} is there twice.",
                    cure="Ask for something else.",
                    path=("prompts", place),
                )
            seen.add(prompt)

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        """See `Stage.demand`."""
        cells = self.snapshots * len(self.strengths) + len(self.text_encoder_strengths) * len(self.strengths) + 1
        return Demand(painted=len(self.prompts) * self.pictures * cells * -(-self.steps // 100))

    def notices(self) -> Iterator[Problem]:
        """See `Stage.notices`."""
        return _prompt_marks.notices(self.prompts, "prompts")

    def run(self, context: Context) -> Report:
        """See `Stage.run`."""
        from lorapipe.stages._judging import Evaluator
        from lorapipe.training.data.manifest import Manifest
        from lorapipe.training.device import Compute
        from lorapipe.training_record import TrainingRecord

        record, dataset = TrainingRecord.load(self.weights.training), self.weights.dataset
        base = cast("Family", dataset.base)
        compute = Compute.of(context.device, self.precision)
        clip = self._clip(base, compute.device, context)
        model = compute.model(base, context.warm)
        result = Evaluator(self, context, record, Manifest.load(dataset.manifest), model, clip).run()
        return self._published(result, context)

    def _clip(self, base: Family, where: str, context: Context) -> Clip | None:
        from lorapipe.evaluation.clip import Clip

        folder = self.clip.path if self.clip else base.clip()
        if folder is None:
            text = (
                "There is no CLIP model, so likeness and prompt-following are not measured and the loss alone decides"
            )
            context.emit(Log(text=f"{text}. Name the folder of one as clip.", level="warning"))
            return None
        return Clip(folder, where)

    def _published(self, result: EvaluationResult, context: Context) -> Report:
        from lorapipe.evaluation import grid_image, report, report_model
        from lorapipe.training.publish import link_or_copy

        verdict, out = result.verdict, context.out
        _tell(result, context)
        drawing = grid_image.draw(
            verdict.headline, result.about["sampling"], result.training, report_model.tables(result)
        )
        grid_image.save(drawing, out / "grid.png")
        write_text(report.page(report_model.report_model(result, drawing)), out / "report.html")
        write_text(report.as_json(report_model.data(result)), out / "report.json")
        link_or_copy(result.images.folder, out / "pictures")
        best = tuple(each for each in self.weights.snapshots if each.step == result.best.step)
        return Report(
            page=out / "report.html",
            data=out / "report.json",
            grid=out / "grid.png",
            best=replace(self.weights, snapshots=best, strength=result.best.strength),
        )


def _tell(result: EvaluationResult, context: Context) -> None:
    """The verdict for the log, and the figures of the snapshots for curves."""
    for cell in result.row:
        scores, probe = result.scored[cell].scores, result.results.probes[cell.step]
        values = {"probe/training": fmean(probe.training)}
        if probe.held_out:
            values["probe/held_out"] = fmean(probe.held_out)
        if scores is not None:
            values["likeness"] = fmean(scores.likeness)
            if scores.following is not None:
                values["following"] = fmean(scores.following)
        context.emit(Metric(step=cell.step, values=values))
    context.emit(Log(text=" ".join([f"{result.verdict.state}:", result.verdict.headline, *result.verdict.reasons])))
