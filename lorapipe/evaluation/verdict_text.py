"""What speaks for a choice, in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import fmean

from lorapipe.evaluation.results import Evidence
from lorapipe.evaluation.selection import margin, merit, risen, worse

BEYOND = 1.25
"""Saturation or contrast this many times outside what the base and the training pictures have is seen as wrong."""


def reasons(evidence: Evidence) -> tuple[str, ...]:
    """Everything worth saying of the chosen cell."""
    return tuple(reason for source in SOURCES for reason in source(evidence))


def _figures(evidence: Evidence) -> Iterator[str]:
    """What speaks for the chosen cell."""
    scores = evidence.at(evidence.chosen.step)
    if scores is None:
        yield f"{evidence.unscored}: this goes by the loss on fixed noise alone."
        return
    text = f"Its pictures are {_percent(fmean(scores.likeness))} of the way from the base to the training pictures"
    if scores.following is None:
        yield f"{text}. How well prompts are followed could not be measured: CLIP cannot tell these prompts apart."
    else:
        yield f"{text}, and follow their prompts {_percent(fmean(scores.following))} as well as the base's."


def _others(evidence: Evidence) -> Iterator[str]:
    """How it stands to the last snapshot, or to the highest figure."""
    chosen, last = evidence.chosen, evidence.steps[-1]
    scores, end = evidence.at(chosen.step), evidence.at(last)
    if chosen.step == last or scores is None or end is None:
        return
    figures = _percent(fmean(end.likeness))
    if end.following is not None:
        figures += f" likeness, {_percent(fmean(end.following))} following"
    if worse(end, scores):
        yield f"The last snapshot, step {last}, is worse: {figures}."
    elif merit(end) > merit(scores):
        chance = margin(end, scores)
        yield f"Step {last} is not better by more than chance ({figures}; ±{chance:.2f}): the earlier is safer."
    else:
        yield f"Training on to step {last} has brought nothing more: {figures}."


def _memory(evidence: Evidence) -> Iterator[str]:
    """What the probe says of learning and memorising."""
    if not evidence.probe.held_out:
        yield "No pictures were held out, so memorising cannot be told from learning by the loss."
        return
    losses = {step: probe.held_out for step, probe in sorted(evidence.probes.items())}
    finite = {step: fmean(loss) for step, loss in losses.items() if math.isfinite(fmean(loss))}
    if not finite:
        return
    least, last = min(finite, key=lambda step: finite[step]), max(finite)
    if finite[least] >= fmean(evidence.probe.held_out):
        yield "The loss on held-out pictures never fell below the base's: what was learnt does not carry over to them."
    elif least != last and risen(losses[least], losses[last]):
        yield f"The loss on held-out pictures is lowest at step {least} and has risen since: it memorises."
    else:
        yield "The loss on held-out pictures has not turned up: it has not begun to memorise."


def _appearance(evidence: Evidence) -> Iterator[str]:
    """Drift that both the base and the training pictures speak against, sameness, and copies."""
    look, base, training = evidence.looks.get(evidence.chosen), evidence.base, evidence.training
    if look is None or base is None:
        return
    for name in ("saturation", "contrast"):
        ours = getattr(look, name)
        span = [getattr(each, name) for each in (base, training) if each is not None]
        if ours > BEYOND * max(span):
            yield f"The {name} is {ours / max(span):.1f} times the base's and the training pictures': over-cooked."
        elif ours * BEYOND < min(span):
            yield f"The {name} is {_percent(ours / min(span))} of the base's and the training pictures': washed out."
    if look.diversity is not None and base.diversity and look.diversity < 0.5 * base.diversity:
        yield f"Pictures of one prompt differ only {_percent(look.diversity / base.diversity)} as much as the base's."
    if look.copied is not None and look.copied >= 0.25:
        yield f"{_percent(look.copied)} of its pictures are closer to a training picture than those are to one another."


SOURCES: tuple[Callable[[Evidence], Iterator[str]], ...] = (_figures, _others, _memory, _appearance)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
