"""Damaged and hostile input of every kind is accepted or refused with a message; see tests/fuzzers/README.md."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

NAMES = sorted(file.stem for file in (Path(__file__).parent / "fuzzers").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_is_used_or_refused_in_words(name, tmp_path):
    fuzzer = importlib.import_module(f"fuzzers.{name}")
    wrong = []
    for seed in range(fuzzer.CASES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if what := fuzzer.case(seed, folder):
            wrong.append(f"seed {seed}: {what}")
    assert not wrong, "\n".join(wrong[:10])
