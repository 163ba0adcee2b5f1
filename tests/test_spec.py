"""Parsing, serialization, messages, keys and schemas all follow from `param()`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from lorapipe.errors import InputError, Problem
from lorapipe.spec import Duration, Source, Spec, canonical, content, from_dict, param, parse_spec, to_dict
from lorapipe.spec.schema import json_schema


@dataclass(frozen=True)
class Inner(Spec):
    """A group of settings."""

    size: int = param(3, "its size", ge=1)


@dataclass(frozen=True)
class Outer(Spec):
    """One knob of every type."""

    picture: Source = param(help="a file")
    count: int = param(1, "how many", ge=1, le=9)
    rate: float = param(0.1, "how fast", gt=0)
    on: bool = param(False, "whether")
    word: str = param("x", "which")
    mode: Literal["a", "b"] = param("a", "how")
    maybe: float | None = param(None, "perhaps")
    words: tuple[str, ...] = param((), "all of them")
    rates: dict[str, float] = param(dict, "by part")
    length: Duration = param(Duration(10), "how long")
    inner: Inner = param(Inner, "more")
    where: Path | None = param(None, "a place", content=False)

    def problems(self):
        if self.count == 7:
            yield Problem("seven is unlucky.", path=("count",))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"picture")
    return tmp_path


def problems(plain: object, folder: Path) -> list[tuple[tuple, str]]:
    return [(each.path, f"{each.what} {each.cure}".strip()) for each in parse_spec(Outer, plain, folder).problems]


def test_reading_fills_defaults_and_places_paths(picture: Path) -> None:
    spec = from_dict(Outer, {"picture": "a.png", "where": "b", "rate": 1, "count": 2.0, "length": 1e3}, picture)
    assert spec.picture.path == picture / "a.png" and spec.where == picture / "b"
    assert spec.rate == 1.0 and isinstance(spec.rate, float)
    assert spec.count == 2 and isinstance(spec.count, int)
    assert spec.length == Duration(1000) and spec.inner == Inner(size=3)


def test_writing_and_reading_gives_the_same(picture: Path) -> None:
    plain = {"picture": "a.png", "words": ["p", "q"], "rates": {"unet": 1e-4}, "maybe": 2, "inner": {"size": 5}}
    spec = from_dict(Outer, plain, picture)
    assert from_dict(Outer, to_dict(spec), Path("elsewhere")) == spec


@pytest.mark.parametrize(
    ("plain", "path", "message"),
    [
        ({"count": 0}, ("count",), "0 is below the minimum 1. How many."),
        ({"count": 10}, ("count",), "10 is above the maximum 9. How many."),
        ({"count": 2.5}, ("count",), "2.5 is not a whole number. How many."),
        ({"count": True}, ("count",), "true is not a whole number. How many."),
        ({"count": None}, ("count",), "null is not a whole number. How many."),
        ({"rate": 0}, ("rate",), "0.0 must be above 0. How fast."),
        ({"rate": math.nan}, ("rate",), "nan is not a finite number. How fast."),
        ({"rate": math.inf}, ("rate",), "inf is not a finite number. How fast."),
        ({"rate": "fast"}, ("rate",), '"fast" is not a number. How fast.'),
        ({"word": 5}, ("word",), '5 is not text. Which. Put it in quotes: "…".'),
        ({"mode": "c"}, ("mode",), '"c" is not one of a, b. Known: a, b.'),
        ({"words": "p"}, ("words",), '"p" is not a list. Write it as ["p"].'),
        ({"words": ["p", 2]}, ("words", 1), '2 is not text. All of them. Put it in quotes: "…".'),
        ({"rates": {"unet": "x"}}, ("rates", "unet"), '"x" is not a number. By part.'),
        ({"inner": {"siez": 2}}, ("inner", "siez"), "unknown setting \"siez\". Did you mean 'size'?"),
        ({"length": "3 e"}, ("length",), "\"3 e\" is not a duration; write 1000, '1000 steps' or '10 epochs'. How long."),
        ({"count": 7}, ("count",), "seven is unlucky."),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_where_it_stands(plain: dict, path: tuple, message: str, picture: Path) -> None:
    assert problems({"picture": "a.png", **plain}, picture) == [(path, message)]


def test_all_problems_come_at_once(picture: Path) -> None:
    found = problems({"count": 0, "colour": 1, "inner": {"size": -1}}, picture)
    assert {path for path, _ in found} == {("count",), ("colour",), ("inner", "size"), ()}
    assert ((), "picture is missing. A file.") in found


def test_a_missing_source_names_the_near_miss(picture: Path) -> None:
    [(path, message)] = problems({"picture": "b.png"}, picture)
    assert path == ("picture",) and "does not exist. Did you mean 'a.png'?" in message


def test_from_dict_raises_what_read_finds(picture: Path) -> None:
    with pytest.raises(InputError) as caught:
        from_dict(Outer, {"count": 0}, picture)
    assert len(caught.value.problems) == 2 and caught.value.exit_code == 2


def test_content_is_what_differs_from_the_default(picture: Path) -> None:
    spec = from_dict(Outer, {"picture": "a.png", "count": 1, "where": "elsewhere", "inner": {"size": 4}}, picture)
    assert content(spec, lambda value: "digest") == {"picture": "digest", "inner": {"size": 4}}
    assert content(spec, lambda value: "digest", defaults=True)["rate"] == 0.1


def test_canonical_text_does_not_depend_on_order() -> None:
    text = '{"a":[1.0,"ü"],"b":1}'.encode()
    assert canonical({"b": 1, "a": [1.0, "ü"]}) == canonical({"a": [1.0, "ü"], "b": 1}) == text


def test_durations_count_steps() -> None:
    assert Duration.parse(1000, Path()) == Duration(1000)
    assert Duration.parse("10 epochs", Path()) == Duration(10, "epochs")
    assert Duration.parse("1 step", Path()).plain() == "1 steps"


def test_schema_carries_help_default_and_limits() -> None:
    found = json_schema(Outer)["properties"]["count"]
    assert found == {"description": "How many.", "type": "integer", "minimum": 1, "maximum": 9, "default": 1}
