"""Judges every planted case and holds the verdicts against the truth."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judging import archive, subjects, truth
from benchmarks.judging.grids import BASE, CAPTIONED, CFG, LOW, LOW_CFG, Bench, Cell
from benchmarks.judging.trainings import APART, PENS, Training, View
from lorapipe.evaluation import k_means, measures, visual_words
from lorapipe.evaluation import scorer as scorer_module
from lorapipe.evaluation.grid_plan import GridPlan, compared_captions
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.probe_losses import Probe
from lorapipe.evaluation.results import Kind, LowGuidance, Results
from lorapipe.evaluation.scorer import CellScores, Scorer
from lorapipe.evaluation.selection import Scores, merit
from lorapipe.evaluation.verdict import Verdict, judge, voted

CAUSES = {"U-Net hot": ("unet_lr", -1), "U-Net cold": ("unet_lr", 1), "text encoder hot": ("text_encoder_lr", -1)}
"""The knob that the advice must name alone, and in which direction."""
RIGHT: dict[str, tuple[str, ...]] = {
    "next": ("good",),
    "good": ("good",),
    "under": ("under-trained", "no effect"),
    "under by rate": ("under-trained", "no effect"),
    "over": ("over-trained", "copies"),
    "over by rate": ("over-trained", "broken"),
    "recovered": ("good",),
    "broken": ("broken",),
    "memorised": ("copies", "over-trained"),
    "weights x2": ("over-trained",),
    "weights x0.5": ("under-trained",),
    "U-Net hot": ("over-trained",),
    "U-Net cold": ("under-trained",),
    "text encoder hot": ("over-trained",),
    "leaking object": ("good",),
    "leaking scene": ("leaks",),
    "no trigger": ("good",),
    "wrong captions": ("wrong captions",),
    "few pictures": ("good", "copies"),
}
"""States that are right for a case."""
NOT_SURE = "not sure"
MOST_REPEATS = 3
"""Evaluations of one training that count for what is true of its cells."""
CLEAR = 0.08
"""Truths that differ by this much say of themselves what a training is, whatever was planted."""
PACE = 5 / 8
"""Truth that has grown from less than this share of itself while the steps doubled: more steps would not be wrong."""
LEAKS, KEPT = 0.5, 0.8
"""What is shown of the scenes asked for, in truth: below the first a scene leaks, above the second it does not."""
HIDDEN = 0.3
"""What little guidance shows more of, in truth, for guidance to hide it."""
BROKE = 0.05
"""Truth below this in all cells of the last snapshot: the training broke down on the way, whatever was planted."""
SEEN = 0.2
"""Identity below this, in truth, is no effect."""


def plain(case: str) -> str:
    """A case without what it is of or how it was made: `style under by rate` → `under by rate`."""
    bare = case.removeprefix("style").removeprefix("concept").removesuffix(", trained").strip()
    return bare or "good"


@dataclass(frozen=True)
class Judged:
    """A case: what was said, by all pictures and by a third of them alone, and what is true of every cell, 0 … 1."""

    training: Training
    case: str
    verdict: Verdict
    by_third: Sequence[Verdict]
    truths: dict[Cell, float]
    rho: float
    regret: float
    shown: float
    followed: float
    hidden: float
    """How much more little guidance shows of the last snapshot at strength 1; 0 where that was not painted."""

    @property
    def states(self) -> tuple[str, ...]:
        """The states that are right: by the truth where it is clear, else by what was planted."""
        planted = RIGHT[plain(self.case)]
        if "broken" in planted or plain(self.case) in ("memorised", "few pictures"):
            return planted
        if plain(self.case) == "wrong captions":
            return planted
        if "over-trained" in planted and self._broke:
            return ("over-trained", "broken")
        if plain(self.case) == "leaking scene":
            planted = ("leaks",) if self.followed < LEAKS else ("good", "leaks") if self.followed < KEPT else ("good",)
            if planted == ("leaks",):
                return planted
        if self.shown < SEEN:
            return ("no effect", "under-trained", *(each for each in planted if each != "good"))
        at = {strength: max(self.of_strength(strength)) for strength in {cell.strength for cell in self.uniform}}
        best = max(at, key=lambda strength: at[strength])
        burns = ("style not shown", "burns") if self.hidden > HIDDEN else ()
        if at[best] - at[1.0] > CLEAR:
            return (*burns, "under-trained" if best > 1 else "over-trained")
        if burns:
            return (*burns, *planted)
        rising = [self.truths[cell] for cell in sorted(self.uniform) if cell.strength == 1]
        if rising[-1] == max(rising) and (rising[-1] - rising[-2] > CLEAR or self._half_way < PACE * rising[-1]):
            return ("good", "under-trained", *planted)
        if plain(self.case) in CAUSES and not self._off(*CAUSES[plain(self.case)]):
            return ("good", *planted)
        return planted if planted[0] in ("good", "over-trained") and best <= 1 else ("good", *planted)

    @property
    def uniform(self) -> list[Cell]:
        """The cells with both parts alike."""
        return [cell for cell in self.truths if cell.uniform]

    def of_strength(self, strength: float) -> list[float]:
        """The truths of all snapshots at a strength."""
        return [self.truths[cell] for cell in self.uniform if cell.strength == strength]

    @property
    def _half_way(self) -> float:
        """The truth at strength 1 of the snapshot nearest half of the steps."""
        at_one = {cell.step: true for cell, true in self.truths.items() if cell.uniform and cell.strength == 1}
        return at_one[min(at_one, key=lambda step: abs(step - self._last / 2))]

    @property
    def _broke(self) -> bool:
        """Whether, in truth, the last snapshot shows nothing of what was asked for at any strength."""
        return max(self.truths[cell] for cell in self.uniform if cell.step == self._last) < BROKE

    @property
    def _last(self) -> int:
        """The step of the last snapshot."""
        return max(cell.step for cell in self.truths)

    @property
    def right(self) -> bool:
        """Whether the state is one of those that the case should have."""
        return self.verdict.state in self.states

    @property
    def named(self) -> bool | None:
        """Whether the advice names the part that is off, and its direction; None where none is, in truth."""
        if plain(self.case) not in CAUSES:
            return None
        knob, direction = CAUSES[plain(self.case)]
        if not self._off(knob, direction):
            return None
        rates = self.training.rates
        alone = [each.patch[knob] for each in self.verdict.advice if {*each.patch} & {*rates} == {knob}]
        return any((float(value) - rates[knob]) * direction > 0 for value in alone)

    def _off(self, knob: str, direction: int) -> bool:
        """Whether, in truth, the part is better at another strength in the direction that was planted."""
        both = self.truths[Cell(self._last, 1.0, 1.0)]

        def of(cell: Cell) -> tuple[float, float]:
            ours, other = cell.strength, cell.text_encoder
            return (ours, other) if knob == "unet_lr" else (other, ours)

        alone = [true for cell, true in self.truths.items() if of(cell)[1] == 1 and (of(cell)[0] - 1) * direction > 0]
        return max(alone) - both > CLEAR

    @property
    def steady(self) -> bool:
        """Whether each third of the pictures, one of each prompt, gives the same state, as far as it is sure."""
        return _agree(self.by_third)


@dataclass(frozen=True)
class Figures:
    """What was measured and what is true of every painted cell of a training, by the cell's slug."""

    scored: Mapping[str, CellScores]
    truths: Mapping[str, float]
    shown: Mapping[str, float]
    scenes: Mapping[str, float]
    kind: Kind
    untaught: Sequence[str]


