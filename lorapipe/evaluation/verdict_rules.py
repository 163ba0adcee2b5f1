"""Rules of the verdict: each looks at the results for one state of affairs; the first that applies is the verdict.

They are a training guide's: a LoRA should work at strength 1; one that needs less is over-fit, one that needs more wants
more training or a higher rate; from no effect over growing likeness to over-fit is the natural progress, so the best of
the snapshots is kept; one that is over-fit from the start wants a lower rate; noise wants a rate at least 8 times lower.
Nothing is called over-trained while the loss on held-out pictures still falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from lorapipe.evaluation.advice import Advice, double_rank, half_rank, longer, loss_still_falls, rates
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.part_strengths import PartFault, part_names
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import (
    GATE,
    Scores,
    following,
    following_error,
    heeded,
    identity,
    merit,
    risen,
    worse,
)

State = Literal[
    "good",
    "under-trained",
    "over-trained",
    "copies",
    "no effect",
    "broken",
    "style not shown",
    "burns",
    "leaks",
    "wrong captions",
    "not sure",
]

NO_EFFECT = 0.2
"""Identity below this is not seen in the pictures."""
WEAK = 0.6
"""Identity below this is a family resemblance, no likeness."""
WHOLE = 0.8
"""Identity above this leaves little to be wished for."""
PACE = 2 / 3
"""Merit that has grown from this share of itself while the steps doubled grows on."""
FAITHLESS = 0.5
"""Following below this: most of what the prompt asks for is missing."""
COPY, COPYING = 0.5, 0.1
"""A picture with `copied` of the first is a copy; with the second share of such pictures a training copies."""
RUINED = 0.25
"""Soundness below this: noise and burnt colours, whatever is shown."""
HEEDED, FOLLOWED = 0.5, 0.6
"""Below the first the pictures of a prompt are hardly more of it than those of the others; above the second they are."""
PRESENT = 0.3
"""Identity above this is a picture with the subject in it, if not all of it."""
HIDDEN = 0.2
"""Identity that little guidance must add for guidance to be what hides it."""

LEARNT: frozenset[State] = frozenset({"good", "under-trained", "not sure"})
"""States which a part that has learnt too much speaks against."""


@dataclass(frozen=True)
class Finding:
    """What a rule found."""

    state: State
    headline: str
    advice: tuple[Advice, ...] = ()


def finding(results: Results) -> Finding:
    """What the first rule that applies says."""
    return next(found for rule in RULES if (found := rule(results)) is not None)


def use(results: Results) -> str:
    """The beginning of a headline: what to use."""
    return f"Use {results.best}"


# ------------------------------------------------------------------------------------------------- rules, by severity


def _broken(results: Results) -> Finding | None:
    """Noise, blank pictures or a loss above the base's: the rate was far too high."""
    failed = [step for step in results.steps if _diverged(results, step)]
    if not failed:
        return None
    cure = Advice(
        "Learn far more slowly: noise is what a learning rate many times too high makes.", rates(results, 1 / 8)
    )
    if len(failed) == len(results.steps):
        return Finding("broken", "The training has broken the model: no snapshot can be used.", (cure,))
    if failed[-1] != results.steps[-1]:
        return None
    return Finding("broken", f"{use(results)}: at step {failed[0]} the training broke down.", (cure,))


def _diverged(results: Results, step: int) -> bool:
    cells = [cell for cell in results.cells if cell.step == step and cell.uniform]
    if all(cell in results.broken for cell in cells):
        return True
    if _ruined(results, cells):
        return True
    probe = results.probes.get(step)
    if probe is None or not any(cell.strength >= 1 for cell in cells):
        return False
    loss = fmean(probe.training)
    if not math.isfinite(loss):
        return True
    return loss > 1.05 * fmean(results.probe.training) and _most_shown(results, cells) < PRESENT


