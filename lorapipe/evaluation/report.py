"""The report: one page that needs nothing else, and the same as data. The same results give the same bytes."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from lorapipe.evaluation.style import CSS
from lorapipe.evaluation.svg_chart import Chart, svg
from lorapipe.evaluation.verdict import Advice, Patch, Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

STATES = {"good": "good", "no effect": "bad", "broken": "bad"}
"""The colour of a state; others are warnings."""
LARGEST = 1600
"""The longest side of a picture in the page."""

TINY = 160
"""Pictures smaller than this are shown enlarged, pixel by pixel."""
WIDEST = 2400
"""The grid's width inside the page; the file beside it is as large as it was drawn."""


@dataclass(frozen=True)
class Pair:
    """A prompt's picture without and with the LoRA, from the same noise."""

    prompt: str
    base: Image
    best: Image


@dataclass(frozen=True)
class TableRow:
    """A row of figures, as text; the chosen one is marked."""

    title: str
    figures: tuple[str, ...]
    chosen: bool = False


@dataclass(frozen=True)
class ReportModel:
    """What the page tells. Texts are plain; whatever is in them is shown, not obeyed."""

    verdict: Verdict
    figures: Mapping[str, str]
    training: Sequence[Image]
    pairs: Sequence[Pair]
    grid: Image
    charts: Sequence[Chart]
    columns: Sequence[str]
    rows: Sequence[TableRow]
    settings: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=tuple)


def page(report: ReportModel) -> str:
    """The whole HTML page."""
    sections = (_header, _pairs, _taught, _reasons, _advice, _grid, _charts, _table, _made)
    body = "\n".join(part for section in sections for part in section(report))
    title = escape(report.verdict.headline)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def as_json(data: Any) -> str:
    """Readable JSON; what is no number becomes null."""
    return json.dumps(_plain(data), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON types."""
    return asdict(verdict)


# ----------------------------------------------------------------------------------------------------------- sections


def _header(report: ReportModel) -> Iterator[str]:
    verdict = report.verdict
    figures = "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}</dd></div>" for n, v in report.figures.items())
    kind = STATES.get(verdict.state, "warn")
    yield f'<header><span class="state {kind}-state">{escape(verdict.state)}</span>'
    yield f'<h1>{escape(verdict.headline)}</h1><dl class="figures">{figures}</dl></header>'


def _pairs(report: ReportModel) -> Iterator[str]:
    if not report.pairs:
        return
    best = str(report.verdict.best)
    yield '<section aria-label="Before and after"><div class="pairs">'
    for pair in report.pairs:
        before = _picture(pair.base, f"{pair.prompt}: without the LoRA")
        after = _picture(pair.best, f"{pair.prompt}: {best}")
        yield f'<div><p>{escape(pair.prompt)}</p><div class="pair">'
        yield f"<figure>{before}<figcaption>the base</figcaption></figure>"
        yield f"<figure>{after}<figcaption>{escape(best)}</figcaption></figure></div></div>"
    yield "</div></section>"


def _taught(report: ReportModel) -> Iterator[str]:
    if report.training:
        yield '<section><h2>What it was taught</h2><div class="taught" tabindex="0">'
        yield "".join(_picture(picture, "a training picture") for picture in report.training)
        yield "</div></section>"


def _reasons(report: ReportModel) -> Iterator[str]:
    items = "".join(f"<li>{escape(reason)}</li>" for reason in report.verdict.reasons)
    yield f'<section><h2>Why</h2><ul class="reasons">{items}</ul></section>'


def _advice(report: ReportModel) -> Iterator[str]:
    yield "<section><h2>What to change next</h2>"
    if not report.verdict.advice:
        yield "<p>Nothing: the training was neither too long nor too short.</p>"
    for advice in report.verdict.advice:
        yield f'<div class="advice"><p>{escape(advice.what)}</p>{_patch(advice)}</div>'
    yield "</section>"


def _patch(advice: Advice) -> str:
    if not advice.patch:
        return ""
    lines = escape(yaml_lines(advice.patch))
    return f'<p class="detail">In your train stage:</p><pre>{lines}</pre>'


def yaml_lines(patch: Patch) -> str:
    """A patch as it is written in a stage: dotted knobs are nested, in flow style."""
    nested: dict[str, Any] = {}
    for knob, value in patch.items():
        outer, _, inner = knob.partition(".")
        if inner:
            nested.setdefault(outer, []).append(f"{inner}: {_number(value)}")
        else:
            nested[outer] = _number(value)
    return "\n".join(
        f"{knob}: {{…, {', '.join(value)}}}" if isinstance(value, list) else f"{knob}: {value}"
        for knob, value in nested.items()
    )


def _number(value: float | int | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _grid(report: ReportModel) -> Iterator[str]:
    text = "Every prompt, snapshot and strength side by side, labelled; the best is framed"
    yield '<section><h2>Every picture</h2><p class="detail">From left to right, the same noise under more training.</p>'
    yield f'<div class="wide grid" tabindex="0">{_picture(report.grid, text, (WIDEST, report.grid.height))}</div></section>'


def _charts(report: ReportModel) -> Iterator[str]:
    drawn = [(chart, svg(chart)) for chart in report.charts]
    if not any(drawing for _, drawing in drawn):
        return
    yield '<section><h2>How it went</h2><div class="charts">'
    for chart, drawing in drawn:
        if drawing:
            yield f'<div><h3>{escape(chart.title)}</h3><p class="detail">{escape(chart.detail)}</p>{drawing}</div>'
    yield "</div></section>"


def _table(report: ReportModel) -> Iterator[str]:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in ("", *report.columns))
    yield f'<section><h2>The figures</h2><div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>'
    for row in report.rows:
        cells = "".join(f"<td>{escape(figure)}</td>" for figure in row.figures)
        mark = ' class="chosen"' if row.chosen else ""
        yield f'<tr{mark}><th scope="row">{escape(row.title)}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    if report.notes:
        notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
        yield f"<details><summary>What the figures mean</summary>{notes}</details>"
    yield "</section>"


def _made(report: ReportModel) -> Iterator[str]:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.settings.items())
    yield f'<section><h2>How it was made</h2><dl class="settings">{items}</dl></section>'


# ----------------------------------------------------------------------------------------------------------- pictures


def _picture(picture: Image, text: str, most: tuple[int, int] = (LARGEST, LARGEST)) -> str:
    """An image element with the picture in it, no wider and higher than `most`."""
    picture = picture.convert("RGB")
    picture.thumbnail(most)
    kind, data = _encoded(picture)
    small = ' class="tiny"' if max(picture.size) < TINY else ""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img{small} src="{source}" {size} alt="{escape(text)}">'


def _encoded(picture: Image) -> tuple[str, bytes]:
    """Small pictures and drawings as PNG, which loses nothing; large photographs as JPEG."""
    png = io.BytesIO()
    picture.save(png, format="PNG")
    if png.tell() < 1_500_000 and (picture.width >= WIDEST / 2 or max(picture.size) < TINY):
        return "png", png.getvalue()
    jpeg = io.BytesIO()
    picture.save(jpeg, format="JPEG", quality=90, optimize=True)
    return "jpeg", jpeg.getvalue()
