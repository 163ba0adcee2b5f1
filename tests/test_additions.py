"""An addition is one file: a sample of each kind passes its contract tests without changes elsewhere."""

from __future__ import annotations

from pathlib import Path

import additions


def test_nothing_else_has_to_be_touched(tmp_path: Path) -> None:
    """All samples are added at once: to import and collect for each of them takes longer than its tests."""
    added, failures = additions.add(additions.kinds(), tmp_path)
    assert not failures, failures
    for each in added:
        assert each.touched == 0 and each.passed >= 5, each