def _ruined(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether nothing but artefacts is painted at strength 1 and at every lower one."""
    scores = [results.valid[cell] for cell in cells if cell.strength <= 1 and cell in results.valid]
    sound = [fmean(each.sound) for each in scores if each.sound]
    return bool(sound) and max(sound) < RUINED


def _most_shown(results: Results, cells: Sequence[Cell]) -> float:
    return max((identity(results.valid[cell]) for cell in cells if cell in results.valid), default=0.0)


def hidden_by_guidance(results: Results) -> Finding | None:
    """It is learnt, and guidance hides it: with little guidance the pictures have it. Asked once a cell is chosen, of it."""
    low, scores = results.low_guidance, results.scores_at(results.best.step)
    if low is None or scores is None or identity(scores) >= WEAK:
        return None
    if identity(low.scores) < WEAK or identity(low.scores) < identity(scores) + HIDDEN or not results.burns:
        return None
    use_low = f"{use(results)}, at CFG {low.low_cfg:g}: guidance of {low.cfg:g}"
    if results.kind == "style":
        return Finding("style not shown", f"{use_low} hides the style that it has learnt.")
    return Finding("burns", f"{use_low} burns what it has learnt.")


def part_too_fast(results: Results, fault: PartFault) -> Finding:
    """A part that is better below strength 1 is over-trained, however weak the likeness is: more steps would add to it."""
    return Finding("over-trained", f"{use(results)}: the {part_names(results)[fault.role]} has learnt too much.")


def _no_effect(results: Results) -> Finding | None:
    """The pictures are still the base's."""
    if results.pooled:
        if max(map(identity, results.pooled.values())) >= NO_EFFECT:
            return None
    elif risen(results.probes[results.best.step].training, results.probe.training):
        return None
    advice = Advice("Train longer, and faster.", {**longer(results, 2), **rates(results, 2)})
    return Finding("no effect", "No effect yet: the pictures are still those of the base.", (advice,))


def _copies(results: Results) -> Finding | None:
    """It paints its training pictures again: at the strength nearest 1, in all snapshots, or in the cell to use."""
    usual = results.usual_strength
    usable = [cell for cell in results.pooled if cell.strength == usual and identity(results.pooled[cell]) >= NO_EFFECT]
    if not _copying(results, usable) and not _copying(
        results, [cell for cell in results.pooled if cell == results.best]
    ):
        return None
    advice = (
        Advice("Add pictures that differ: this is the cure that lasts. Until then train less.", rates(results, 0.5)),
        *half_rank(results),
    )
    return Finding("copies", f"{use(results)} if you must: it paints copies of its training pictures.", advice)


def _copying(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether a tenth of these cells' pictures are copies, and two at least."""
    copied = [share >= COPY for cell in cells for share in results.valid[cell].copied]
    return sum(copied) >= 2 and fmean(copied) >= COPYING


def _unheeded(results: Results) -> Finding | None:
    """The subject is there, and at strength 1 its pictures are the same whatever is asked for, in every snapshot.

    Where a lower strength has the subject and follows the prompts it is over-trained, which is another rule's.
    """
    if results.kind != "subject" or not results.pooled or _prompts_work(results):
        return None
    usual = results.usual_strength
    present = [each for cell, each in results.pooled.items() if cell.strength == usual and identity(each) >= PRESENT]
    said = [share for each in present if (share := heeded(each)) is not None]
    if not said or max(said) >= HEEDED or _most_followed(present) >= FAITHLESS:
        return None
    return _not_taught(results)


def _most_followed(some: Sequence[Scores]) -> float:
    return max(following(each) or 0.0 for each in some)


def _not_taught(results: Results) -> Finding:
    """Why prompts change nothing: no caption says what they ask for, or captions say what is not there."""
    if results.untaught:
        what = (
            f"No caption says {', '.join(results.untaught[:4])}, and prompts that do change nothing: what all the pictures "
            "share comes with the trigger. Say in the captions where each picture is and what in it is not the subject, or "
            "add pictures elsewhere."
        )
        return Finding("leaks", f"{use(results)}: what all its pictures share comes unasked.", (Advice(what),))
    what = (
        "The captions have the prompts' tags, and asking for them changes nothing: look whether each caption is its own "
        "picture's. A tag that the picture does not show is learnt for something else."
    )
    return Finding("wrong captions", f"{use(results)}: tags do not do what they say.", (Advice(what),))


def _prompts_work(results: Results) -> bool:
    """Whether a lower strength follows the prompts, or a tag is known to do what the captions taught of it."""
    tags = results.tags.get(results.best, {}).values()
    return _followed_when_lowered(results) or any(each.works for each in tags)


def _followed_when_lowered(results: Results) -> bool:
    most = max(map(identity, results.pooled.values()))
    lower = [each for cell, each in results.pooled.items() if cell.strength < 1 and identity(each) >= GATE * most]
    return any((share := heeded(each)) is not None and share >= FOLLOWED for each in lower)


def _needs_lowering(results: Results) -> Finding | None:
    """A LoRA that works only below strength 1 is over-fit, or its rates were too high."""
    strength = results.best.strength
    if strength >= 1 or not any(cell.strength >= 1 for cell in results.pooled):
        return None
    advice = Advice("It should work at strength 1: learn more gently.", rates(results, max(0.5, strength)))
    return Finding("over-trained", f"{use(results)}: at full strength it is too much.", (advice,))


def _needs_raising(results: Results) -> Finding | None:
    """A LoRA that works only above strength 1 has learnt too little."""
    if results.best.strength <= 1 or not any(cell.strength <= 1 for cell in results.pooled):
        return None
    advice = Advice("It should work at strength 1: train longer.", longer(results))
    return Finding("under-trained", f"{use(results)}: at strength 1 it is too little.", (advice,))


def _still_rising(results: Results) -> Finding | None:
    """The last snapshot is the best, better than the one before, and so much better than at half the steps that more steps
    would be too."""
    steps, chosen = results.steps, results.best
    if chosen.step != steps[-1] or len(steps) < 2:
        return None
    half = min(steps[:-1], key=lambda step: abs(math.log(2 * step / steps[-1])))
    early, before, last = (results.scores_at(step) for step in (half, steps[-2], steps[-1]))
    if early is not None and before is not None and last is not None:
        pace = PACE ** math.log2(steps[-1] / half)
        rising = worse(before, last) and merit(early) < pace * merit(last) and identity(before) < identity(last) < 0.9
    else:
        rising = not results.scores and loss_still_falls(results) and _falling(results)
    if not rising:
        return None
    advice = Advice("It was still getting better at the end: train longer.", longer(results))
    return Finding("under-trained", f"{use(results)}: the last, and more steps would help.", (advice,))


def _falling(results: Results) -> bool:
    before, last = (results.probes[step].held_out for step in results.steps[-2:])
    return risen(last, before)


def _from_the_start(results: Results) -> Finding | None:
    """The first snapshot is the best, and the last clearly worse; or even the best ignores the prompts."""
    if loss_still_falls(results):
        return None
    chosen, scores = results.best, results.scores_at(results.best.step)
    slower = Advice("Learn more gently, so that there is a best moment to catch.", rates(results, 0.5))
    if scores is not None and _ignores_prompts(scores):
        found = f"{use(results)}, though it ignores most of the prompt."
        return Finding("over-trained", found, (slower, *half_rank(results)))
    if chosen.step != results.steps[0] or len(results.steps) < 2:
        return None
    if not _last_is_worse(results):
        return None
    return Finding("over-trained", f"{use(results)}: the first, and all later ones are worse.", (slower,))


def _ignores_prompts(scores: Scores) -> bool:
    """Whether most of what the prompts ask for is missing, by more than chance."""
    followed = following(scores)
    return followed is not None and followed + following_error(scores) < FAITHLESS


def _last_is_worse(results: Results) -> bool:
    """Whether the last snapshot is worse than the best, by the held-out loss where there are no scores."""
    best, last = results.best.step, results.steps[-1]
    if not results.scores:
        first, end = results.probes.get(best), results.probes.get(last)
        return first is not None and end is not None and risen(first.held_out, end.held_out)
    scores, end_scores = results.scores_at(best), results.scores_at(last)
    return scores is not None and end_scores is not None and worse(end_scores, scores)


def _stuck(results: Results) -> Finding | None:
    """It has stopped learning short of the subject."""
    scores = results.scores_at(results.best.step)
    if scores is None or identity(scores) >= WEAK:
        return None
    if loss_still_falls(results):
        advice = Advice("It has not arrived yet: train longer.", longer(results))
        return Finding(
            "under-trained", f"{use(results)}, though the likeness is weak: more steps would help.", (advice,)
        )
    what = "It has stopped short of the subject: give it more room and a higher rate."
    advice = Advice(what, {**rates(results, 2), **double_rank(results)})
    return Finding("under-trained", f"{use(results)}, though the likeness is weak.", (advice,))


def _good(results: Results) -> Finding:
    """What is left."""
    chosen, last = results.best, results.steps[-1]
    scores, end = results.scores_at(chosen.step), results.scores_at(last)
    advice = None
    if scores is not None and chosen.step == last and identity(scores) < WHOLE:
        advice = Advice("It may become more like it: try a higher rate.", rates(results, 2))
    elif scores is not None and end is not None and worse(end, scores) and merit(scores) > 0:
        advice = Advice("Later steps only over-fit: next time, stop here.", {"steps": chosen.step})
    return Finding("good", f"{use(results)}.", (advice,) if advice else ())


RULES: tuple[Callable[[Results], Finding | None], ...] = (
    _broken,
    _no_effect,
    _copies,
    _unheeded,
    _needs_lowering,
    _needs_raising,
    _still_rising,
    _from_the_start,
    _stuck,
    _good,
)
