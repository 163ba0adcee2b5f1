"""What the judge measures on the pictures of a planted training, as an evaluation would."""

from __future__ import annotations

import hashlib
import inspect
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.judging import archive
from benchmarks.judging.grids import BASE, CAPTIONED, CFG, LOW, LOW_CFG, Bench, Cell
from benchmarks.judging.trainings import APART, Training, View
from lorapipe.evaluation import k_means, measures, visual_words
from lorapipe.evaluation import scorer as scorer_module
from lorapipe.evaluation.grid_plan import GridPlan, compared_captions
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.probe_losses import Probe
from lorapipe.evaluation.results import Kind, LowGuidance, Results
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Scores, merit


@dataclass(frozen=True)
class Figures:
    """The scores of every painted cell of a training, by the cell's slug."""

    scored: Mapping[str, CellScores]
    kind: Kind
    untaught: Sequence[str]


def figures(bench: Bench) -> Figures:
    """Scores of every painted cell, kept until the measures are written otherwise."""
    sources = [Path(inspect.getfile(module)) for module in (k_means, visual_words, scorer_module, archive)]
    sources += sorted(Path(inspect.getfile(measures)).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()
    file = bench.folder / "figures.pickle"
    if file.exists():
        found: tuple[str, Figures] = pickle.loads(file.read_bytes())
        if found[0] == code:
            return found[1]
    made = _measured(bench)
    file.write_bytes(pickle.dumps((code, made)))
    return made


def _measured(bench: Bench) -> Figures:
    seen, training, images = archive.kept(bench.seen), bench.training, bench.images
    reference = Reference(
        seen.pop("training"), bench.captions, seen[BASE.slug], images.prompts, images.prompt_of,
        captioned=seen.pop(CAPTIONED, None), captioned_of=compared_captions(bench.captions),
    )  # fmt: skip
    scorer = Scorer(reference, "style" if training.what == "style" else "subject")
    return Figures({name: scorer(each) for name, each in seen.items()}, scorer.kind, scorer.untaught)


def results_of(bench: Bench, view: View, found: Figures, probes: Mapping[str, Any]) -> Results:
    """What an evaluation of a view would have measured."""
    cells, low = view.cells(), found.scored[f"{LOW}{bench.training.low.slug}"].scores
    return Results(
        cells=sorted(cell for cell in cells if cell.uniform),
        scores={
            cell: scores for cell, real in cells.items() if cell.uniform and (scores := found.scored[real.slug].scores)
        },
        tags={cell: found.scored[real.slug].tags for cell, real in cells.items() if cell.uniform},
        apart=_apart(cells, found, view.steps[-1]),
        probe=Probe(**probes["base"]),
        probes={step: Probe(**probes[real.slug]) for step, real in view.probed.items()},
        broken=frozenset(cell for cell, real in cells.items() if found.scored[real.slug].broken),
        knobs={"steps": float(view.steps[-1]), "adapter.rank": 16.0, "captions.dropout": 0.0, **bench.training.rates},
        prompt_of=bench.images.prompt_of,
        kind=found.kind,
        untaught=found.untaught,
        low_guidance=LowGuidance(CFG, LOW_CFG, low) if low and is_unscaled(view, bench.training) else None,
    )


def _apart(cells: Mapping[Cell, Cell], found: Figures, step: int) -> dict[Cell, Scores]:
    """The cells with one part at another strength that an evaluation would have sampled, and that with both at 1."""
    both = Cell(step, 1.0, 1.0)
    scores = {cell: each for cell, real in cells.items() if (each := found.scored[real.slug].scores)}
    kept = {}
    for way in GridPlan((step,), (), tuple(strength for strength, _ in APART)).part_ways(step):
        for before, cell in pairwise([both, *way]):
            if cell not in scores or both not in scores:
                break
            kept |= {both: scores[both], cell: scores[cell]}
            if merit(scores[cell]) < merit(scores[before]):
                break
    return kept


def is_unscaled(view: View, training: Training) -> bool:
    """Whether the pictures of little guidance are of this view: of weights as they are, of the last snapshot."""
    return view.denoiser == view.text_encoder == 1 and view.steps[-1] == training.low.step