def figures(bench: Bench) -> Figures:
    """Scores and truth of every painted cell, kept until the measures are written otherwise."""
    sources = [Path(inspect.getfile(module)) for module in (k_means, visual_words, scorer_module, truth, archive)]
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
    with np.load(bench.folder / "said.npz") as stored:
        said = {name: truth.by_head(stored[name]) for name in stored.files}
    asked = [list(training.prompts().values())[prompt] for prompt in images.prompt_of]
    scenes = [{name: tag for name, tag in each.items() if name == "background"} for each in asked]
    shown = {name: _shown(training, each) for name, each in said.items() if name != "training"}
    followed = {name: float(np.nanmean(truth.following(said[name], asked))) for name in shown}
    return Figures(
        {name: scorer(each) for name, each in seen.items()},
        {name: each * followed[name] for name, each in shown.items()},
        shown,
        {name: float(np.nanmean(truth.following(said[name], scenes))) for name in shown},
        scorer.kind,
        scorer.untaught,
    )


def _shown(training: Training, said: truth.Said) -> float:
    """The truth about identity, 0 … 1."""
    match training.what:
        case "subject":
            shown = truth.identity(said, subjects.subject(training.subject))
        case "style":
            shown = truth.style(said, PENS[training.subject].__name__.lower())
        case _:
            shown = truth.concept(said)
    return float(shown.mean())


