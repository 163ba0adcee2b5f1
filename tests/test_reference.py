"""Every optimizer × scheduler trains as it did when its run was recorded."""

from __future__ import annotations

import json

import pytest
import reference_runs

WRITTEN = json.loads(reference_runs.RECORDED.read_text(encoding="utf-8"))
PAIRS = [" ".join(pair) for pair in reference_runs.combinations()]
CLOSE = 2e-3
"""Relative: other processors and versions of torch round otherwise, which 50 steps make larger."""


@pytest.fixture(scope="module")
def found() -> dict[str, reference_runs.Figures]:
    return reference_runs.run_all()


def test_every_combination_is_recorded() -> None:
    assert sorted(PAIRS) == sorted(WRITTEN), "record the new ones: python tests/reference_runs.py"


@pytest.mark.parametrize("pair", PAIRS)
def test_it_trains_as_recorded(pair: str, found: dict[str, reference_runs.Figures]) -> None:
    for kind, values in WRITTEN[pair].items():
        assert found[pair][kind] == pytest.approx(values, rel=CLOSE), kind


def test_the_recorded_runs_differ() -> None:
    """A schedule or an optimizer that did nothing would have the figures of another."""
    figures = [json.dumps(WRITTEN[pair]) for pair in PAIRS]
    same = {figure for figure in figures if figures.count(figure) > 1}
    assert not same
