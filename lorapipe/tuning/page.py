"""The page of a tuning: each round's change, why, what it cost and what came of it, with pictures side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.html_page import rendered
from lorapipe.evaluation.image_store import first_picture
from lorapipe.percent import percent
from lorapipe.pipeline.event_text import duration
from lorapipe.tuning.judgement import Judgement
from lorapipe.tuning.rounds import ENDS, WHY, TuningState, moved_text
from lorapipe.tuning.search import best_of

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATE = Path(__file__).parent / "page.html.j2"
MOST_PROMPTS = 5
"""Prompts whose pictures are shown."""
NOTES = (
    "Merit is identity × following × the share without artefacts, of the best snapshot at strength 1. Rounds are compared "
    "by it; where several evaluate stages judge, by the one that thinks least of the round.",
    "A round is the same pipeline with other settings. What did not change (pictures, captions, the base) is taken from the "
    "store, so a round costs its training and its pictures.",
)


@dataclass(frozen=True)
class ShownRound:
    """A round as the page shows it; `scores` are rows of a judge's name, state, strength and three shares."""

    number: int
    is_best: bool
    moved: str
    why: str
    advice: str
    scores: tuple[tuple[str, ...], ...]
    cost: str


@dataclass(frozen=True)
class ShownRow:
    """A prompt's pictures: the base's, then each round's."""

    prompt: str
    pictures: tuple[Image | None, ...]


def text(tuned: TuningState) -> str:
    """The HTML of a tuning with at least one round."""
    best = best_of(tuned.rounds)
    first, chosen = tuned.rounds[0], tuned.rounds[best]
    ended = ENDS[tuned.end.reason] if tuned.end else "It is still running."
    figures = {
        "merit of the first round": percent(first.merit),
        "merit of the best": percent(chosen.merit),
        "rounds": str(len(tuned.rounds)),
        "time of all rounds": duration(sum(each.seconds for each in tuned.rounds)),
    }
    return rendered(
        TEMPLATE,
        name=tuned.pipeline.name,
        headline=f"Round {best + 1} of {len(tuned.rounds)} is the best.",
        ended=ended,
        colour="good" if chosen.is_good else "warn",
        state="good at strength 1" if chosen.is_good else "not good yet",
        figures=figures,
        rounds=[*_rounds(tuned, best)],
        rows=[*_rows(tuned)],
        best=best,
        settings={name: f"{value:g}" for name, value in chosen.values.items()},
        first={name: f"{value:g}" for name, value in first.values.items()},
        notes=NOTES,
    )


def _rounds(tuned: TuningState, best: int) -> Iterator[ShownRound]:
    for place, (round, change) in enumerate(zip(tuned.rounds, tuned.changes, strict=True)):
        yield ShownRound(
            place + 1,
            place == best,
            moved_text(tuned.rounds, change) if change else "",
            WHY[change.origin].format(change.base + 1, change.state) if change else WHY["start"],
            change.why if change else "",
            tuple(_score(each, len(round.judgements) > 1) for each in round.judgements),
            duration(round.seconds),
        )


def _score(of: Judgement, several: bool) -> tuple[str, ...]:
    following = "" if of.following is None else percent(of.following)
    name = of.judge if several else ""
    return (name, of.state, f"{of.strength:g}", percent(of.identity), following, percent(of.merit))


def _rows(tuned: TuningState) -> Iterator[ShownRow]:
    """The first judge's pictures at strength 1, a row for each prompt that all rounds have."""
    judges = [round.judgements[0] for round in tuned.rounds]
    folders = [
        reports[judge.judge].data.parent / "pictures" for reports, judge in zip(tuned.reports, judges, strict=True)
    ]
    for place, prompt in enumerate(judges[0].prompts[:MOST_PROMPTS]):
        cells = [Cell(judge.step, 1.0, 1.0) for judge in judges]
        pictures = [first_picture(folder, cell, place) for folder, cell in zip(folders, cells, strict=True)]
        yield ShownRow(prompt, (first_picture(folders[0], BASE, place), *pictures))
