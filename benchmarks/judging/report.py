"""Judges every planted case and holds the verdicts against the truth."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.judging import subjects, truth
from benchmarks.judging.grids import BASE, Bench, Cell, base
from benchmarks.judging.trainings import RATE, REPORTED, Training, View
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.scorer import Scorer
from lorapipe.evaluation.selection import Probe, Scores, merit
from lorapipe.evaluation.verdict import Verdict, judge
from lorapipe.pipeline.context import ModelCache
from lorapipe.training.data.manifest import Manifest

CAUSES = {"U-Net hot": ("unet_lr", -1), "U-Net cold": ("unet_lr", 1), "text encoder hot": ("text_encoder_lr", -1)}
"""The knob that the advice must name alone, and in which direction."""
RIGHT: dict[str, tuple[str, ...]] = {
    "good": ("good",),
    "style": ("good",),
    "under": ("under-trained", "no effect"),
    "under by rate": ("under-trained", "no effect"),
    "over by rate": ("over-trained", "broken"),
    "broken": ("broken",),
    "memorised": ("copies", "over-trained"),
    "weights x2": ("over-trained",),
    "weights x0.5": ("under-trained",),
    "U-Net hot": ("over-trained",),
    "U-Net cold": ("under-trained",),
    "text encoder hot": ("over-trained",),
    "leaking": ("good",),
}
"""States that are right for a case."""
NOT_SURE = "not sure"


@dataclass(frozen=True)
class Judged:
    """A case: what was said, by all pictures and by each noise alone, and what is true of every cell, 0 … 1."""

    training: Training
    case: str
    verdict: Verdict
    by_noise: Sequence[Verdict]
    truths: dict[Cell, float]
    rho: float
    regret: float

    @property
    def right(self) -> bool:
        """Whether the state is one of those that the case should have."""
        return self.verdict.state in RIGHT[self.case]

    @property
    def named(self) -> bool | None:
        """Whether the advice names the part that is off, and its direction; None where no part is."""
        if self.case not in CAUSES:
            return None
        knob, direction = CAUSES[self.case]
        rates = {"unet_lr": RATE, "text_encoder_lr": RATE / 2}
        alone = [each.patch[knob] for each in self.verdict.advice if {*each.patch} & {*rates} == {knob}]
        return any((float(value) - rates[knob]) * direction > 0 for value in alone)

    @property
    def steady(self) -> bool:
        """Whether each noise alone gives the same state, as far as it is sure."""
        return len({each.state for each in self.by_noise} - {NOT_SURE}) <= 1


def judged(work: Path, training: Training) -> Iterator[Judged]:
    """Every case of a training that has been painted."""
    bench = Bench(work, training, ModelCache())
    if not (bench.folder / "done").exists():
        return
    figures, probes = _figures(work, bench), json.loads(bench.probe_file.read_text(encoding="utf-8"))
    for case, view in training.views.items():
        results = _results(bench, view, figures, probes)
        true = {cell: figures[real.slug]["truth"] for cell, real in view.cells().items()}
        verdict = judge(results)
        yield Judged(
            training, case, verdict, [judge(_of_noise(results, noise)) for noise in range(bench.images.count)], true,
            _rho(results, true), max(true[cell] for cell in true if cell.uniform) - true[verdict.best],
        )  # fmt: skip


def _results(bench: Bench, view: View, figures: dict[str, Any], probes: dict[str, Any]) -> Results:
    scores = {cell: Scores(*map(_tuple, figures[real.slug]["scores"])) for cell, real in view.cells().items()}
    rates = {"unet_lr": RATE * bench.training.factor, "text_encoder_lr": RATE / 2 * bench.training.factor}
    return Results(
        cells=sorted(scores), scores=scores, probe=Probe(**probes["base"]),
        probes={step: Probe(**probes[real.slug]) for step, real in view.probed.items()},
        broken=frozenset(cell for cell, real in view.cells().items() if figures[real.slug]["broken"]),
        knobs={"steps": float(view.steps[-1]), "adapter.rank": 16.0, **rates}, prompt_of=bench.images.prompt_of,
    )  # fmt: skip


def _tuple(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float("nan") if each is None else each for each in values)


def _of_noise(results: Results, noise: int) -> Results:
    count = len(results.prompt_of) // len({*results.prompt_of})
    places = list(range(noise, len(results.prompt_of), count))
    scores = {cell: each.of(places) for cell, each in results.scores.items()}
    return replace(results, scores=scores, prompt_of=[results.prompt_of[place] for place in places])


def _rho(results: Results, true: dict[Cell, float]) -> float:
    """Spearman's rank correlation of merit and truth over the cells with both parts alike."""
    pairs = [(merit(each), true[cell]) for cell, each in results.pooled.items()]
    ranks = [np.argsort(np.argsort(values)) for values in zip(*pairs, strict=True)]
    return float(np.corrcoef(*ranks)[0, 1])


