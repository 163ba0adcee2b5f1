"""Evaluates a training: samples and scores its snapshots at several strengths, probes their loss, judges the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_plan import BASE, Cell, GridPlan
from lorapipe.evaluation.grid_sampler import GridSampler
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.nearest_pictures import nearest_pictures
from lorapipe.evaluation.probe import Prober
from lorapipe.evaluation.results import Kind, LowGuidance, Results
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Probe
from lorapipe.evaluation.verdict import judge, voted
from lorapipe.formats import AdapterWeights
from lorapipe.models import Model
from lorapipe.pipeline.events import Log
from lorapipe.training.adapters import Attachable, Attached
from lorapipe.training.model_contexts import attached

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.clip import Clip
    from lorapipe.evaluation.features import Array

UNSCORED = "The training pictures cannot be told from the base's by what the base sees in them"


@dataclass(frozen=True)
class Evaluator:
    """Judges the snapshots of one training.

    `adapter` is attached to `model` while pictures are sampled, and is out of it while they are looked at. `snapshots`
    are adapter files by step, `training` the pictures that were trained on with their `captions`, `knobs` those of the
    training that advice may change (see `Results.knobs`), `kind` what the training is of, None to find out, `rounds` how
    often twice as many pictures may be painted.
    """

    model: Model
    adapter: Attachable
    snapshots: Mapping[int, Path]
    plan: GridPlan
    grid: GridSampler
    prober: Prober
    clip: Clip | None
    training: Sequence[Image]
    captions: Sequence[str]
    knobs: Mapping[str, float]
    kind: Kind | None = None
    rounds: int = 0

    def run(self) -> EvaluationResult:
        """Judge; where the verdict is not sure, paint as many pictures again and judge anew, `rounds` times at most.

        `InputError` where a snapshot's file cannot be used.
        """
        found = self._judged()
        if found.verdict.state != "not sure" or not self.rounds:
            return found
        count = self.grid.images.count
        what = f"{count} pictures of each prompt do not tell: {count} more are painted, and it is judged again"
        self.grid.counter.emit(Log(text=f"not sure. {what} (at most {self.rounds} times)"))
        again = replace(self, grid=self.grid.doubled(self.plan.size), rounds=self.rounds - 1)
        return again.run()

    def _judged(self) -> EvaluationResult:
        """Sample, score and probe every cell, then judge."""
        base = self.prober.base
        self.grid.sample_base()
        with self._attached() as adapter:
            probes = {step: self._sample_snapshot(step, adapter) for step in self.plan.steps}
        images, read = self.grid.images, FeatureReader(self.model)
        scorer = Scorer(
            Reference(
                read(self.training),
                self.captions,
                read(images.pictures(BASE)),
                images.prompts,
                images.prompt_of,
                self.clip,
            ),
            self.kind,
        )
        latents: dict[Cell, Sequence[Array]] = {}

        def score(cells: Sequence[Cell]) -> dict[Cell, CellScores]:
            found = {}
            for cell in cells:
                seen = read(images.pictures(cell))
                found[cell], latents[cell] = scorer(seen), seen.latents
            return found

        scored = score(self.plan.cells)
        results = self._results(scored, scorer, base, probes)
        cells = self.plan.part_cells(results.last_sound)
        if cells:
            with self._attached() as adapter:
                adapter.load(self._weights(results.last_sound))
                for cell in cells:
                    self.grid.sample(cell, adapter)
            scored |= score(cells)
            results = self._results(scored, scorer, base, probes)
        vote = voted(results)
        results, low = self._with_low_guidance(results, vote.best, scorer, read)
        verdict, scored = judge(results, vote), {BASE: scorer.base, **scored}
        nearest = nearest_pictures(scorer.reference.training.latents, latents[verdict.best])
        return EvaluationResult(results, verdict, scored, images, self.training, scorer.measures, low, nearest)

    def _with_low_guidance(
        self, results: Results, best: Cell, scorer: Scorer, read: FeatureReader
    ) -> tuple[Results, ImageStore | None]:
        """Sample the best cell once more with little guidance, and add its scores."""
        if self.plan.low_cfg is None:
            return results, None
        grid = self.grid.at(self.plan.low_cfg)
        with self._attached() as adapter:
            adapter.load(self._weights(best.step))
            grid.sample(best, adapter)
        if scores := scorer(read(grid.images.pictures(best))).scores:
            low = LowGuidance(self.grid.sampler.recipe.cfg, self.plan.low_cfg, scores)
            results = replace(results, low_guidance=low)
        return results, grid.images

    @contextmanager
    def _attached(self) -> Iterator[Attached]:
        """The adapter in the parts that its first snapshot has."""
        with attached(self.adapter, self.model, self._weights(self.plan.steps[0]).parts) as adapter:
            yield adapter

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
        return Results(
            cells=sorted(scored),
            scores={cell: each.scores for cell, each in scored.items() if each.scores is not None},
            probe=base,
            probes=probes,
            image_stats={cell: each.image_stats for cell, each in scored.items()},
            base=scorer.base.image_stats,
            training=scorer.training,
            broken=frozenset(cell for cell, each in scored.items() if each.broken),
            knobs=self.knobs,
            unscored=UNSCORED,
            denoiser=self.model.denoiser_title,
            prompt_of=self.grid.images.prompt_of,
            kind=scorer.kind,
            untaught=scorer.untaught,
        )
