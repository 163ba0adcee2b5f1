"""Rules of the verdict for trainings that have failed: broken, without effect, copying, deaf to their prompts, burnt."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from lorapipe.evaluation.advice import Advice, half_rank, longer, rates
from lorapipe.evaluation.diagnosis import FAITHLESS, PRESENT, Diagnosis, is_weak, use
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.results import Results
from lorapipe.evaluation.selection import Scores, following, heeded, identity

NO_EFFECT = 0.2
"""Identity below this is not seen in the pictures."""
COPY, COPYING = 0.5, 0.1
"""A picture with `copied` of the first is a copy; with the second share of such pictures a training copies."""
RUINED = 0.25
"""Soundness below this: noise and burnt colours, whatever is shown."""
LOST, HEARD = 2 / 3, 0.8
"""With less of the prompts than the first share of what strength 1 shows, a higher strength has lost them; with as much of
them as the second, strength 1 follows them well."""
HEEDED, FOLLOWED = 0.5, 0.6
"""Below the first the pictures of a prompt are hardly more of it than those of the others; above the second they are."""
KEPT = 0.8
"""With this share of the highest identity a lower strength still has the subject."""
HIDDEN = 0.2
"""Identity that little guidance must add for guidance to be what hides it."""


def broken(results: Results) -> Diagnosis | None:
    """Noise, blank pictures or a loss above the base's: the rate was far too high."""
    failed = [step for step in results.steps if _diverged(results, step)]
    if not failed:
        return None
    cure = Advice(
        "Learn far more slowly: noise is what a learning rate many times too high makes.", rates(results, 1 / 8)
    )
    if len(failed) == len(results.steps):
        return Diagnosis("broken", "The training has broken the model: no snapshot can be used.", (cure,))
    if failed[-1] != results.steps[-1]:
        return None
    return Diagnosis("broken", f"{use(results)}: at step {failed[0]} the training broke down.", (cure,))


def _diverged(results: Results, step: int) -> bool:
    cells = [cell for cell in results.cells if cell.step == step and cell.uniform]
    if all(cell in results.broken for cell in cells):
        return True
    if _ruined(results, cells):
        return True
    if not any(cell.strength >= 1 for cell in cells):
        return False
    if not results.losses.is_finite(step):
        return True
    return results.losses.is_worse_than_base(step) and _most_shown(results, cells) < PRESENT


def _ruined(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether nothing but artefacts is painted at strength 1 and at every lower one."""
    scores = [results.valid[cell] for cell in cells if cell.strength <= 1 and cell in results.valid]
    sound = [fmean(each.sound) for each in scores if each.sound]
    return bool(sound) and max(sound) < RUINED


def _most_shown(results: Results, cells: Sequence[Cell]) -> float:
    return max((identity(results.valid[cell]) for cell in cells if cell in results.valid), default=0.0)


def hidden_by_guidance(results: Results) -> Diagnosis | None:
    """It is learnt, and guidance hides it: with little guidance the pictures have it. Asked once a cell is chosen, of it."""
    low, scores = results.low_guidance, results.scores_at(results.best.step)
    if low is None or scores is None or not is_weak(results, scores):
        return None
    if is_weak(results, low.scores) or identity(low.scores) < identity(scores) + HIDDEN or not results.burns:
        return None
    use_low = f"{use(results)}, at CFG {low.low_cfg:g}: guidance of {low.cfg:g}"
    if results.kind == "style":
        return Diagnosis("style not shown", f"{use_low} hides the style that it has learnt.")
    return Diagnosis("burns", f"{use_low} burns what it has learnt.")


def no_effect(results: Results) -> Diagnosis | None:
    """The pictures are still the base's."""
    if results.pooled:
        if max(map(identity, results.pooled.values())) >= NO_EFFECT:
            return None
    elif results.losses.has_learnt(results.best.step):
        return None
    advice = Advice("Train longer, and faster.", {**longer(results, 2), **rates(results, 2)})
    return Diagnosis("no effect", "No effect yet: the pictures are still those of the base.", (advice,))


def copies(results: Results) -> Diagnosis | None:
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
    return Diagnosis("copies", f"{use(results)} if you must: it paints copies of its training pictures.", advice)


def _copying(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether a tenth of these cells' pictures are copies, and two at least."""
    copied = [share >= COPY for cell in cells for share in results.valid[cell].copied]
    return sum(copied) >= 2 and fmean(copied) >= COPYING


def unheeded(results: Results) -> Diagnosis | None:
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


def takes_over(results: Results) -> Diagnosis | None:
    """Prompts ask for what no caption says, and above strength 1 there is more of the subject and hardly anything of them:
    what all the pictures share grows with it. What is merely too strong loses the subject too.
    """
    step, higher = results.steps[-1], results.higher_strength
    if results.kind != "subject" or not results.untaught or higher is None:
        return None
    one, above = results.scores_at(step, results.usual_strength), results.scores_at(step, higher)
    return _not_taught(results) if one and above and _lost(one, above) else None


def _lost(one: Scores, above: Scores) -> bool:
    """Whether a higher strength has no less of the subject, and has lost the prompts, which strength 1 follows in part."""
    before, after = following(one) or 0.0, following(above) or 0.0
    grows = identity(above) >= max(PRESENT, identity(one))
    return grows and before < HEARD and after < min(FAITHLESS, LOST * before)


def _most_followed(some: Sequence[Scores]) -> float:
    return max(following(each) or 0.0 for each in some)


def _not_taught(results: Results) -> Diagnosis:
    """Why prompts change nothing: no caption says what they ask for, or captions say what is not there."""
    if results.untaught:
        what = (
            f"No caption says {', '.join(results.untaught[:4])}, and prompts that do change little: what all the pictures "
            "share comes with the trigger. Say in the captions where each picture is and what in it is not the subject, or "
            "add pictures elsewhere."
        )
        return Diagnosis("leaks", f"{use(results)}: what all its pictures share comes unasked.", (Advice(what),))
    what = (
        "The captions have the prompts' tags, and asking for them changes nothing: look whether each caption is its own "
        "picture's. A tag that the picture does not show is learnt for something else."
    )
    return Diagnosis("wrong captions", f"{use(results)}: tags do not do what they say.", (Advice(what),))


def _prompts_work(results: Results) -> bool:
    """Whether a lower strength follows the prompts, or a tag is known to do what the captions taught of it."""
    tags = results.tags.get(results.best, {}).values()
    return _followed_when_lowered(results) or any(each.works for each in tags)


def _followed_when_lowered(results: Results) -> bool:
    most = max(map(identity, results.pooled.values()))
    lower = [each for cell, each in results.pooled.items() if cell.strength < 1 and identity(each) >= KEPT * most]
    return any((share := heeded(each)) is not None and share >= FOLLOWED for each in lower)
