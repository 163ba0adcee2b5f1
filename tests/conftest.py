"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorapipe import registry

TOYS = Path(__file__).parent / "toys"


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small stages of tests/toys, installed as any other package is: on the path, with entry points."""
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setenv("PYTHONPATH", str(TOYS))
    registry._entry_points_of.cache_clear()
    yield
    registry._entry_points_of.cache_clear()


@pytest.fixture
def project(toys: None, tmp_path: Path) -> Path:
    """A folder with two texts and a pipeline that reads, counts and keeps them."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "one.txt").write_text("a b a", encoding="utf-8")
    (texts / "two.txt").write_text("c a", encoding="utf-8")
    pipeline = """\
vars:
  folder: texts
stages:
  text: {uses: words, folder: "${folder}"}
  tally:
    uses: count
    text: $text
    word: a
  kept: {uses: keep, tally: $tally, to: result.html}
"""
    (tmp_path / "cat.yaml").write_text(pipeline, encoding="utf-8")
    return tmp_path
