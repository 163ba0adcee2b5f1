"""The report page: HTML that needs nothing else, from `report.html.j2` and `report.css`. Same results, same bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.evaluation.report_model import ReportModel
from lorapipe.evaluation.svg_chart import Chart, svg
from lorapipe.evaluation.verdict_text import yaml_lines

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL.Image import Image

HERE = Path(__file__).parent
COLOURS = {"good": "good", "no effect": "bad", "broken": "bad"}
"""The colour of a state; others are warnings."""
LARGEST = 1600
"""The longest side of a picture in the page."""
TINY = 160
"""Pictures smaller than this are shown enlarged, pixel by pixel."""
WIDEST = 2400
"""The grid's width inside the page; the file beside it is as large as it was drawn."""


class EmbeddedImage(NamedTuple):
    """A picture as a data URI, and its size in pixels."""

    source: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """Whether it is shown enlarged, pixel by pixel."""
        return max(self.width, self.height) < TINY


def page(report: ReportModel) -> str:
    """The whole HTML page. Texts of the report are shown, not obeyed: all are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def drawn(chart: Chart) -> Markup:
        return Markup(svg(chart))

    loader = FileSystemLoader(HERE)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = drawn
    return environment.get_template("report.html.j2").render(
        report=report,
        colour=COLOURS.get(report.verdict.state, "warn"),
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        embedded=_embedded,
        yaml=yaml_lines,
        largest=LARGEST,
        widest=WIDEST,
    )


def _embedded(picture: Image, most: tuple[int, int]) -> EmbeddedImage:
    """A picture for the page, no wider and higher than `most`."""
    picture = picture.convert("RGB")
    picture.thumbnail(most)
    kind, data = _encoded(picture)
    return EmbeddedImage(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", *picture.size)


def _encoded(picture: Image) -> tuple[str, bytes]:
    """Small pictures and drawings as PNG, which loses nothing; large photographs as JPEG."""
    png = io.BytesIO()
    picture.save(png, format="PNG")
    if png.tell() < 1_500_000 and (picture.width >= WIDEST / 2 or max(picture.size) < TINY):
        return "png", png.getvalue()
    jpeg = io.BytesIO()
    picture.save(jpeg, format="JPEG", quality=90, optimize=True)
    return "jpeg", jpeg.getvalue()
