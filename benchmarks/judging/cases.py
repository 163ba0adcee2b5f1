"""The planted cases: what was said of each, what is true of it, and which verdicts are right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.judging.cell_truth import CellTruth, difference, is_painted, truths_of
from benchmarks.judging.figures import figures, is_unscaled, results_of
from benchmarks.judging.grids import LOW, Bench, Cell
from benchmarks.judging.trainings import Training, View
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import merit
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
class Case:
    """A planted case and what is true of its cells. `hidden` is how much more little guidance shows of the last snapshot
    at strength 1, 0 where that was not painted; `further` what came of it after as many steps again."""

    training: Training
    name: str
    truths: Mapping[Cell, CellTruth]
    hidden: float
    further: CellTruth | None

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The states that are right: by the truth where it is clear, else by what was planted."""
        name, planted = plain(self.name), RIGHT[plain(self.name)]
        if name in ("broken", "memorised", "few pictures", "wrong captions"):
            return planted
        if "over-trained" in planted and self._broke:
            return ("over-trained", "broken")
        if name == "leaking scene":
            followed = float(np.nanmean(self._last.scene))
            planted = ("leaks",) if followed < LEAKS else ("good", "leaks") if followed < KEPT else ("good",)
            if planted == ("leaks",):
                return planted
        if max(self.truths[cell].shown.mean() for cell in self.uniform) < SEEN:
            return ("no effect", "under-trained", *(each for each in planted if each != "good"))
        burns = ("style not shown", "burns") if self.hidden > HIDDEN else ()
        side, surely = self._needs()
        if side and surely:
            return (*burns, side)
        if burns:
            return (*burns, *planted)
        if side in planted:
            return planted
        also = (side,) if side else ()
        if self._rises:
            return ("good", "under-trained", *planted, *also)
        if name in CAUSES and not self.is_off(*CAUSES[name]):
            return ("good", *planted, *also)
        doubted = planted[0] not in ("good", "over-trained") or self._best.strength > 1
        return ("good", *planted, *also) if doubted else (*planted, *also)

    @property
    def uniform(self) -> list[Cell]:
        """The cells with both parts alike."""
        return sorted(cell for cell in self.truths if cell.uniform)

    def value(self, cell: Cell) -> float:
        """What a cell is worth, in truth."""
        return self.truths[cell].value

    def regret(self, chosen: Cell) -> float:
        """What a cell is worth less than the best one."""
        return self.value(self._best) - self.value(chosen)

    def is_off(self, knob: str, direction: int) -> bool:
        """Whether, in truth, a part is better at another strength in the direction that was planted."""

        def of(cell: Cell) -> tuple[float, float]:
            ours, other = cell.strength, cell.text_encoder
            return (ours, other) if knob == "unet_lr" else (other, ours)

        alone = [cell for cell in self.truths if of(cell)[1] == 1 and (of(cell)[0] - 1) * direction > 0]
        return max(map(self.value, alone)) - self._last.value > CLEAR

    def _needs(self) -> tuple[str, bool]:
        """What a training is that is worth more at another strength than 1, or "", and whether that is sure.

        It is where the difference is above `CLEAR` by one standard error, and may be where it is not below by as much.
        """
        best, usual = self._best, max((cell for cell in self.uniform if cell.strength == 1), key=self.value)
        if best.strength == 1:
            return "", True
        more, error = difference(self.truths[best], self.truths[usual])
        side = "under-trained" if best.strength > 1 else "over-trained"
        return (side, more - error > CLEAR) if more + error > CLEAR else ("", True)

    @property
    def _best(self) -> Cell:
        """The cell that is worth most."""
        return max(self.uniform, key=self.value)

    @property
    def _rises(self) -> bool:
        """Whether the last snapshot is worth most, and clearly more than the one before or than at half of the steps; or
        clearly less than what came of it after as many steps again."""
        if self.further is not None and difference(self.further, self._last)[0] > CLEAR:
            return True
        at_one = {cell.step: self.value(cell) for cell in self.uniform if cell.strength == 1}
        *_, before, last = at_one.values()
        half = at_one[min(at_one, key=lambda step: abs(step - self._last_step / 2))]
        return last == max(at_one.values()) and (last - before > CLEAR or half < PACE * last)

    @property
    def _broke(self) -> bool:
        """Whether, in truth, the last snapshot shows nothing of what was asked for at any strength."""
        return max(self.value(cell) for cell in self.uniform if cell.step == self._last_step) < BROKE

    @property
    def _last_step(self) -> int:
        return max(cell.step for cell in self.truths)

    @property
    def _last(self) -> CellTruth:
        """The last snapshot at strength 1."""
        return self.truths[Cell(self._last_step, 1.0, 1.0)]


