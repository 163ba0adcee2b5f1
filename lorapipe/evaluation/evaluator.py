"""Evaluates a training: samples and scores its snapshots at several strengths, probes their loss, judges the results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.evaluation.evaluation_result import EvaluationResult
from lorapipe.evaluation.feature_cache import FeatureCache
from lorapipe.evaluation.grid_plan import BASE, PART_PROMPTS, Cell, GridPlan, compared_captions
from lorapipe.evaluation.grid_sampler import GridSampler
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.nearest_pictures import nearest_pictures
from lorapipe.evaluation.probe import Prober
from lorapipe.evaluation.probe_losses import Probe
from lorapipe.evaluation.reference_views import LEAST
from lorapipe.evaluation.results import Kind, LowGuidance, Results
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Scores, merit
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
TOO_FEW = "What the subject is cannot be told from one or two training pictures"


@dataclass(frozen=True)
class Evaluator:
    """Judges the snapshots of one training.

    `adapter` is attached to `model` while pictures are sampled, and is out of it while they are looked at. `snapshots`
    are adapter files by step, `training` the pictures that were trained on with their `captions`, `knobs` those of the
    training that advice may change (see `Results.knobs`), `features` keep what was seen in pictures, `kind` is what the
    training is of, None to find out, `rounds` how often twice as many pictures may be painted, `probes` the snapshots'
    losses as far as they are known, by step.
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
    features: FeatureCache
    kind: Kind | None = None
    rounds: int = 0
    probes: dict[int, Probe] = field(default_factory=dict)

    def run(self) -> EvaluationResult:
        """Judge; where the verdict is not sure, paint as many pictures again and judge anew, `rounds` times at most.

        `InputError` where a snapshot's file cannot be used.
        """
        found = self._judged()
        if found.verdict.state != "not sure" or not found.results.pooled or not self.rounds:
            return found
        count = self.grid.images.count
        what = f"{count} pictures of each prompt do not tell: {count} more are painted, and it is judged again"
        self.grid.counter.emit(Log(text=f"not sure. {what} (at most {self.rounds} times)"))
        again = replace(self, grid=self.grid.doubled(self.plan), rounds=self.rounds - 1)
        return again.run()

    def _judged(self) -> EvaluationResult:
        """Sample, score and probe every cell, then judge."""
        base = self.prober.base
        self.grid.sample_base()
        self._captioned.sample_base()
        with self._attached() as adapter:
            for step in self.plan.steps:
                self._sample_snapshot(step, adapter)
        images, scorer = self.grid.images, self._scorer(self.grid.images)
        scored: dict[Cell, CellScores] = {}
        latents: dict[Cell, Sequence[Array]] = {}
        for cell in self.plan.cells:
            seen = self.features(images, cell)
            scored[cell], latents[cell] = scorer(seen), seen.latents
        results = self._results(scored, scorer, base)
        apart = self._apart(results.last_sound, scorer)
        results = replace(results, apart={cell: scores for cell, each in apart.items() if (scores := _usable(each))})
        vote = voted(results)
        results, low = self._with_low_guidance(results, vote.best, scorer)
        verdict, scored = judge(results, vote), {BASE: scorer.base, **scored}
        nearest = nearest_pictures(scorer.reference.training.latents, latents[verdict.best])
        return EvaluationResult(
            results, verdict, scored, images, self.training, scorer.measures, low, nearest, apart, scorer.parts
        )

    def _scorer(self, images: ImageStore, kind: Kind | None = None) -> Scorer:
        """The measures, fitted to the training pictures and the base's."""
        training, base = self.features.training(self.training), self.features(images, BASE)
        reference = Reference(
            training,
            self.captions,
            base,
            images.prompts,
            images.prompt_of,
            self.clip,
            self.features(self._captioned.images, BASE),
            compared_captions(self.captions),
        )
        return Scorer(reference, kind or self.kind)

    @property
    def _captioned(self) -> GridSampler:
        """For what the base paints of the training's captions."""
        return self.grid.of_texts("captions", [self.captions[place] for place in compared_captions(self.captions)])

    def _apart(self, step: int, scorer: Scorer) -> dict[Cell, CellScores]:
        """A snapshot with each part alone at other strengths, away from 1 as long as that does not make it worse.

        Beside them is the cell with both at 1. Of the first `PART_PROMPTS` prompts; empty where that is not planned.
        """
        ways, both = self.plan.part_ways(step), Cell(step, 1.0, 1.0)
        if not ways:
            return {}
        grid = self.grid.of_prompts(PART_PROMPTS)
        if grid.images.prompts != self.grid.images.prompts:
            scorer = self._scorer(grid.images, scorer.kind)
        found: dict[Cell, CellScores] = {}

        def score(cells: Sequence[Cell]) -> None:
            with self._attached() as adapter:
                adapter.load(self._weights(step))
                for cell in cells:
                    grid.sample(cell, adapter)
            found.update({cell: scorer(self.features(grid.images, cell)) for cell in cells})

        if both in self.plan.cells:
            found[both] = scorer(self.features(grid.images, both))
        else:
            score([both])
        for place in range(max(map(len, ways))):
            ways = [way for way in ways if place < len(way)]
            score([way[place] for way in ways])
            ways = [
                way for way in ways if _merit(found[way[place]]) >= _merit(found[way[place - 1] if place else both])
            ]
        left = len(self.plan.part_cells(step)) - len({*found} - {*self.plan.cells})
        grid.counter.leave(left * len(grid.images.slots))
        return found

    def _with_low_guidance(self, results: Results, best: Cell, scorer: Scorer) -> tuple[Results, ImageStore | None]:
        """Sample the best cell once more with little guidance, and add its scores."""
        if self.plan.low_cfg is None:
            return results, None
        grid = self.grid.at(self.plan.low_cfg)
        with self._attached() as adapter:
            adapter.load(self._weights(best.step))
            grid.sample(best, adapter)
        if scores := scorer(self.features(grid.images, best)).scores:
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

    def _sample_snapshot(self, step: int, adapter: Attached) -> None:
        """Load a snapshot, probe it at strength 1 if it was not, and sample it at every strength."""
        adapter.load(self._weights(step))
        if step not in self.probes:
            adapter.set_strength(dict.fromkeys(self.model.trainable, 1.0))
            self.probes[step] = self.prober()
        cells = [cell for cell in self.plan.cells if cell.step == step]
        for cell in cells:
            self.grid.sample(cell, adapter)
        self.grid.preview(min(cells, key=lambda cell: abs(cell.strength - 1)))

    def _results(self, scored: Mapping[Cell, CellScores], scorer: Scorer, base: Probe) -> Results:
        return Results(
            cells=sorted(scored),
            scores={cell: each.scores for cell, each in scored.items() if each.scores is not None},
            probe=base,
            probes=self.probes,
            tags={cell: each.tags for cell, each in scored.items()},
            image_stats={cell: each.image_stats for cell, each in scored.items()},
            base=scorer.base.image_stats,
            training=scorer.training,
            broken=frozenset(cell for cell, each in scored.items() if each.broken),
            knobs=self.knobs,
            unscored=TOO_FEW if len(self.training) < LEAST else UNSCORED,
            denoiser=self.model.denoiser_title,
            prompt_of=self.grid.images.prompt_of,
            kind=scorer.kind,
            untaught=scorer.untaught,
        )


def _usable(scored: CellScores) -> Scores | None:
    """The scores of a cell, if they are finite and its pictures are not broken."""
    scores = scored.scores
    return None if scores is None or scored.broken or not all(map(math.isfinite, scores.identity)) else scores


def _merit(scored: CellScores) -> float:
    """A cell's merit; 0 where it is broken or cannot be scored."""
    scores = _usable(scored)
    return merit(scores) if scores else 0.0