# ------------------------------------------------------------------------------------------------------ figures


def _figures(work: Path, bench: Bench) -> dict[str, Any]:
    """Scores and truth of every painted cell, kept beside the pictures."""
    file, training = bench.folder / "figures.json", bench.training
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    read, network = FeatureReader(base().load("cpu")), truth.classifier(work)
    manifest, images = Manifest.load(bench.dataset.manifest), bench.images
    pictures = [Image.open(bench.folder / "pictures" / each.path).convert("RGB") for each in manifest.training]
    captions = [each.caption for each in manifest.training]
    reference = Reference(read(pictures), captions, read(images.pictures(BASE)), images.prompts, images.prompt_of)
    scorer = Scorer(reference, "style" if training.style else "subject")
    asked = [list(training.prompts().values())[prompt] for prompt in images.prompt_of]
    figures = {}
    for cell in sorted({real for view in training.views.values() for real in view.cells().values()}):
        seen = images.pictures(cell)
        scored, said = scorer(read(seen)), truth.truths(network, seen)
        shown = truth.style(said) if training.style else truth.identity(said, subjects.subject(training.subject))
        true = float(shown.mean() * np.nanmean(truth.following(said, asked)))
        assert scored.scores is not None
        values = (scored.scores.identity, scored.scores.following, scored.scores.sound, scored.scores.copied)
        plain = [None if each is None else [None if value != value else value for value in each] for each in values]
        figures[cell.slug] = {"scores": plain, "broken": scored.broken, "truth": true}
    file.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def report(work: Path, trainings: Sequence[Training], verbose: bool = True) -> str:
    """The figures, of the subjects that nothing was tuned on where there are any, else of all."""
    every = [each for training in trainings for each in judged(work, training)]
    reported = [each for each in every if each.training.subject in REPORTED and not each.training.style]
    lines = [_line(each) for each in every] if verbose else []
    for name, some in (("all", every), ("not tuned on", reported)):
        if some:
            lines.append(f"{name}: {len(some)} cases, {_summary(some)}")
    return "\n".join(lines)


def _line(each: Judged) -> str:
    mark = "right" if each.right else "     " if each.verdict.state == NOT_SURE else "WRONG"
    return (
        f"{mark} {each.training.key:16} {each.case:17} {each.verdict.state:14} {each.verdict.agreement:.2f} "
        f"rho {each.rho:+.2f} regret {each.regret:.2f} "
        f"best {each.verdict.best}; by noise {', '.join(one.state for one in each.by_noise)}"
    )


def _share(values: Iterable[bool | None]) -> str:
    known = [each for each in values if each is not None]
    return f"{sum(known)} of {len(known)}"


def _summary(some: Sequence[Judged]) -> str:
    good = [each for each in some if "good" in RIGHT[each.case]]
    alarms = statistics.fmean(each.verdict.state not in ("good", NOT_SURE) for each in good) if good else 0.0
    return (
        f"states right {statistics.fmean(each.right for each in some):.0%}, wrong "
        f"{statistics.fmean(not each.right and each.verdict.state != NOT_SURE for each in some):.0%}, "
        f"equal over noises {statistics.fmean(each.steady for each in some):.0%}, "
        f"parts named {_share(each.named for each in some)}, "
        f"rho {np.nanmean([each.rho for each in some]):.2f}, regret {statistics.fmean(each.regret for each in some):.3f}, "
        f"false alarms {alarms:.0%}"
    )
