"""Edits of captions do what their words say, tell how many captions they changed, and end in time."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorapipe.captioning.edits import Edit, _bounded_regex, apply_edits
from lorapipe.errors import InputError
from lorapipe.spec import from_dict


def edit(name: str, **settings: Any) -> Edit:
    contract: type[Edit] = Edit  # type: ignore[type-abstract]
    return from_dict(contract, {"type": name, **settings}, Path())


def edited(text: str, name: str, **settings: Any) -> str:
    """Return one caption after one edit."""
    return apply_edits({"a.png": text}, [edit(name, **settings)])[0]["a.png"]


@pytest.mark.parametrize(
    ("name", "settings", "before", "after"),
    [
        ("add_trigger", {"trigger": "penny"}, "meadow, smile", "penny, meadow, smile"),
        ("add_trigger", {"trigger": "penny"}, "meadow, Penny, smile", "penny, meadow, smile"),
        ("add_trigger", {"trigger": "penny"}, "a photo of penny in a park", "a photo of penny in a park"),
        ("add_trigger", {"trigger": "penny"}, "", "penny"),
        ("remove", {"tags": ["Long_hair"]}, "1girl, long hair, smile", "1girl, smile"),
        ("replace", {"tags": {"kitty": "cat, small"}}, "a kitty, kitty", "a kitty, cat, small"),
        ("replace", {"tags": {"a": "b", "b": "a"}}, "a, b", "b, a"),
        ("replace", {"tags": {"a": ""}}, "a, b", "b"),
        ("regex", {"pattern": r"^(\w+) hair$", "replacement": r"\1-haired"}, "red hair, hair", "red-haired, hair"),
        ("regex", {"pattern": r"^.*background$"}, "cat, white background", "cat"),
        ("regex", {"pattern": ", (a|b)$", "on": "caption"}, "x, a, b", "x, a"),
        ("blacklist", {"tags": ["* background", "text"]}, "cat, grey background, text, texture", "cat, texture"),
        ("blacklist", {"tags": ["*"]}, "cat, dog", ""),
        ("keep_only", {"tags": ["penny", "*hat"]}, "penny, top hat, red", "penny, top hat"),
        ("implications", {"tags": {"cat ears": "animal ears"}}, "cat ears, red", "cat ears, animal ears, red"),
        ("implications", {"tags": {"a": "b", "b": "c, a"}}, "a", "a, b, c"),
        ("implications", {"tags": {"a": "b", "b": "c"}, "implied": "remove"}, "c, a, b, d", "a, d"),
        ("synonyms", {"tags": {"smile": ["smiling", "happy face"]}}, "smiling, hat, Smile", "smile, hat"),
        ("underscores", {}, "long_hair, o_o, >_<, 1girl", "long hair, o_o, >_<, 1girl"),
        ("underscores", {"to": "underscores"}, "long hair, cat", "long_hair, cat"),
        ("escape_parentheses", {}, r"saber (fate), a \(b\)", r"saber \(fate\), a \(b\)"),
        ("escape_parentheses", {"back": True}, r"saber \(fate\)", "saber (fate)"),
        ("dedupe", {}, "Cat, long_hair, cat, long hair", "Cat, long_hair"),
        ("sort", {"by": "name", "keep": 1}, "penny, c, b", "penny, b, c"),
        ("limit", {"tags": 2}, "a, b, c", "a, b"),
        ("add", {"tags": ["outdoors"], "where": ["tree"], "unless": ["room"]}, "tree", "tree, outdoors"),
        ("add", {"tags": ["outdoors"], "where": ["tree"], "unless": ["room"]}, "tree, room", "tree, room"),
        ("add", {"tags": ["outdoors", "tree"], "at": "start"}, "tree", "outdoors, tree"),
    ],
)
def test_an_edit_does_what_it_says(name: str, settings: Mapping[str, Any], before: str, after: str) -> None:
    assert edited(before, name, **settings) == after


def test_tags_are_sorted_by_how_many_captions_have_them() -> None:
    captions = {"1.png": "rare, hat, smile", "2.png": "hat, smile", "3.png": "hat, hat"}
    found, _ = apply_edits(captions, [edit("sort")])
    assert [*found.values()] == ["hat, smile, rare", "hat, smile", "hat, hat"]


def test_edits_apply_in_order_and_say_how_many_captions_they_changed() -> None:
    captions = {f"{number}.png": f"kitty, tag {number}" for number in range(5)} | {"9.png": "dog"}
    found, reports = apply_edits(captions, [edit("replace", tags={"kitty": "cat"}), edit("add_trigger", trigger="cat")])
    assert found["0.png"] == "cat, tag 0" and found["9.png"] == "cat, dog"
    assert [(each.edit, each.changed, each.total, len(each.examples)) for each in reports] == [
        ("replace", 5, 6, 3), ("add_trigger", 1, 6, 1)
    ]  # fmt: skip
    assert "0.png: kitty, tag 0 → cat, tag 0" in "\n".join(reports[0].lines())


def test_a_caption_that_no_edit_changes_keeps_its_bytes() -> None:
    text = "cat ,dog,  a house."
    assert edited(text, "remove", tags=["bird"]) == text


def test_an_edit_of_a_subfolder_changes_only_that() -> None:
    captions = {"10_penny/a.png": "x", "10_penny2/b.png": "x", "c.png": "x"}
    found, [report] = apply_edits(captions, [edit("add_trigger", trigger="penny", folder="10_penny")])
    assert [*found.values()] == ["penny, x", "x", "x"]
    assert (report.changed, report.total) == (1, 1)


def test_each_line_is_a_caption_of_its_own() -> None:
    assert edited("a, b\nb, c", "remove", tags=["b"]) == "a\nc"


def test_a_list_may_be_in_a_file_of_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "unwanted.txt").write_bytes("# by hand\ncat, 개\n* hat\n".encode("utf-16"))
    assert edited("cat, 개, top hat, hat", "blacklist", file=str(tmp_path / "unwanted.txt")) == "hat"


def test_wildcards_agree_with_regular_expressions() -> None:
    import re

    chance = random.Random(3)
    for _ in range(2000):
        pattern = "".join(chance.choices("ab*", k=chance.randint(1, 6)))
        text = "".join(chance.choices("ab", k=chance.randint(1, 8)))
        wanted = re.fullmatch(pattern.replace("*", ".*"), text) is None
        assert bool(edited(text, "blacklist", tags=[pattern])) == wanted, (pattern, text)


def test_a_regular_expression_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_regex, "SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(InputError, match="takes longer"):
        edited("a" * 60, "regex", pattern="(a+)+b")
    assert time.monotonic() - began < 30


def test_a_regular_expression_cannot_fill_the_memory() -> None:
    with pytest.raises(InputError, match="more than"):
        edited("a" * 5000, "regex", pattern="a", replacement="b" * 1000)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("regex", {"pattern": "("}, "not a regular expression"),
        ("regex", {"pattern": "a", "replacement": r"\2"}, "does not fit the pattern"),
        ("regex", {"pattern": "a" * 1001}, "1000 characters"),
        ("add_trigger", {"trigger": "a, b"}, "not one tag"),
        ("blacklist", {}, "has no tags"),
        ("dedupe", {"folder": "../other"}, "not the name of a subfolder"),
        ("limit", {"tags": 0}, "below the minimum"),
        ("remove", {"tags": []}, "at least 1"),
        ("remvoe", {}, "Did you mean 'remove'?"),
    ],
)
def test_a_mistake_is_named(name: str, settings: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        edit(name, **settings)


def test_a_hundred_thousand_tags_are_quick() -> None:
    captions = {f"{number}.png": ", ".join(f"tag_{number * 10 + i}" for i in range(10)) for number in range(10_000)}
    began = time.process_time()
    found, _ = apply_edits(captions, [edit("underscores"), edit("sort"), edit("dedupe"), edit("limit", tags=5)])
    assert found["0.png"] == "tag 0, tag 1, tag 2, tag 3, tag 4"
    assert time.process_time() - began < 20  # about one second; quadratic work would take minutes
