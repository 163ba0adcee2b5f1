"""Evaluates a training: samples and scores its snapshots at several strengths, probes their loss, judges the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.grid_plan import BASE, Cell, GridPlan
from lorapipe.evaluation.grid_sampler import GridSampler
from lorapipe.evaluation.probe import Prober
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Probe
from lorapipe.evaluation.verdict import judge
from lorapipe.formats import AdapterWeights
from lorapipe.models import Model
from lorapipe.training.adapters import Attachable, Attached
from lorapipe.training.model_contexts import attached

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.clip import Clip

UNSCORED = "CLIP cannot tell the base's pictures from the training pictures"


@dataclass(frozen=True)
class Evaluator:
    """Judges the snapshots of one training.

    `adapter` is attached to `model` while `run` lasts. `snapshots` are adapter files by step, `training` the pictures that
    likeness is measured against, `knobs` those of the training that advice may change (see `Results.knobs`). Without `clip`
    the loss alone decides.
    """

    model: Model
    adapter: Attachable
    snapshots: Mapping[int, Path]
    plan: GridPlan
    grid: GridSampler
    prober: Prober
    clip: Clip | None
    training: Sequence[Image]
    knobs: Mapping[str, float]

    def run(self) -> EvaluationResult:
        """Sample, score and probe every cell, then judge. `InputError` where a snapshot's file cannot be used."""
        first = self._weights(self.plan.steps[0])
        base = self.prober.base
        self.grid.sample_base()
        images = self.grid.images
        scorer = Scorer(self.clip, images.prompts, images.prompt_of, images.pictures(BASE), self.training)
        with attached(self.adapter, self.model, first.parts) as adapter:
            probes = {step: self._sample_snapshot(step, adapter) for step in self.plan.steps}
            scored = {cell: scorer(images.pictures(cell)) for cell in self.plan.cells}
            results = self._results(scored, scorer, base, probes)
            best = results.best.step
            adapter.load(self._weights(best))
            for cell in self.plan.part_cells(best):
                self.grid.sample(cell, adapter)
                scored[cell] = scorer(images.pictures(cell))
        results = self._results(scored, scorer, base, probes)
        return EvaluationResult(results, judge(results), {BASE: scorer.base, **scored}, images, self.training)

    def _weights(self, step: int) -> AdapterWeights:
        try:
            return formats.open(self.snapshots[step], self.model.kohya_names())
        except InputError as error:
            raise InputError(replace(each, cure="Train again.") for each in error.problems) from None

    def _sample_snapshot(self, step: int, adapter: Attached) -> Probe:
        """Load a snapshot, probe it at strength 1, and sample it at every strength."""
        adapter.load(self._weights(step))
        adapter.set_strength(dict.fromkeys(self.model.trainable, 1.0))
        probe = self.prober()
        cells = [cell for cell in self.plan.cells if cell.step == step]
        for cell in cells:
            self.grid.sample(cell, adapter)
        self.grid.preview(min(cells, key=lambda cell: abs(cell.strength - 1)))
        return probe

    def _results(
        self, scored: Mapping[Cell, CellScores], scorer: Scorer, base: Probe, probes: Mapping[int, Probe]
    ) -> Results:
        results = Results(
            cells=sorted(scored),
            scores={cell: each.scores for cell, each in scored.items() if each.scores is not None},
            probe=base,
            probes=probes,
            image_stats={cell: each.image_stats for cell, each in scored.items()},
            base=scorer.base.image_stats,
            training=scorer.training,
            broken=frozenset(cell for cell, each in scored.items() if each.broken),
            knobs=self.knobs,
            denoiser=self.model.denoiser_title,
        )
        return results if self.clip is None else replace(results, unscored=UNSCORED)
