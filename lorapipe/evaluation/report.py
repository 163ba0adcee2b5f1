"""The report page: HTML that needs nothing else, from `report.html.j2` and `report.css`. Same results, same bytes."""

from __future__ import annotations

from lorapipe.evaluation.html_page import HERE, rendered
from lorapipe.evaluation.report_model import ReportModel
from lorapipe.evaluation.verdict_text import yaml_lines

COLOURS = {"good": "good", "no effect": "bad", "broken": "bad"}
"""The colour of a state; others are warnings."""
WRITTEN = ("base", "prompts", "negative prompt", "CLIP")
"""Settings that the user has written, which are in no language of ours."""


def page(report: ReportModel) -> str:
    """The whole HTML page."""
    return rendered(
        HERE / "report.html.j2",
        report=report,
        colour=COLOURS.get(report.verdict.state, "warn"),
        yaml=yaml_lines,
        written=WRITTEN,
    )
