"""An addition is one file: a sample of each kind passes its contract tests without changes elsewhere."""

from __future__ import annotations

from pathlib import Path

import additions
import pytest


@pytest.mark.parametrize("kind", additions.kinds())
def test_nothing_else_has_to_be_touched(kind: str, tmp_path: Path) -> None:
    done = additions.add(kind, tmp_path)
    assert not done.failures, done.failures
    assert done.touched == 0 and done.passed >= 5
