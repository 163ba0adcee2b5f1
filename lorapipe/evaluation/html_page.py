"""Pages of results: HTML that needs nothing else, in every language, with its pictures inside. Same results, same bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.evaluation.svg_chart import Chart, svg
from lorapipe.evaluation.translations import languages, translation

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL.Image import Image

HERE = Path(__file__).parent
CSS = HERE / "report.css"
LANGUAGES: Mapping[str, str] = {"en": "English"} | {code: translation(code).table["English"] for code in languages()}
"""The languages among which a reader of the page chooses, by their codes; the first is shown at first."""
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


def rendered(template: Path, **values: object) -> str:
    """Fill in a template. Texts are shown, not obeyed: all are escaped.

    Filters: `told` shows a text in the reader's language, `drawn` a chart, `svg` a chart in English. Besides `values` a
    template has `css`, `languages`, and `embedded(picture, (width, height))`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    def plain(chart: Chart) -> Markup:
        return Markup(svg(chart))

    def told(text: str) -> Markup:
        return in_every_language("span", {code: escape(each) for code, each in _told(text).items()})

    def drawn(chart: Chart) -> Markup:
        return in_every_language("div", {code: Markup(svg(_chart(chart, code))) for code in LANGUAGES})

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": plain, "told": told, "drawn": drawn}
    css = Markup(CSS.read_text(encoding="utf-8"))
    common = {"css": css, "embedded": embedded, "largest": LARGEST, "widest": WIDEST, "languages": LANGUAGES}
    return environment.get_template(template.name).render(**common, **values)


def _told(text: str) -> dict[str, str]:
    """A text of ours in every language; where a translation lacks it, in English."""
    return {code: (None if code == "en" else translation(code)(text)) or text for code in LANGUAGES}


def _chart(chart: Chart, language: str) -> Chart:
    """A chart with its texts in a language."""
    lines = tuple(replace(line, name=_told(line.name)[language]) for line in chart.lines)
    return replace(chart, title=_told(chart.title)[language], detail=_told(chart.detail)[language], lines=lines)


def in_every_language(element: str, told: Mapping[str, Markup]) -> Markup:
    """What is the same in every language, once; else an element for each, of which the page shows one."""
    from markupsafe import Markup

    if len({*told.values()}) == 1:
        return told["en"]
    return Markup("").join(Markup('<{0} lang="{1}">{2}</{0}>').format(element, *each) for each in told.items())


def embedded(picture: Image, most: tuple[int, int]) -> EmbeddedImage:
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