@dataclass(frozen=True)
class Judged:
    """What was said of a case, by all pictures and by each third of them alone; `rho` is the rank correlation of merit with
    the truth."""

    case: Case
    verdict: Verdict
    by_third: Sequence[Verdict]
    rho: float

    @property
    def right(self) -> bool:
        """Whether the state is one of those that the case should have."""
        return self.verdict.state in self.case.states

    @property
    def regret(self) -> float:
        """What the chosen cell is worth less than the best one, in truth."""
        return self.case.regret(self.verdict.best)

    @property
    def named(self) -> bool | None:
        """Whether the advice names the part that is off, and its direction; None where none is, in truth."""
        if plain(self.case.name) not in CAUSES:
            return None
        knob, direction = CAUSES[plain(self.case.name)]
        if not self.case.is_off(knob, direction):
            return None
        rates = self.case.training.rates
        alone = [each.patch[knob] for each in self.verdict.advice if {*each.patch} & {*rates} == {knob}]
        return any((float(value) - rates[knob]) * direction > 0 for value in alone)

    @property
    def steady(self) -> bool:
        """Whether each third of the pictures, one of each prompt, gives the same state, as far as it is sure."""
        return agree(self.by_third)


def agree(verdicts: Sequence[Verdict]) -> bool:
    """Whether verdicts give the same state, as far as they are sure."""
    return len({each.state for each in verdicts} - {NOT_SURE}) <= 1


def judged(work: Path, training: Training) -> Iterator[Judged]:
    """Every case of a training that has been painted."""
    bench = Bench(work, training)
    if not is_painted(bench):
        return
    found, truths = figures(bench), truths_of(work, training)
    probes = json.loads(bench.probes.read_text(encoding="utf-8"))
    for name, view in training.views.items():
        results = results_of(bench, view, found, probes)
        of_cells = {cell: truths[real.slug] for cell, real in view.cells().items()}
        case = Case(training, name, of_cells, _hidden(truths, view, training), _further(truths, view, training))
        thirds = [_verdict(_third(results, number), training.low) for number in range(bench.images.count)]
        yield Judged(case, _verdict(results, training.low), thirds, _rho(results, of_cells))


def _hidden(truths: Mapping[str, CellTruth], view: View, training: Training) -> float:
    """How much more, in truth, little guidance shows than the grid's; 0 for what was not painted so."""
    if not is_unscaled(view, training):
        return 0.0
    low, usual = truths[f"{LOW}{training.low.slug}"], truths[training.low.slug]
    return float(low.shown.mean() - usual.shown.mean())


def _further(truths: Mapping[str, CellTruth], view: View, training: Training) -> CellTruth | None:
    """What came of a view after as many steps again, where that was painted."""
    if training.further is None or not is_unscaled(view, training):
        return None
    return truths.get(training.further.slug)


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


def _rho(results: Results, truths: Mapping[Cell, CellTruth]) -> float:
    """Spearman's rank correlation of merit and truth over the cells with both parts alike."""
    pairs = [(merit(each), truths[cell].value) for cell, each in results.pooled.items()]
    if len(pairs) < 3:
        return float("nan")
    ranks = [np.argsort(np.argsort(values)) for values in zip(*pairs, strict=True)]
    return float(np.corrcoef(*ranks)[0, 1])
