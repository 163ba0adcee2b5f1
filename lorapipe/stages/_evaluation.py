"""Runs an `evaluate` stage: judges its weights on their base and on further ones, and publishes what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lorapipe import formats
from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.evaluation import grid_image, report, report_json, report_model
from lorapipe.evaluation.base_comparison import BaseComparison, compare
from lorapipe.evaluation.clip import Clip
from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.evaluator import Evaluator
from lorapipe.evaluation.feature_cache import FeatureCache
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_plan import GridPlan, compared_captions
from lorapipe.evaluation.grid_sampler import GridSampler, PictureCounter
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.probe import Prober, compared, training_pictures
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.formats import EMBEDDING
from lorapipe.models import TextReading
from lorapipe.pipeline.artifacts import Dataset, Report
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.series import evenly_spaced
from lorapipe.stages._evaluation_events import emit_metrics
from lorapipe.stages._evaluation_options import EvaluationOptions
from lorapipe.stages._further_bases import base_name, encoded_by, on_several_bases
from lorapipe.stages._sampler_inputs import READING, asked_prompts, sampling_options, words_added
from lorapipe.stages._training_settings import adapter_of, advised_options, captioning_of, settings_line
from lorapipe.training import metrics_log
from lorapipe.training.adapter_layers.weights_adapter import ReplaceableWeights
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import Scene
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.device import Compute
from lorapipe.training.publish import link_or_copy
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from lorapipe.models import Family, Model
    from lorapipe.training.adapters import Attachable


@dataclass(frozen=True)
class Evaluation:
    """One run of the stage. Of each base only results outlive its turn: no model."""

    stage: EvaluationOptions
    context: Context

    def run(self) -> Report:
        """Judge on every base, and publish the report."""
        result, about = self._judged(self._own_base)
        others = {base_name(base.checkpoint): self._judged(base)[0] for base in self._other_bases}
        if not others:
            emit_metrics(result, self.context)
            return self._published(result, about)
        name = about["base"] if about["base"] not in others else f"{about['base']} (trained on)"
        found = compare({name: result.results, **{each: other.results for each, other in others.items()}}, result.best)
        result = on_several_bases(result, found)
        emit_metrics(result, self.context)
        return self._published(result, about | {"bases": found.usage()}, found, others)

    # ----------------------------------------------------------------------------------------------------- what of

    @property
    def _own_base(self) -> Family:
        """The base that the weights were trained on."""
        return cast("Family", self.stage.weights.model)

    @property
    def _other_bases(self) -> tuple[Family, ...]:
        """The further bases, each once; that of the weights is judged anyway."""
        found = (replace(self._own_base, checkpoint=each) for each in dict.fromkeys(self.stage.bases))
        return tuple(each for each in found if each.checkpoint != self._own_base.checkpoint)

    @cached_property
    def _record(self) -> TrainingRecord | None:
        """How the weights were trained, where that was here."""
        training = self.stage.weights.training
        return TrainingRecord.load(training) if training else None

    @cached_property
    def _dataset(self) -> Dataset:
        """The pictures to compare with."""
        found = self.stage.dataset or self.stage.weights.dataset
        if found is None:
            what = "the weights were not trained here, so there are no pictures to compare with."
            raise InputError(what, where="dataset", cure="Name a prepare stage as dataset.")
        return found

    # ---------------------------------------------------------------------------------------------------- judging

    def _judged(self, base: Family) -> tuple[EvaluationResult, dict[str, str]]:
        """Judge the weights on a base, and return the settings that the report shows."""
        stage, context, record = self.stage, self.context, self._record
        manifest = Manifest.load(self._dataset.manifest)
        compute = Compute.of(context.device, stage.precision)
        folder = stage.clip.path if stage.clip else None
        clip = None if folder is None else Clip(folder, compute.device)
        model = compute.model(base, context.model_cache)
        adapter, parts, reading = self._adapter(model)
        options, plan = self._sampling_options(reading), self._plan(parts)
        scene = Scene(self._dataset.images, manifest.background, self._dataset.masks)
        cache, captioning = Cache(context.cache), captioning_of(record, manifest)
        captions = [captioning.canonical(each.caption) for each in compared(manifest)]
        plan = replace(plan, captions=len(compared_captions(captions)))
        asked = asked_prompts(stage.prompts, record, manifest, captioning, context)
        pictures = context.resume / "pictures"
        if base is not self._own_base:
            plan = replace(plan, part_strengths=(), low_cfg=None)
            pictures = pictures / "bases" / base_name(base.checkpoint)
            manifest = encoded_by(manifest, base, model, compute.dtype, cache)
        images = ImageStore(pictures, asked, stage.pictures, stage.seed)
        counter = PictureCounter(plan.pictures(len(asked), stage.pictures), context.emit)
        evaluator = Evaluator(
            model=model,
            adapter=adapter,
            snapshots={each.step: each.path for each in stage.weights.snapshots},
            plan=plan,
            grid=GridSampler(Sampler(model, options, context.emit), images, stage.batch, counter, context.check),
            prober=Prober(model, manifest, scene, cache, captioning, TextReading(**reading)),
            clip=clip,
            training=training_pictures(manifest, scene),
            captions=captions,
            knobs=advised_options(self._own_base, record) if record else {},
            kind=None if stage.kind == "auto" else stage.kind,
            features=FeatureCache(FeatureReader(model), kept=stage.rounds > 0),
            rounds=stage.rounds,
        )
        with words_added(stage.embeddings, model):
            result = evaluator.run()
        return result, self._about(manifest, options, folder, result.images)

    def _adapter(self, model: Model) -> tuple[Attachable, tuple[str, ...], dict[str, Any]]:
        """Return what attaches snapshots to a model, the parts that they change, and how their training read captions."""
        if record := self._record:
            return adapter_of(record), tuple(record.rates), record.reading
        last = formats.open(self.stage.weights.snapshots[-1].path, model.kohya_names())
        return ReplaceableWeights(last), tuple(last.parts), dict(READING)

    def _sampling_options(self, reading: Mapping[str, Any]) -> SamplingOptions:
        stage, native = self.stage, self._own_base.native_size()
        size = stage.size.size if stage.size else (native, native)
        cfg = self._guidance
        return sampling_options(self._own_base, size, stage.steps, cfg, stage.sampler, stage.negative_prompt, reading)

    @property
    def _guidance(self) -> float:
        return self._own_base.usual_cfg() if self.stage.cfg is None else self.stage.cfg

    def _plan(self, parts: Sequence[str]) -> GridPlan:
        """The cells to sample of weights that change these parts."""
        stage, base = self.stage, self._own_base
        steps = tuple(each.step for each in evenly_spaced(stage.weights.snapshots, stage.snapshots))
        low = stage.low_cfg if stage.low_cfg is not None and stage.low_cfg < self._guidance else None
        if [*parts] == [EMBEDDING]:
            text = "an embedding has no strength: a prompt has its vectors or not. It is sampled at strength 1 only"
            self.context.emit(Log(text=text))
            return GridPlan(steps, (1.0,), low_cfg=low)
        roles = {base.role(part) for part in parts if part != EMBEDDING}
        return GridPlan(steps, stage.strengths, stage.part_strengths if len(roles) > 1 else (), low)

    # -------------------------------------------------------------------------------------------------- publishing

    def _about(
        self, manifest: Manifest, options: SamplingOptions, clip: Path | None, images: ImageStore
    ) -> dict[str, str]:
        """Return the settings that the report shows; they do not depend on the machine or the day."""
        stage, record = self.stage, self._record
        pictures = f"{len(manifest.training)} pictures; {len(manifest.held_out)} held out"
        whole = record is not None and [*record.rates] == [EMBEDDING]
        first = f", {images.first} at first, which did not tell" if images.first else ""
        return {
            "base": record.base_name if record else self._own_base.checkpoint.plain().rpartition("/")[2],
            **({"trained on": pictures, "training": settings_line(record)} if record else {"compared with": pictures}),
            "prompts": " · ".join(images.prompts),
            **({"negative prompt": stage.negative_prompt} if stage.negative_prompt else {}),
            "pictures": f"{images.count} a prompt{first}, {options.size[0]}×{options.size[1]}, seeds from {stage.seed}",
            "sampling": f"{options.steps} steps of {options.solver}, CFG {options.cfg:g}",
            **({"strengths": ", ".join(f"{strength:g}" for strength in stage.strengths)} if not whole else {}),
            **({} if clip is None else {"CLIP": clip.name}),
        }

    def _published(
        self,
        result: EvaluationResult,
        about: Mapping[str, str],
        found: BaseComparison | None = None,
        others: Mapping[str, EvaluationResult] | None = None,
    ) -> Report:
        """Write the page, the data and the grid."""
        weights, out = self.stage.weights, self.context.out
        rows = metrics_log.read(weights.log) if weights.log else []
        log = [(row.step, row.values["loss"]) for row in rows]
        tables = report_model.tables(result)
        if found and others:
            tables.append(report_model.bases_table(result, others, found))
        grid = grid_image.draw(result.verdict.headline, about["sampling"], result.training, tables)
        grid_image.save(grid, out / "grid.png")
        write_text(report.page(report_model.report_model(result, grid, about, log)), out / "report.html")
        write_text(report_json.as_json(report_json.report_data(result, about, found)), out / "report.json")
        link_or_copy(result.images.folder, out / "pictures")
        chosen = tuple(each for each in weights.snapshots if each.step == result.best.step)
        usage = found.usage() if found else None
        best = replace(weights, snapshots=chosen, strength=result.best.strength, usage=usage)
        return Report(page=out / "report.html", data=out / "report.json", grid=out / "grid.png", best=best)
