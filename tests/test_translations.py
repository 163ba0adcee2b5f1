"""The report in other languages: every text of the verdict's is there, numbers and places are kept, nothing is invented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from lorapipe.evaluation import html_page, report, report_model
from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.measures import REGISTRY
from lorapipe.evaluation.translations import languages, translation
from lorapipe.evaluation.verdict import State

SOURCES = ("verdict", "failure_rules", "progress_rules", "verdict_text", "advice", "part_strengths")
PLACE = re.compile(r"\{(\d)\}")
FOLDER = Path(report.__file__).parent
HANGUL = re.compile("[가-힣]")


def sentences() -> Iterator[str]:
    """The sentences of the verdict's modules, as templates: what ends like one, and is no docstring."""
    for name in SOURCES:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if id(node) not in said | inner and (text := _template(node)) and re.search(r"[a-z]{3,}.*[.:]$", text):
                yield text


def _template(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    values = iter(range(10))
    return "".join(str(part.value) if isinstance(part, ast.Constant) else f"{{{next(values)}}}" for part in node.values)


@pytest.fixture(params=languages())
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_page_offers_what_is_translated() -> None:
    assert {*html_page.LANGUAGES} == {"en", *languages()}


def test_translations_keep_every_place(language: str) -> None:
    for english, other in translation(language).table.items():
        places = sorted(PLACE.findall(english))
        assert places == [str(number) for number in range(len(places))], english
        assert sorted({*PLACE.findall(other)}) == places, f"{english} → {other}"


def test_every_sentence_of_the_verdict_is_translated(language: str) -> None:
    """As it is in the source, with numbers in its places. A part of a longer one counts where a template has it."""
    table = translation(language)
    known = " ".join(table.table)
    found = [*sentences()]
    lacking = [
        text
        for text in found
        if table(PLACE.sub("7", text)) is None and PLACE.split(text)[-1].strip(" .:") not in known
    ]
    assert len(found) > 25 and not lacking


def test_states_titles_and_notes_are_translated(language: str) -> None:
    table = translation(language)
    assert all(table(state) for state in get_args(State))
    assert all(table(note) for note in report_model.NOTES)
    for name in REGISTRY.names():
        measure = REGISTRY.get(name)
        assert table(measure.title) and table(f"{measure.title.capitalize()}: {measure.meaning}."), name


def test_what_the_template_says_is_translated(language: str) -> None:
    text = (FOLDER / "report.html.j2").read_text(encoding="utf-8")
    said = {*re.findall(r'"([^"]+)" \| told', text), *re.findall(r'caption\("([^"]+)"\)', text)}
    assert len(said) > 12 and all(translation(language)(each) for each in said)


def test_what_is_put_in_is_translated_too() -> None:
    korean = translation("ko")
    cell, parts = Cell(240, 1.0, 1.0), Cell(240, 1.0, 0.5)
    assert korean(f"Use {cell}.") == "240스텝, 강도 1을(를) 쓰세요."
    assert korean(str(parts)) == "240스텝, 강도 1, 텍스트 인코더 0.5" and korean(str(BASE)) == "베이스"
    whole = korean(f"Use {cell}: at full strength it is too much.")
    assert whole is not None and "240스텝, 강도 1" in whole and not re.search("[A-Za-z]{3,}", whole)
    reason = korean(
        "Step 320 is not better by more than chance (91 % of the subject, 78 % of the prompts; ±0.03): the earlier is safer."
    )
    assert reason is not None and HANGUL.search(reason) and not re.search("[A-Za-z]{3,}", reason)
    assert all(figure in reason for figure in ("320", "91 %", "78 %", "±0.03"))


def test_what_has_no_translation_is_none() -> None:
    assert translation("ko")("a sentence that nobody wrote") is None
