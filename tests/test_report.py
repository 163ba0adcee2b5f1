"""The report page: whole in itself, the same bytes each time, and deaf to what is written in a prompt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lorapipe.atomic import write_text
from lorapipe.evaluation import report, report_json
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.report_model import Pair, PartRow, ReportModel, TableRow
from lorapipe.evaluation.svg_chart import Chart, Line, smooth, svg
from lorapipe.evaluation.verdict import Advice, Verdict

EVIL = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> 페니 🌻"
VOID = {"meta", "img", "line", "circle", "polyline", "input"}


class Reader(HTMLParser):
    """Checks nesting, and collects elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def tell() -> Callable[..., ReportModel]:
    def make(text: str = "penny, meadow", side: int = 64) -> ReportModel:
        picture = Image.effect_noise((side, side), 90).convert("RGB")
        advice = Advice(f"More {text}", {"steps": 600, "unet_lr": 5e-5, "optimizer.d_coef": 1.0})
        verdict = Verdict("good", Cell(240, 1.0, 1.0), f"Use {text}.", (f"Because {text}",), (advice,))
        likeness = Line(text, ((0, 0.0), (80, 0.5), (160, math.nan), (240, 0.9)))
        return ReportModel(
            verdict=verdict,
            figures={text: text},
            training=[picture],
            pairs=[Pair(text, picture, picture)],
            grid=picture,
            charts=[Chart(text, text, (likeness,), 240, percent=True), Chart("empty", "", (Line("none", ()),))],
            columns=(text,),
            rows=[TableRow(text, (text,), True), TableRow("b", ("",))],
            settings={text: text},
            notes=(text,),
        )

    return make


def test_the_page_needs_nothing_else(tell: Callable[..., ReportModel]) -> None:
    page = Reader(report.page(tell()))
    assert not page.all("script") and not page.all("link")
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.all("img"))
    assert "http" not in page.text and "url(" not in page.text
    assert "prefers-color-scheme: dark" in page.text


def test_the_verdict_comes_first_and_the_patch_is_ready_to_paste(tell: Callable[..., ReportModel]) -> None:
    text = report.page(tell())
    assert text.index('<h1><span lang="en">Use penny') < text.index("<img")
    assert "steps: 600\nunet_lr: 5e-05\noptimizer: {…, d_coef: 1}" in text


def test_what_counts_as_the_subject_is_shown_with_its_share_and_only_where_it_is_known(
    tell: Callable[..., ReportModel],
) -> None:
    rows = [PartRow("31 %", Image.new("RGB", (100, 20))), PartRow("9 %", Image.new("RGB", (100, 20)))]
    page = Reader(report.page(replace(tell(), parts=rows)))
    assert [each["alt"] for each in page.all("img") if "of the subject" in (each["alt"] or "")] == [
        "places of training pictures, 31 % of the subject",
        "places of training pictures, 9 % of the subject",
    ]
    assert "What counts as the subject" in page.text and "대상으로 보는 것" in page.text
    assert "What counts as the subject" not in Reader(report.page(tell())).text


def test_what_users_write_is_shown_and_not_obeyed(tell: Callable[..., ReportModel]) -> None:
    page = Reader(report.page(tell(EVIL)))
    assert not page.all("script")
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.text.count(EVIL) >= 8
    assert any(attributes.get("aria-label", "").count(EVIL) for attributes in page.all("svg"))


def test_a_page_without_pictures_and_figures_is_whole(tell: Callable[..., ReportModel]) -> None:
    bare = replace(tell(), figures={}, training=[], pairs=[], charts=[], rows=[], settings={}, notes=())
    page = Reader(report.page(replace(bare, verdict=replace(bare.verdict, reasons=(), advice=()))))
    assert "Nothing has to change." in page.text and not page.all("svg")


def test_the_same_report_is_the_same_bytes(tell: Callable[..., ReportModel], tmp_path: Path) -> None:
    story = tell()
    write_text(report.page(story), tmp_path / "a.html")
    write_text(report.page(story), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_large_photographs_do_not_make_a_large_page(tell: Callable[..., ReportModel]) -> None:
    assert len(report.page(tell(side=3000))) < 12_000_000
    small = report.page(tell(side=64))
    assert 'class="tiny"' in small and "image/png" in small


def test_charts_speak_and_skip_what_is_no_number() -> None:
    drawing = svg(Chart("Likeness", "", (Line("a", ((0, 0.0), (10, math.nan), (20, 0.5))),), 20, percent=True))
    assert 'aria-label="Likeness: a from 0 % at step 0 to 50 % at step 20"' in drawing
    assert drawing.count("<circle") == 2 and "nan" not in drawing
    assert svg(Chart("", "", (Line("a", ((1, math.inf),)),))) == ""
    assert svg(Chart("", "", (Line("a", ((5, 0.3),)),))), "one point is drawn too"
    flat = svg(Chart("", "", (Line("a", ((1, 0.0), (2, 0.0))), Line("b", ((1, 0.0), (2, 0.0)), "second"))))
    heights = [float(y) for y in re.findall(r'class="name [a-z]+" x="[\d.]+" y="([\d.]+)"', flat)]
    assert abs(heights[0] - heights[1]) >= 15, "names of lines that meet do not cover each other"


def test_smoothing_follows_the_mean_and_starts_without_bias() -> None:
    zigzag = [(step, 1.0 + (0.5 if step % 2 else -0.5)) for step in range(1, 1001)]
    smoothed = smooth(zigzag)
    assert len(smoothed) <= 160 and smoothed[-1][0] == 1000
    assert all(abs(y - 1) < 0.1 for _, y in smoothed[20:])
    assert smooth([(1, 4.0), (2, 4.0), (3, math.nan)]) == ((1, 4.0), (2, 4.0))


def test_data_is_json_whatever_the_numbers() -> None:
    text = report_json.as_json({"a": math.nan, "b": (1, 0.1234567891), "c": {"d": math.inf, "unet_lr": 1.25e-7}})
    found = json.loads(text)
    assert found == {"a": None, "b": [1, 0.123457], "c": {"d": None, "unet_lr": 1.25e-7}}, "a small rate is not 0"
