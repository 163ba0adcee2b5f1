"""Rules of the verdict for how far a training has come: too far, not far enough, or just right."""

from __future__ import annotations

import math

from lorapipe.evaluation.advice import LEARNT, Advice, double_rank, half_rank, rates, train_more
from lorapipe.evaluation.diagnosis import FAITHLESS, Diagnosis, is_weak, use
from lorapipe.evaluation.part_strengths import PartFault, part_names
from lorapipe.evaluation.probe_losses import TELLING
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import Scores, following, following_error, identity, merit, worse

WHOLE = 0.8
"""Identity above this leaves little to be wished for."""
COLLAPSED = 0.5
"""With less than this share of its merit at strength 1 it falls apart above it."""
PACE = 0.6
"""Merit that has grown from this share of itself while the steps doubled grows on."""


def needs_lowering(results: Results) -> Diagnosis | None:
    """A LoRA that works only below strength 1 is over-fit, or its rates were too high."""
    strength = results.best.strength
    if strength >= 1 or not any(cell.strength >= 1 for cell in results.pooled):
        return None
    advice = Advice("It should work at strength 1: learn more gently.", rates(results, max(0.5, strength)))
    return Diagnosis("over-trained", f"{use(results)}: at full strength it is too much.", (advice,))


def broke_down_early(results: Results) -> Diagnosis | None:
    """An earlier snapshot was worse than the base at its own training pictures: what came later is what it has recovered."""
    early = [step for step in results.steps[:-1] if results.losses.is_worse_than_base(step)]
    if not early or not _lacks_likeness(results):
        return None
    headline = f"{use(results)}: it broke down at first (step {early[0]}), and has not recovered all."
    slower = _slower(results, "Learn more gently: it lost at first what more steps would only win back.")
    return Diagnosis("over-trained", headline, (slower,))


def worse_than_base(results: Results) -> Diagnosis | None:
    """The likeness lacks, and the loss is above the base's: what the weights add is more than what was learnt."""
    chosen = results.best
    if chosen.strength != 1 or not results.losses.is_worse_at_subject(chosen.step) or not _lacks_likeness(results):
        return None
    headline = f"{use(results)}, though it is worse than the base at pictures of what it has learnt."
    slower = _slower(results, "Learn more gently: its weights do more than what they have learnt.")
    return Diagnosis("over-trained", headline, (slower,))


def _lacks_likeness(results: Results) -> bool:
    """Whether there is likeness to be wished for in the snapshot to use, where it was measured."""
    scores = results.scores_at(results.best.step)
    return scores is not None and identity(scores) < WHOLE


def falls_apart(results: Results) -> Diagnosis | None:
    """The likeness is weak, and more of it only breaks the pictures: too coarse for its rate, not too little of it."""
    scores, chosen = results.scores_at(results.best.step), results.best
    if scores is None or not is_weak(results, scores) or chosen.strength != results.usual_strength:
        return None
    higher = results.higher_strength
    above = None if higher is None else results.scores_at(chosen.step, higher)
    if above is None or merit(above) >= COLLAPSED * merit(scores) or not worse(above, scores):
        return None
    headline = f"{use(results)}: the likeness is weak, and at {higher:g} it falls apart."
    slower = _slower(results, "Learn more gently: more of the same only breaks the pictures.")
    return Diagnosis("over-trained", headline, (slower,))


def needs_raising(results: Results) -> Diagnosis | None:
    """A LoRA that works only above strength 1 has learnt too little."""
    if results.best.strength <= 1 or not any(cell.strength <= 1 for cell in results.pooled):
        return None
    advice = train_more(results, "It should work at strength 1: train longer.")
    return Diagnosis("under-trained", f"{use(results)}: at strength 1 it is too little.", (advice,))


def unfollowed(results: Results) -> Diagnosis | None:
    """Even the best ignores the prompts, though its loss falls no more; or though the subject is there whole, which is all
    that further steps can bring.
    """
    scores = results.scores_at(results.best.step)
    if scores is None or not _ignores_prompts(scores):
        return None
    if results.losses.still_falls() and identity(scores) < WHOLE:
        return None
    found = f"{use(results)}, though it ignores most of the prompt."
    return Diagnosis("over-trained", found, (_slower(results), *half_rank(results)))


def _ignores_prompts(scores: Scores) -> bool:
    """Whether most of what the prompts ask for is missing, by more than chance."""
    followed = following(scores)
    return followed is not None and followed + following_error(scores) < FAITHLESS


