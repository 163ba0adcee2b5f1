"""The Korean pages are in step with the English ones: headings, code, commands, tables, links and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorapipe.pipeline import loader

ROOT = Path(__file__).parents[1]
PAGES = [
    file for file in [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))] if ".ko" not in file.name
]
COMMENT = re.compile(r"\s*#.*$", re.MULTILINE)


def translated(page: Path) -> Path:
    return page.with_suffix(".ko.md")


def headings(text: str) -> list[int]:
    """The levels of the headings, in order."""
    return [len(found) for found in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def blocks(text: str) -> list[str]:
    """The blocks of code, without comments, which are translated."""
    found = re.findall(r"^```\w*\n.*?^```|^(?: {4}[^\n]*\n)+", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(filter(None, COMMENT.sub("", each).splitlines())) for each in found]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> set[str]:
    """The commands in the text."""
    return {" ".join(found.split()) for found in re.findall(r"`(lorapipe [^`]+)`", without_code(text))}


def tables(text: str) -> list[int]:
    """The number of columns of each row of a table, in order."""
    return [line.replace("\\|", "").count("|") for line in without_code(text).splitlines() if line.startswith("|")]


def links(text: str) -> set[str]:
    """Where links and pictures lead; a link between languages leads to the other one."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return {each.replace(".ko.md", ".md") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.parametrize("what", [headings, blocks, commands, tables, links], ids=lambda what: what.__name__)
def test_a_translation_is_in_step(page: Path, what: object) -> None:
    assert callable(what)
    english, korean = (file.read_text("utf-8") for file in (page, translated(page)))
    assert what(english) == what(korean)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_translation_leads_somewhere(page: Path) -> None:
    for file in (page, translated(page)):
        for link in re.findall(r"\]\(([^)\s:]+)\)", file.read_text("utf-8")):
            assert (file.parent / link.partition("#")[0]).exists(), f"{file.name}: {link}"


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines" / "guide").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_pipeline_of_the_guide_is_valid_and_has_its_figure(file: Path) -> None:
    stages = loader.load(file).stages
    assert [str(each) for stage in stages.values() for each in stage.findings(stages)] == []
    assert (ROOT / "docs" / "guide" / f"{file.stem}.png").is_file()
    assert f"pipelines/guide/{file.name}" in (ROOT / "docs" / "guide" / "README.md").read_text("utf-8")


def test_the_korean_pages_are_korean() -> None:
    for page in PAGES:
        letters = [letter for letter in without_code(translated(page).read_text("utf-8")) if letter.isalpha()]
        assert sum("가" <= letter <= "힣" for letter in letters) > len(letters) / 3
