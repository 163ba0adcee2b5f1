"""Every optimizer × scheduler trains as it did when its run was recorded."""

from __future__ import annotations

import json

import pytest
import reference_runs

from lorapipe.training.optimizers import Optimizer

WRITTEN = json.loads(reference_runs.RECORDED.read_text(encoding="utf-8"))
PAIRS = [" ".join(pair) for pair in reference_runs.combinations()]
CLOSE = 2e-3
"""Relative: other processors and versions of torch round otherwise, which 50 steps make larger."""
GROWN = 0.2
"""The same for adaptive optimizers once their rate has begun to grow: with it grows what was rounded."""
EARLY = 2
"""How many of the recorded losses lie before that: from step 10 to 15 dadapt_adam makes 1e-2 out of 1e-5."""


def test_every_combination_is_recorded() -> None:
    assert sorted(PAIRS) == sorted(WRITTEN), "record the new ones: python tests/reference_runs.py"


@pytest.mark.one_in(5)  # another schedule for each optimizer
@pytest.mark.parametrize("pair", PAIRS)
def test_it_trains_as_recorded(pair: str) -> None:
    assert Optimizer.registry is not None
    optimizer, scheduler = pair.split()
    found, adaptive = reference_runs.run((optimizer, scheduler)), Optimizer.registry.get(optimizer).adaptive
    for kind, values in WRITTEN[pair].items():
        assert found[kind] == pytest.approx(values, rel=GROWN if adaptive else CLOSE), kind
    early = WRITTEN[pair]["losses"][:EARLY]
    assert found["losses"][:EARLY] == pytest.approx(early, rel=CLOSE)


def test_the_recorded_runs_differ() -> None:
    """A schedule or an optimizer that did nothing would have the figures of another."""
    figures = [json.dumps(WRITTEN[pair]) for pair in PAIRS]
    same = {figure for figure in figures if figures.count(figure) > 1}
    assert not same