def still_rising(results: Results) -> Diagnosis | None:
    """The last snapshot is the best, better than the one before, and so much better than at half the steps that more steps
    would be too."""
    steps, chosen = results.steps, results.best
    if chosen.step != steps[-1] or len(steps) < 2:
        return None
    half = min(steps[:-1], key=lambda step: abs(math.log(2 * step / steps[-1])))
    early, before, last = (results.scores_at(step) for step in (half, steps[-2], steps[-1]))
    if early is not None and before is not None and last is not None:
        pace = PACE ** math.log2(steps[-1] / half)
        rising = (
            worse(before, last) and merit(early) < pace * merit(last) and identity(before) < identity(last) < LEARNT
        )
    else:
        rising = not results.scores and results.losses.still_falls() and results.losses.has_risen(steps[-1], steps[-2])
    if not rising:
        return None
    advice = train_more(results, "It was still getting better at the end: train longer.")
    return Diagnosis("under-trained", f"{use(results)}: the last, and more steps would help.", (advice,))


def from_the_start(results: Results) -> Diagnosis | None:
    """The first snapshot is the best, and the last clearly worse."""
    if results.losses.still_falls() or results.best.step != results.steps[0] or len(results.steps) < 2:
        return None
    if not _last_is_worse(results):
        return None
    return Diagnosis("over-trained", f"{use(results)}: the first, and all later ones are worse.", (_slower(results),))


def _last_is_worse(results: Results) -> bool:
    """Whether the last snapshot is worse than the best, by the held-out loss where there are no scores."""
    best, last = results.best.step, results.steps[-1]
    if not results.scores:
        return results.losses.has_risen(best, last)
    scores, end_scores = results.scores_at(best), results.scores_at(last)
    return scores is not None and end_scores is not None and worse(end_scores, scores)


def stuck(results: Results) -> Diagnosis | None:
    """It has stopped learning short of the subject."""
    scores = results.scores_at(results.best.step)
    if scores is None or not is_weak(results, scores):
        return None
    if results.losses.still_falls():
        advice = train_more(results, "It has not arrived yet: train longer.")
        return Diagnosis(
            "under-trained", f"{use(results)}, though the likeness is weak: more steps would help.", (advice,)
        )
    what = "It has stopped short of the subject: give it more room and a higher rate."
    advice = Advice(what, {**rates(results, 2), **double_rank(results)})
    return Diagnosis("under-trained", f"{use(results)}, though the likeness is weak.", (advice,))


def unmeasured(results: Results) -> Diagnosis | None:
    """Neither its pictures nor held-out ones tell anything: it may as well have memorised its training pictures."""
    if results.pooled or results.losses.tell_memorising:
        return None
    what = (
        f"Look at its pictures: nothing that was measured tells how good they are. With {TELLING} held-out pictures or more "
        "(`held_out` in the prepare stage) the loss would tell."
    )
    return Diagnosis("not sure", f"{use(results)}, by the loss alone.", (Advice(what),))


def good(results: Results) -> Diagnosis:
    """What is left."""
    chosen, last = results.best, results.steps[-1]
    scores, end = results.scores_at(chosen.step), results.scores_at(last)
    advice = None
    if scores is not None and chosen.step == last and identity(scores) < LEARNT:
        advice = _more_like_it(results)
    elif scores is not None and end is not None and worse(end, scores) and merit(scores) > 0:
        advice = Advice("Later steps only over-fit: next time, stop here.", {"steps": chosen.step})
    return Diagnosis("good", f"{use(results)}.", (advice,) if advice else ())


def _more_like_it(results: Results) -> Advice:
    """A higher rate, since more steps have ceased to help; a lower one where the rate is at its limit: a snapshot was no
    better than the base at held-out pictures.
    """
    if results.losses.was_no_better_unseen():
        what = (
            "It may become more like it: try a lower rate; it was no better than the base at pictures it has not seen."
        )
        return _slower(results, what)
    return Advice("It may become more like it: try a higher rate.", rates(results, 2))


def _slower(results: Results, why: str = "Learn more gently, so that there is a best moment to catch.") -> Advice:
    """Half the rates."""
    return Advice(why, rates(results, 0.5))


def part_too_fast(results: Results, fault: PartFault) -> Diagnosis:
    """A part that is better below strength 1 is over-trained, however weak the likeness is: more steps would add to it."""
    return Diagnosis("over-trained", f"{use(results)}: the {part_names(results)[fault.role]} has learnt too much.")
