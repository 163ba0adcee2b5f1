"""Every family trains as it did when its losses were recorded: three losses and weightings, two adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import seeded_runs

WRITTEN = json.loads(seeded_runs.RECORDED.read_text(encoding="utf-8"))
CLOSE = 1e-4
"""Relative: what processors and versions of torch round otherwise, after 12 steps: with SSE alone in place of AVX 4e-7."""


@pytest.mark.parametrize("family", seeded_runs.FAMILIES)
def test_it_trains_as_recorded(family: str, tmp_path: Path) -> None:
    """A difference that is meant is recorded anew: python tests/seeded_runs.py."""
    expected = {name: losses for name, losses in WRITTEN.items() if name.startswith(f"{family} ")}
    found = {name: run["losses"] for name, run in seeded_runs.runs(tmp_path, [family])}
    assert found.keys() == expected.keys()
    for name, losses in expected.items():
        assert found[name] == pytest.approx(losses, rel=CLOSE), name


def test_the_recorded_runs_differ() -> None:
    """A loss, a weighting or an adapter that did nothing would have the figures of another."""
    assert len({json.dumps(losses) for losses in WRITTEN.values()}) == len(WRITTEN) == 18
