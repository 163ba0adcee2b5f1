"""The `compare` stage: ranks trainings that were judged alike, and says which of their settings mattered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lorapipe.atomic import write_text
from lorapipe.pipeline.artifacts import Artifact, Comparison, Report
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import param
from lorapipe.stages import Stage


@dataclass(frozen=True)
class Compare(Stage):
    """Compare evaluations on one page: a ranking with error bars, which settings mattered, pictures of the best."""

    menu_title: ClassVar[str] = "Compare reports"
    search_words: ClassVar[tuple[str, ...]] = ("compare loras", "compare trainings")
    version: ClassVar[int] = 2
    makes: ClassVar[type[Artifact]] = Comparison

    reports: tuple[Report, ...] = param(
        help="evaluate stages with the same prompts: all cells of a matrix as $grid, or [$one, $other]", min_items=1
    )
    shown: int = param(4, "how many of the best have their pictures side by side on the page", ge=1, le=20)

    def run(self, context: Context) -> Comparison:
        from lorapipe.evaluation import comparison, comparison_page

        found = comparison.compared(comparison.entries_of(self.reports))
        if found.differing:
            context.emit(Log(text=f"their {found.differing} differ, so the pictures are not alike", level="warning"))
        out = context.out
        write_text(comparison_page.page(found, self.shown), out / "comparison.html")
        write_text(comparison.as_json(found), out / "comparison.json")
        best = self.reports[found.ranking[0].place]
        context.emit(Log(text=found.headline))
        return Comparison(page=out / "comparison.html", data=out / "comparison.json", best=best.best)
