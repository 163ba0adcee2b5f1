"""What a user has trained is found again: the keys of the examples' stages are what they were."""

from __future__ import annotations

import json
from pathlib import Path

from recorded_keys import keys

RECORDED = Path(__file__).parent / "recorded" / "keys.json"


def test_the_keys_of_the_examples_are_what_they_were(tmp_path):
    """A key that changes without need makes everyone train again. To record: python tests/recorded_keys.py FILE."""
    assert keys(tmp_path) == json.loads(RECORDED.read_text(encoding="utf-8"))
