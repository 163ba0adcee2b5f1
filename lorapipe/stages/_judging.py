"""The course of an evaluation: pictures and probes of every cell, then the results, then the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from lorapipe.errors import InputError
from lorapipe.evaluation.grid_plan import BASE, Cell, evenly_spaced, part_cells, uniform_cells
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.report_model import EvaluationResult
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Probe
from lorapipe.evaluation.verdict import judge
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.stages._sitting import Counter, GridSampler, Prober, learnt, trained, training_pictures
from lorapipe.training import metrics_log
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.families import Family, Model

if TYPE_CHECKING:
    from lorapipe.evaluation.clip import Clip
    from lorapipe.stages.evaluate import Evaluate
    from lorapipe.training.adapters import Attached
    from lorapipe.training_record import TrainingRecord

UNSCORED = "CLIP cannot tell the base's pictures from the training pictures"


class Evaluator:
    """One evaluation: a stage's knobs, a loaded base, and what is known of the training."""

    def __init__(
        self,
        stage: Evaluate,
        context: Context,
        record: TrainingRecord,
        manifest: Manifest,
        model: Model,
        clip: Clip | None,
    ) -> None:
        self.stage, self.context, self.record = stage, context, record
        self.manifest, self.model, self.clip = manifest, model, clip
        self.snapshots = {each.step: each for each in evenly_spaced(stage.weights.snapshots, stage.snapshots)}
        self.cells = uniform_cells(list(self.snapshots), stage.strengths)
        self.images = ImageStore(context.resume / "pictures", stage.prompts, stage.pictures, stage.seed)
        self.sampler = Sampler(model, self._recipe())

    def _recipe(self) -> SamplingOptions:
        stage = self.stage
        base = cast("Family", stage.weights.dataset.base)
        native, step = base.native_size(), base.size_step()
        size = stage.size.size if stage.size else (native, native)
        if any(side % step for side in size):
            cure = f"Both sides must be multiples of {step}."
            raise InputError(f"{size[0]}x{size[1]} does not fit the base.", where="size", cure=cure)
        cfg = base.usual_cfg() if stage.cfg is None else stage.cfg
        return SamplingOptions(size, stage.steps, cfg, stage.sampler, stage.negative_prompt, **self.record.reading)

    def run(self) -> EvaluationResult:
        """Sample, probe, measure, judge."""
        stage, dataset = self.stage, self.stage.weights.dataset
        first = learnt(next(iter(self.snapshots.values())), self.model)
        apart = self._parts_apart(any(part.startswith("text_encoder") for part, _ in first.modules))
        cells = 1 + len(self.cells) + len(apart)
        sitting = GridSampler(
            self.sampler, self.images, stage.batch, Counter(self.context, cells * len(self.images.slots))
        )
        training = training_pictures(dataset, self.manifest)
        prober = self._prober()
        sitting.base()
        measure = Scorer(self.clip, stage.prompts, self.images.prompt_of, self.images.pictures(BASE), training)
        with trained(self.record, first, self.model) as adapter:
            probes = {step: self._visit(step, sitting, prober, adapter) for step in self.snapshots}
            scored = {cell: measure(self.images.pictures(cell)) for cell in self.cells}
            results = self._evidence(scored, measure, prober.base, probes)
            step = results.best.step
            adapter.load(learnt(self.snapshots[step], self.model))
            for cell in self._apart(step, apart):
                sitting.cell(cell, adapter)
                scored[cell] = measure(self.images.pictures(cell))
        results = self._evidence(scored, measure, prober.base, probes)
        log = [(point.step, point.values["loss"]) for point in metrics_log.read(stage.weights.log)]
        verdict = judge(results)
        return EvaluationResult(
            results, verdict, {BASE: measure.base, **scored}, self.images, training, log, self._about()
        )

    def _prober(self) -> Prober:
        return Prober(self.stage.weights.dataset, self.manifest, Cache(self.context.cache), self.model, self.record)

    def _visit(self, step: int, sitting: GridSampler, prober: Prober, adapter: Attached) -> Probe:
        """Everything of one snapshot that needs it in the model."""
        adapter.load(learnt(self.snapshots[step], self.model))
        adapter.set_strength(dict.fromkeys(self.model.trainable, 1.0))
        probe = prober()
        cells = [cell for cell in self.cells if cell.step == step]
        for cell in cells:
            sitting.cell(cell, adapter)
        sitting.show(min(cells, key=lambda cell: abs(cell.strength - 1)))
        return probe

    def _parts_apart(self, text_encoder: bool) -> list[Cell]:
        """The cells of parts at different strengths, of a step not known yet (0), that are no others already."""
        wanted = self.stage.text_encoder_strengths
        if wanted and not text_encoder:
            text = "the text encoder was not trained: text_encoder_strengths would change nothing, and is left out"
            self.context.emit(Log(text=text, level="warning"))
            return []
        cells = part_cells(0, self.stage.strengths, wanted)
        return [cell for cell in cells if not (cell.uniform and cell.strength in self.stage.strengths)]

    def _apart(self, step: int, cells: Iterable[Cell]) -> list[Cell]:
        return [Cell(step, cell.strength, cell.text_encoder) for cell in cells]

    def _evidence(
        self, scored: dict[Cell, CellScores], measure: Scorer, base: Probe, probes: dict[int, Probe]
    ) -> Results:
        return Results(
            cells=sorted(scored),
            scores={cell: each.scores for cell, each in scored.items() if each.scores is not None},
            probe=base,
            probes=probes,
            image_stats={cell: each.image_stats for cell, each in scored.items()},
            base=measure.base.image_stats,
            training=measure.training,
            broken=frozenset(cell for cell, each in scored.items() if each.broken),
            knobs=self._knobs(),
            **({"unscored": UNSCORED} if self.clip is not None else {}),
        )

    def _knobs(self) -> dict[str, float]:
        """The knobs that advice may change, as they were."""
        record, knobs = self.record, {"steps": float(self.record.steps)}
        optimizer: Any = record.settings.get("optimizer") or {}
        if "d_coef" in optimizer:
            knobs["optimizer.d_coef"] = optimizer["d_coef"]
        else:
            for part, rate in record.rates.items():
                knobs["text_encoder_lr" if part.startswith("text_encoder") else "unet_lr"] = rate
        return knobs | ({"adapter.rank": float(record.rank)} if record.rank else {})

    def _about(self) -> dict[str, str]:
        """How it was all made, for the report; nothing in it depends on the machine or the day."""
        stage, recipe, record = self.stage, self.sampler.recipe, self.record
        rates = ", ".join(f"{part} {rate:g}" for part, rate in record.rates.items())
        held_out = len(self.manifest.held_out)
        clip = "none" if self.clip is None else ("the base's own" if stage.clip is None else stage.clip.path.name)
        return {
            "base": record.base_name,
            "trained on": f"{len(self.manifest.training)} pictures; {held_out} held out",
            "training": f"{record.steps} steps, rank {record.rank}, rates {rates}",
            "prompts": " · ".join(stage.prompts),
            **({"negative prompt": stage.negative_prompt} if stage.negative_prompt else {}),
            "pictures": f"{stage.pictures} a prompt, {recipe.size[0]}×{recipe.size[1]}, seeds from {stage.seed}",
            "sampling": f"{recipe.steps} steps of {recipe.solver}, CFG {recipe.cfg:g}",
            "strengths": ", ".join(f"{strength:g}" for strength in stage.strengths),
            "CLIP": clip,
        }