def judged(work: Path, training: Training) -> Iterator[Judged]:
    """Every case of a training that has been painted; what is true of a cell, by the pictures of all its repeats."""
    bench = Bench(work, training)
    if not _is_painted(bench):
        return
    found, probes = figures(bench), json.loads(bench.probes.read_text(encoding="utf-8"))
    repeats = [
        each for number in range(MOST_REPEATS) if _is_painted(each := Bench(work, replace(training, repeat=number)))
    ]
    real = _pooled([figures(each) for each in repeats])
    for case, view in training.views.items():
        results = results_of(bench, view, found, probes)
        true = {cell: real.truths[painted.slug] for cell, painted in view.cells().items()}
        verdict, low = _verdict(results, training.low), training.low
        yield Judged(
            training, case, verdict, [_verdict(_third(results, number), low) for number in range(bench.images.count)], true,
            _rho(results, true), max(true[cell] for cell in true if cell.uniform) - true[verdict.best],
            max(real.shown[painted.slug] for cell, painted in view.cells().items() if cell.uniform),
            _asked_for(real, view), _hidden(real, view, training),
        )  # fmt: skip


def _is_painted(bench: Bench) -> bool:
    return bench.done and (bench.folder / "said.npz").exists()


def _pooled(repeats: Sequence[Figures]) -> Figures:
    """The figures of the first of several evaluations, with what is true of a cell by the pictures of all of them."""

    def mean(name: str) -> dict[str, float]:
        every = [getattr(each, name) for each in repeats]
        return {slug: statistics.fmean(each[slug] for each in every) for slug in every[0]}

    return replace(repeats[0], truths=mean("truths"), shown=mean("shown"), scenes=mean("scenes"))


def _asked_for(found: Figures, view: View) -> float:
    """What the pictures of the last snapshot at strength 1 show of the scenes asked for, in truth."""
    return found.scenes[view.real(Cell(view.steps[-1], 1.0, 1.0)).slug]


def _hidden(found: Figures, view: View, training: Training) -> float:
    """How much more, in truth, little guidance shows than the grid's; 0 for what was not painted so."""
    if not _unscaled(view, training):
        return 0.0
    return found.shown[f"{LOW}{training.low.slug}"] - found.shown[training.low.slug]


def _unscaled(view: View, training: Training) -> bool:
    """Whether the pictures of little guidance are of this view: of weights as they are, of the last snapshot."""
    return view.denoiser == view.text_encoder == 1 and view.steps[-1] == training.low.step


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
        low_guidance=LowGuidance(CFG, LOW_CFG, low) if low and _unscaled(view, bench.training) else None,
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


