"""The verdict in words: the reasons for a choice, and patches as they are written in a pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from lorapipe.evaluation.diagnosis import shown
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.part_strengths import part_reasons
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import Scores, following, identity, margin, merit, worse
from lorapipe.percent import percent

BEYOND = 1.25
"""Saturation or contrast this many times outside what the base and the training pictures have is seen as wrong."""


def reasons(results: Results) -> tuple[str, ...]:
    """The reasons for the chosen cell, in sentences."""
    return tuple(reason for source in SOURCES for reason in source(results))


def _figures(results: Results) -> Iterator[str]:
    """How much of the subject and of the prompts is shown: as the page's table says, then as the verdict counts."""
    scores, counted = results.valid.get(results.best), results.pooled.get(results.best)
    if scores is None or counted is None:
        yield f"{results.unscored}: this goes by the loss on fixed noise alone."
        return
    what = "of the subject" if results.kind == "subject" else "of the way to the training pictures' style"
    text = f"Its pictures show {percent(identity(scores))} {what}"
    asked = following(scores)
    if asked is None:
        yield f"{text}. How well prompts are followed could not be measured: no tag of them is in some captions only."
    else:
        yield f"{text}, and {percent(asked)} of what the prompts ask for."
    if (pooled := shown(results, counted)) != shown(results, scores):
        yield f"With the pictures of the snapshots beside it, which count half: {pooled}."


def _others(results: Results) -> Iterator[str]:
    """Compares it with the last snapshot."""
    chosen, last = results.best, results.steps[-1]
    end_cell = Cell(last, chosen.strength, chosen.strength)
    scores, end = results.pooled.get(chosen), results.pooled.get(end_cell)
    if chosen.step == last or scores is None or end is None:
        return
    figures = shown(results, results.valid[end_cell])
    if worse(end, scores):
        yield f"The last snapshot, step {last}, is worse: {figures}."
    elif merit(end) > merit(scores):
        chance = margin(end, scores)
        why = "its loss on held-out pictures is higher" if results.probe.held_out else "the earlier is safer"
        yield f"Step {last} is not better by more than chance ({figures}; ±{chance:.2f}): {why}."
    else:
        yield f"Training on to step {last} has brought nothing more: {figures}."


def _memory(results: Results) -> Iterator[str]:
    """Whether the held-out loss shows memorising."""
    if not results.probe.held_out:
        yield "No pictures were held out, so memorising cannot be told from learning by the loss."
        return
    if len(results.probe.held_out) == 1:
        yield "Only one picture was held out: too few to tell memorising by the loss."
        return
    if not results.losses.tell_memorising:
        yield f"Only {len(results.probe.held_out)} pictures were held out: too few to tell memorising by the loss."
        return
    losses = {step: fmean(probe.held_out) for step, probe in sorted(results.probes.items())}
    finite = {step: loss for step, loss in losses.items() if math.isfinite(loss)}
    if not finite:
        return
    least, last = min(finite, key=lambda step: finite[step]), max(finite)
    if finite[least] >= fmean(results.probe.held_out):
        yield "The loss on held-out pictures never fell below the base's: what was learnt does not carry over to them."
    elif least != last and results.losses.has_risen(least, last):
        yield f"The loss on held-out pictures is lowest at step {least} and has risen since: it memorises."
    else:
        yield "The loss on held-out pictures has not turned up: it has not begun to memorise."


def _guidance(results: Results) -> Iterator[str]:
    """What the same cell shows with little guidance."""
    low = results.low_guidance
    if low is None or results.best not in results.valid:
        return
    figures = shown(results, low.scores, " and ")
    effect = "burns them" if results.burns else "does them no harm"
    yield f"At CFG {low.low_cfg:g} its pictures show {figures}: CFG {low.cfg:g} {effect}."


def _appearance(results: Results) -> Iterator[str]:
    """Saturation and contrast outside what the base and the training pictures have; artefacts; copies."""
    stats, base, training = results.image_stats.get(results.best), results.base, results.training
    if stats is not None and base is not None:
        normal = [base] if training is None else [base, training]
        yield from _outside("saturation", stats.saturation, [each.saturation for each in normal])
        yield from _outside("contrast", stats.contrast, [each.contrast for each in normal])
    scores = results.valid.get(results.best)
    if scores is not None and scores.copied and (share := _copied(scores)) >= 0.25:
        yield f"{percent(share)} of its pictures are copies: far nearer to one training picture than to the others."


def _copied(scores: Scores) -> float:
    return fmean(share >= 0.5 for share in scores.copied)


def _outside(name: str, ours: float, normal: Sequence[float]) -> Iterator[str]:
    if ours > BEYOND * max(normal):
        yield f"The {name} is {ours / max(normal):.1f} times the base's and the training pictures': over-cooked."
    elif ours * BEYOND < min(normal):
        yield f"The {name} is {percent(ours / min(normal))} of the base's and the training pictures': washed out."


SOURCES: tuple[Callable[[Results], Iterator[str]], ...] = (
    _figures,
    _others,
    part_reasons,
    _guidance,
    _memory,
    _appearance,
)


# ----------------------------------------------------------------------------------------------------------- patches


def yaml_lines(patch: Mapping[str, float | int | str]) -> str:
    """A patch as it is written in a stage: dotted knobs are nested, in flow style."""
    settings: dict[str, list[str]] = {}
    for knob, value in patch.items():
        outer, _, inner = knob.partition(".")
        settings.setdefault(outer, []).append(f"{inner}: {_number(value)}" if inner else _number(value))
    nested = {knob.partition(".")[0] for knob in patch if "." in knob}
    return "\n".join(
        f"{knob}: {{…, {', '.join(values)}}}" if knob in nested else f"{knob}: {values[0]}"
        for knob, values in settings.items()
    )


def _number(value: float | int | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
