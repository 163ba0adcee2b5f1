"""Does the advice work? Applies each verdict's settings to the next training, and compares what is true of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from benchmarks.judging.cases import CLEAR, Judged, judged
from benchmarks.judging.trainings import RATE, Training, View

SNAPSHOTS = 4
KNOBS = {"steps", "unet_lr", "text_encoder_lr"}
"""What a planted training can change; advice for other knobs alone is passed over."""


@dataclass(frozen=True)
class Round:
    """A judged case, and the training that its advice makes of it."""

    before: Judged
    patch: dict[str, float]
    training: Training


def rounds(work: Path, trainings: Sequence[Training]) -> Iterator[Round]:
    """The next round of every case whose verdict has settings to change.

    Cases whose weights were multiplied are left out: no training has made them, so none can be changed.
    """
    for training in trainings:
        for each in judged(work, training):
            view = training.views[each.case.name]
            patch = _patch(each)
            if patch and view.denoiser == view.text_encoder == 1:
                yield Round(each, patch, _next(training, each.case.name, patch))


def _patch(case: Judged) -> dict[str, float]:
    """The first advice that is about knobs which can be changed here."""
    patches = [{name: float(value) for name, value in each.patch.items()} for each in case.verdict.advice]
    return next((patch for patch in patches if patch and patch.keys() <= KNOBS), {})


def _next(training: Training, case: str, patch: dict[str, float]) -> Training:
    every = round(patch.get("steps", training.views[case].steps[-1]) / SNAPSHOTS)
    shown = tuple(every * place for place in range(1, SNAPSHOTS + 1))
    return replace(
        training,
        name=f"{training.name}-next-{case.replace(' ', '-')}",
        views={"next": View(shown)},
        steps=shown[-1],
        every=every,
        unet=patch.get("unet_lr", RATE * training.unet) / RATE,
        text_encoder=patch.get("text_encoder_lr", RATE / 2 * training.text_encoder) / (RATE / 2),
    )


def report(work: Path, trainings: Sequence[Training]) -> str:
    """A line for each round that was painted, and how many are no worse than before."""
    lines, gains = [], []
    for each in rounds(work, trainings):
        after = next(judged(work, each.training), None)
        if after is None:
            continue
        old, new = (one.case.value(one.verdict.best) for one in (each.before, after))
        gains.append(new - old)
        settings = ", ".join(f"{name} {value:g}" for name, value in each.patch.items())
        lines.append(
            f"{each.training.key:36} {each.before.verdict.state:14} → {settings}: truth {old:.2f} → {new:.2f}, "
            f"then {after.verdict.state}"
        )
    if gains:
        kept = sum(gain > -CLEAR for gain in gains)
        lines.append(f"{kept} of {len(gains)} no worse, {fmean(gains):+.2f} in the mean")
    return "\n".join(lines)