def _third(results: Results, number: int) -> Results:
    """The same of the picture of each prompt that has this number."""
    count = len(results.prompt_of) // len({*results.prompt_of})
    places = list(range(number, len(results.prompt_of), count))
    apart = {cell: each.of(places) for cell, each in results.apart.items()}
    return replace(results.of_pictures(places), apart=apart, tags={})


def _verdict(results: Results, low: Cell) -> Verdict:
    """The verdict; pictures of little guidance, which were painted of `low`, count where that is the cell chosen."""
    vote = voted(results)
    return judge(results if vote.best == low else replace(results, low_guidance=None), vote)


def _rho(results: Results, true: dict[Cell, float]) -> float:
    """Spearman's rank correlation of merit and truth over the cells with both parts alike."""
    pairs = [(merit(each), true[cell]) for cell, each in results.pooled.items()]
    if len(pairs) < 3:
        return float("nan")
    ranks = [np.argsort(np.argsort(values)) for values in zip(*pairs, strict=True)]
    return float(np.corrcoef(*ranks)[0, 1])


# ------------------------------------------------------------------------------------------------------ as text


def report(work: Path, trainings: Sequence[Training]) -> str:
    """The figures of every case, then of the subjects that thresholds were set on, of the others, and of each kind."""
    every = [each for training in trainings for each in judged(work, training)]
    lines = [_line(each) for each in every]
    halves = [(name, [each for each in every if each.training.tuned is tuned])
              for name, tuned in (("tuned on", True), ("reported", False))]  # fmt: skip
    kinds = [(f"{what}s", [each for each in every if each.training.what == what])
             for what in ("subject", "concept", "style")]  # fmt: skip
    lines += [f"{name}: {len(some)} cases, {_summary(some)}" for name, some in halves + kinds if some]
    return "\n".join(lines)


def _line(each: Judged) -> str:
    mark = "right" if each.right else "     " if each.verdict.state == NOT_SURE else "WRONG"
    part = "" if each.named is None else "; part named" if each.named else "; part NOT named"
    return (
        f"{mark} {each.training.key:26} {each.case:26} {each.verdict.state:14} {each.verdict.agreement:.2f} "
        f"({'/'.join(each.states)}) rho {each.rho:+.2f} regret {each.regret:.2f} "
        f"best {each.verdict.best}{part}; by thirds {', '.join(one.state for one in each.by_third)}"
    )


def _equal(some: Sequence[Judged]) -> list[bool]:
    """Whether all evaluations of a case say the same, as far as they are sure: of each that was painted more than once."""
    said: dict[tuple[str, str], list[Verdict]] = {}
    for each in some:
        said.setdefault((each.training.trained_key, each.case), []).append(each.verdict)
    return [_agree(verdicts) for verdicts in said.values() if len(verdicts) > 1]


def _agree(verdicts: Sequence[Verdict]) -> bool:
    """Whether verdicts give the same state, as far as they are sure."""
    return len({each.state for each in verdicts} - {NOT_SURE}) <= 1


def _share(values: Iterable[bool | None]) -> str:
    known = [each for each in values if each is not None]
    return f"{sum(known)} of {len(known)}"


def _summary(some: Sequence[Judged]) -> str:
    good = [each for each in some if {*each.states} == {"good"}]
    alarms = statistics.fmean(each.verdict.state not in ("good", NOT_SURE) for each in good) if good else 0.0
    return (
        f"states right {statistics.fmean(each.right for each in some):.0%}, wrong "
        f"{statistics.fmean(not each.right and each.verdict.state != NOT_SURE for each in some):.0%}, "
        f"equal over repeats {_share(_equal(some))}, over thirds {statistics.fmean(each.steady for each in some):.0%}, "
        f"parts named {_share(each.named for each in some)}, "
        f"rho {np.nanmean([each.rho for each in some]):.2f}, regret {statistics.fmean(each.regret for each in some):.3f}, "
        f"false alarms {alarms:.0%}"
    )


__all__ = ["Judged", "figures", "judged", "report", "results_of"]
