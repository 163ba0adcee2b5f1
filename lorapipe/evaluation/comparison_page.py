"""The page of a comparison: the ranking with error bars, what mattered, pictures of the best side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lorapipe.evaluation.comparison import Comparison, label, written
from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.html_page import HERE, rendered
from lorapipe.evaluation.image_store import first_picture
from lorapipe.percent import percent

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PROMPTS = 5
NOTES = (
    "Merit is identity × following × the share without artefacts, of each training's best snapshot at strength 1. The bar "
    "beside it is one standard error to either side, by leaving out one picture at a time.",
    "What a setting accounts for is the share of the differences in merit that a curve of this setting alone explains, less "
    "what chance would. With few trainings only large effects are told from chance.",
)
LEFT_OUT = (
    "Trainings that were left out have the figures of the step after which they were, and come after those that went on. "
    "What a setting accounts for is then of this order."
)


def page(found: Comparison, shown: int) -> str:
    """The whole HTML page, with pictures of the first `shown` trainings."""
    best = found.ranking[0]
    return rendered(
        HERE / "comparison.html.j2",
        headline=found.headline,
        state=best.state,
        colour="good" if best.state == "good" and best.strength == 1 else "warn",
        figures={"trainings": str(len(found.ranking)), "merit of the best": percent(best.merit)},
        varied=found.varied,
        leaves_out=found.leaves_out,
        rows=[*_rows(found)],
        effects=found.effects,
        percent=percent,
        written=written,
        pictures=[*_pictures(found, shown)],
        titles=[label(each, found.varied) for each in found.ranking[:shown]],
        notes=(*NOTES, LEFT_OUT) if found.leaves_out else NOTES,
        differing=found.differing,
    )


def _rows(found: Comparison) -> Iterator[dict[str, object]]:
    for place, each in enumerate(found.ranking):
        yield {
            "rank": place + 1,
            "is_best": place == 0,
            "is_equal": place < found.equal,
            "settings": [written(each.settings[name]) if name in each.settings else "" for name in found.varied],
            "state": each.state,
            "strength": f"{each.strength:g}",
            "left_at": each.left_at or "",
            "identity": percent(each.identity),
            "following": "" if each.following is None else percent(each.following),
            "merit": percent(each.merit),
            "error": percent(each.error),
            "bar": (100 * each.merit, 100 * max(0.0, each.merit - each.error), 100 * min(1.0, each.merit + each.error)),
        }


def _pictures(found: Comparison, shown: int) -> Iterator[tuple[str, list[Image | None]]]:
    """The prompts of the best, each with the base's picture and those of the best trainings."""
    best = found.ranking[:shown]
    for place, prompt in enumerate(best[0].prompts[:MOST_PROMPTS]):
        row = [first_picture(each.pictures, Cell(each.step, 1.0, 1.0), place) for each in best]
        yield prompt, [first_picture(best[0].pictures, BASE, place), *row]
