"""The `evaluate` stage: samples and scores every snapshot, and chooses the one to use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from lorapipe.atomic import write_text
from lorapipe.errors import InputError, Problem, shortened
from lorapipe.evaluation import prompts
from lorapipe.evaluation.grid_plan import MOST_CAPTIONS, GridPlan, compared_captions
from lorapipe.formats import EMBEDDING
from lorapipe.models import Checkpoint
from lorapipe.pipeline.artifacts import Artifact, Dataset, Report, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.demand import Demand
from lorapipe.pipeline.events import Log
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages import _sampler_knobs as knobs
from lorapipe.stages._evaluation_events import emit_metrics
from lorapipe.stages._further_bases import base_name, encoded_by, on_several_bases
from lorapipe.stages._sampler_inputs import READING, asked_prompts, sampling_options, words_added
from lorapipe.stages._training_settings import adapter_of, advised_options, captioning_of, settings_line
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.device import Precision

if TYPE_CHECKING:
    from lorapipe.evaluation.base_comparison import BaseComparison
    from lorapipe.evaluation.evaluation_result import EvaluationResult
    from lorapipe.evaluation.image_store import ImageStore
    from lorapipe.evaluation.sampler import SamplingOptions
    from lorapipe.models import Family, Model
    from lorapipe.training.adapters import Attachable
    from lorapipe.training.data.manifest import Manifest
    from lorapipe.training_record import TrainingRecord

SURER = 2
"""How often `surer: auto` doubles the pictures at most."""


@dataclass(frozen=True)
class Evaluate(knobs.PromptChecks):
    """Sample every snapshot at several strengths from fixed noise, compare, and say which to use and what to change."""

    menu_title: ClassVar[str] = "Evaluate LoRA"
    search_words: ClassVar[tuple[str, ...]] = ("xy plot", "grid", "compare snapshots", "test lora", "verdict")
    version: ClassVar[int] = 17
    libraries: ClassVar[tuple[str, ...]] = ("diffusers", "transformers")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Report

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
    sampler: knobs.SolverName = knobs.sampler()
    size: Resolution | None = param(
        None, "size of the pictures in pixels: 512, or 512x768 (width x height); by default the base's native size"
    )
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
    embeddings: tuple[Source, ...] = param(
        (),
        "embedding files whose words prompts and negative_prompt may contain, by the files' names, such as a negative "
        "embedding. They apply to the judged weights and to the base beside them",
        shelf="embeddings",
        rare=True,
    )
    precision: Precision = knobs.precision()

    def problems(self) -> Iterator[Problem]:
        seen = set[str]()
        for place, prompt in enumerate(self.prompts):
            if prompt in seen:
                yield Problem(
                    f"{shortened(prompt, 100)!r} is given twice.",
                    cure="Write another prompt.",
                    path=("prompts", place),
                )
            seen.add(prompt)
        known = [each for each in self.bases if isinstance(each, Source)]
        names = [base_name(each) for each in dict.fromkeys(known)]
        if doubled := next((name for name in names if names.count(name) > 1), ""):
            what = f"two checkpoints are called {doubled}, and the report could not tell them apart."
            yield Problem(what, cure="Rename one of the files.", path=("bases",))

    def demand(self, stages: Mapping[str, Stage], pictures: int) -> Demand:
        return Demand(painted=self._most_pictures(stages, self.pictures * 2**self._rounds) * -(-self.steps // 100))

    def _most_pictures(self, stages: Mapping[str, Stage], count: int) -> int:
        """The largest number of pictures, with `count` of each prompt in each cell."""
        apart = self.part_strengths if self._may_train_both(stages) else ()
        plan = GridPlan(tuple(range(1, self.snapshots + 1)), self.strengths, apart, self.low_cfg, MOST_CAPTIONS)
        rows = prompts.most_rows(self.prompts)
        further = replace(plan, part_strengths=(), low_cfg=None)
        return plan.pictures(rows, count) + len({*self.bases}) * further.pictures(rows, count)

    def _may_train_both(self, stages: Mapping[str, Stage]) -> bool:
        """Whether denoiser and text encoder are trained, or may be, as far as the pipeline says."""
        from lorapipe.stages._trigger import behind
        from lorapipe.training.options import RATES, TrainingOptions

        trainings = [each for each in behind(self, stages) if isinstance(each, TrainingOptions)]
        roles = [{RATES[name] for name in each.rates_by_option()} - {"embedding"} for each in trainings]
        return not roles or any(len(each) > 1 for each in roles)

    @property
    def _rounds(self) -> int:
        """How often the pictures may be doubled."""
        return SURER if self.surer == "auto" else 0

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        usual, most = (self._most_pictures(stages, self.pictures * times) for times in (1, 2**self._rounds))
        more = f"; where that leaves it unsure, up to {most} (surer: auto)" if self._rounds else ""
        yield f"at most {usual} pictures of {self.steps} steps{more}"

    def run(self, context: Context) -> Report:
        own = cast("Family", self.weights.model)
        result, about = self._judged(own, context)
        others = {base_name(base.checkpoint): self._judged(base, context)[0] for base in self._other_bases}
        if not others:
            emit_metrics(result, context)
            return self._published(result, about, context)
        from lorapipe.evaluation.base_comparison import compare

        name = about["base"] if about["base"] not in others else f"{about['base']} (trained on)"
        compared = compare(
            {name: result.results, **{each: found.results for each, found in others.items()}}, result.best
        )
        result = on_several_bases(result, compared)
        emit_metrics(result, context)
        return self._published(result, about | {"bases": compared.usage()}, context, compared, others)

    @property
    def _other_bases(self) -> tuple[Family, ...]:
        """The further bases, each once; that of the weights is judged anyway."""
        own = cast("Family", self.weights.model)
        found = (replace(own, checkpoint=each) for each in dict.fromkeys(self.bases))
        return tuple(each for each in found if each.checkpoint != own.checkpoint)

    def _judged(self, base: Family, context: Context) -> tuple[EvaluationResult, dict[str, str]]:
        """Judge the weights on a base, and return the settings that the report shows. Only results outlive it: no model."""
        from lorapipe.evaluation.clip import Clip
        from lorapipe.evaluation.evaluator import Evaluator
        from lorapipe.evaluation.feature_cache import FeatureCache
        from lorapipe.evaluation.features import FeatureReader
        from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
        from lorapipe.evaluation.image_store import ImageStore
        from lorapipe.evaluation.probe import Prober, compared, training_pictures
        from lorapipe.evaluation.sampler import Sampler
        from lorapipe.models import TextReading
        from lorapipe.training.data.cache import Cache
        from lorapipe.training.data.latents import Scene
        from lorapipe.training.data.manifest import Manifest
        from lorapipe.training.device import Compute
        from lorapipe.training_record import TrainingRecord

        dataset, record = self._dataset, TrainingRecord.load(self.weights.training) if self.weights.training else None
        manifest, own = Manifest.load(dataset.manifest), cast("Family", self.weights.model)
        compute = Compute.of(context.device, self.precision)
        folder = self.clip.path if self.clip else None
        clip = None if folder is None else Clip(folder, compute.device)
        model = compute.model(base, context.model_cache)
        adapter, parts, reading = self._adapter(record, model)
        options, plan = self._sampling_options(own, reading), self._plan(own, parts, context)
        scene = Scene(dataset.images, manifest.background, dataset.masks)
        cache, captioning = Cache(context.cache), captioning_of(record, manifest)
        captions = [captioning.canonical(each.caption) for each in compared(manifest)]
        plan = replace(plan, captions=len(compared_captions(captions)))
        asked = asked_prompts(self.prompts, record, manifest, captioning, context)
        pictures = context.resume / "pictures"
        if base is not own:
            plan, pictures = (
                replace(plan, part_strengths=(), low_cfg=None),
                pictures / "bases" / base_name(base.checkpoint),
            )
            manifest = encoded_by(manifest, base, model, compute.dtype, cache)
        images = ImageStore(pictures, asked, self.pictures, self.seed)
        counter = PictureCounter(plan.pictures(len(asked), self.pictures), context.emit)
        prober = Prober(model, manifest, scene, cache, captioning, TextReading(**reading))
        evaluator = Evaluator(
            model=model,
            adapter=adapter,
            snapshots={each.step: each.path for each in self.weights.snapshots},
            plan=plan,
            grid=GridSampler(Sampler(model, options, context.emit), images, self.batch, counter, context.check),
            prober=prober,
            clip=clip,
            training=training_pictures(manifest, scene),
            captions=captions,
            knobs=advised_options(own, record) if record else {},
            kind=None if self.kind == "auto" else self.kind,
            features=FeatureCache(FeatureReader(model), kept=self._rounds > 0),
            rounds=self._rounds,
        )
        with words_added(self.embeddings, model):
            result = evaluator.run()
        return result, self._about(own, record, manifest, options, folder, result.images)

    def _adapter(
        self, record: TrainingRecord | None, model: Model
    ) -> tuple[Attachable, tuple[str, ...], dict[str, Any]]:
        """Return what attaches snapshots to a model, the parts that they change, and how their training read captions."""
        from lorapipe import formats
        from lorapipe.training.adapter_layers.weights_adapter import ReplaceableWeights

        if record:
            return adapter_of(record), tuple(record.rates), record.reading
        last = formats.open(self.weights.snapshots[-1].path, model.kohya_names())
        return ReplaceableWeights(last), tuple(last.parts), dict(READING)

    @property
    def _dataset(self) -> Dataset:
        """The pictures to compare with."""
        found = self.dataset or self.weights.dataset
        if found is None:
            what = "the weights were not trained here, so there are no pictures to compare with."
            raise InputError(what, where="dataset", cure="Name a prepare stage as dataset.")
        return found

    def _sampling_options(self, base: Family, reading: Mapping[str, Any]) -> SamplingOptions:
        native = base.native_size()
        size = self.size.size if self.size else (native, native)
        cfg = self._guidance(base)
        return sampling_options(base, size, self.steps, cfg, self.sampler, self.negative_prompt, reading)

    def _guidance(self, base: Family) -> float:
        return base.usual_cfg() if self.cfg is None else self.cfg

    def _plan(self, base: Family, parts: Sequence[str], context: Context) -> GridPlan:
        from lorapipe.series import evenly_spaced

        steps = [each.step for each in evenly_spaced(self.weights.snapshots, self.snapshots)]
        low = self.low_cfg if self.low_cfg is not None and self.low_cfg < self._guidance(base) else None
        if [*parts] == [EMBEDDING]:
            text = "an embedding has no strength: a prompt has its vectors or not. It is sampled at strength 1 only"
            context.emit(Log(text=text))
            return GridPlan(tuple(steps), (1.0,), low_cfg=low)
        roles = {base.role(part) for part in parts if part != EMBEDDING}
        apart = self.part_strengths if len(roles) > 1 else ()
        return GridPlan(tuple(steps), self.strengths, apart, low)

    def _about(
        self,
        base: Family,
        record: TrainingRecord | None,
        manifest: Manifest,
        options: SamplingOptions,
        clip: Path | None,
        images: ImageStore,
    ) -> dict[str, str]:
        """Return the settings that the report shows; they do not depend on the machine or the day."""
        pictures = f"{len(manifest.training)} pictures; {len(manifest.held_out)} held out"
        whole = record is not None and [*record.rates] == [EMBEDDING]
        first = f", {images.first} at first, which did not tell" if images.first else ""
        return {
            "base": record.base_name if record else base.checkpoint.plain().rpartition("/")[2],
            **({"trained on": pictures, "training": settings_line(record)} if record else {"compared with": pictures}),
            "prompts": " · ".join(images.prompts),
            **({"negative prompt": self.negative_prompt} if self.negative_prompt else {}),
            "pictures": f"{images.count} a prompt{first}, {options.size[0]}×{options.size[1]}, seeds from {self.seed}",
            "sampling": f"{options.steps} steps of {options.solver}, CFG {options.cfg:g}",
            **({"strengths": ", ".join(f"{strength:g}" for strength in self.strengths)} if not whole else {}),
            **({} if clip is None else {"CLIP": clip.name}),
        }

    def _published(
        self,
        result: EvaluationResult,
        about: Mapping[str, str],
        context: Context,
        compared: BaseComparison | None = None,
        others: Mapping[str, EvaluationResult] | None = None,
    ) -> Report:
        from lorapipe.evaluation import grid_image, report, report_json, report_model
        from lorapipe.training import metrics_log
        from lorapipe.training.publish import link_or_copy

        out = context.out
        rows = metrics_log.read(self.weights.log) if self.weights.log else []
        log = [(row.step, row.values["loss"]) for row in rows]
        tables = report_model.tables(result)
        if compared and others:
            tables.append(report_model.bases_table(result, others, compared))
        grid = grid_image.draw(result.verdict.headline, about["sampling"], result.training, tables)
        grid_image.save(grid, out / "grid.png")
        write_text(report.page(report_model.report_model(result, grid, about, log)), out / "report.html")
        write_text(report_json.as_json(report_json.report_data(result, about, compared)), out / "report.json")
        link_or_copy(result.images.folder, out / "pictures")
        best = tuple(each for each in self.weights.snapshots if each.step == result.best.step)
        return Report(
            page=out / "report.html",
            data=out / "report.json",
            grid=out / "grid.png",
            best=replace(
                self.weights,
                snapshots=best,
                strength=result.best.strength,
                usage=compared.usage() if compared else None,
            ),
        )
