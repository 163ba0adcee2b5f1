"""Every edit of captions is pure, keeps the number of captions, and accepts empty and odd ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorapipe.captioning.edits import Edit, apply_edits
from lorapipe.spec import from_dict, registry_of

SAMPLES: dict[str, dict[str, Any]] = {
    "add": {"tags": ["x"]},
    "add_trigger": {"trigger": "penny"},
    "blacklist": {"tags": ["b*"]},
    "implications": {"tags": {"a": "b"}},
    "keep_only": {"tags": ["a"]},
    "limit": {"tags": 1},
    "regex": {"pattern": "a"},
    "remove": {"tags": ["a"]},
    "replace": {"tags": {"a": "b"}},
    "synonyms": {"tags": {"a": ["b"]}},
}
"""Settings of the edits that need some."""
ODD = {
    "1.png": "", "2.png": "a, b, b_c, a", "sub/3.png": "B, (a), \\(a\\), o_o", "4.png": "a,\nb", "5.png": "개, 猫_耳, é",
    "6.png": ", ,", "7.png": "x" * 5000, "8.png": "a\x00b, \ud800",
}  # fmt: skip


@pytest.mark.parametrize("name", registry_of(Edit).names())
def test_an_edit_is_pure_and_keeps_the_captions_apart(name: str) -> None:
    contract: type[Edit] = Edit  # type: ignore[type-abstract]
    edit = from_dict(contract, {"type": name, **SAMPLES.get(name, {})}, Path())
    given = dict(ODD)
    once, [report] = apply_edits(given, [edit])
    assert given == ODD and [*once] == [*ODD]
    assert once == apply_edits(ODD, [edit])[0], "the same again"
    changed = [picture for picture in ODD if once[picture] != ODD[picture]]
    assert report.changed == len(changed) and [each.picture for each in report.examples] == changed[:3]
    twice, _ = apply_edits(once, [edit])
    assert name in ("regex", "replace") or twice == once, "what is edited already stays"
    alone, _ = apply_edits(ODD, [from_dict(contract, {"type": name, "folder": "sub", **SAMPLES.get(name, {})}, Path())])
    assert all(alone[picture] == text for picture, text in ODD.items() if not picture.startswith("sub/"))
