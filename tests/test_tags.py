"""`lorapipe tags`: what the captions of a folder teach, held against sets of tags that are known."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image

from lorapipe.caption_analysis.analysis import analyse
from lorapipe.caption_analysis.tag_index import TagIndex
from lorapipe.caption_analysis.tag_spellings import normal_form, spelling_pairs
from lorapipe.cli import main


def folder_of(root: Path, captions: dict[str, str | None]) -> Path:
    root.mkdir(exist_ok=True)
    for place, (name, text) in enumerate(captions.items()):
        Image.new("RGB", (64, 64), (place * 9 % 256, 40, 90)).save(root / f"{name}.png")
        if text is not None:
            (root / f"{name}.txt").write_text(text, encoding="utf-8")
    return root


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["tags", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_counts_and_pairs_are_those_of_sets() -> None:
    chance = random.Random(3)
    said = [{chance.choice("abcdefgh") for _ in range(4)} for _ in range(60)]
    index = TagIndex([", ".join(sorted(tags)) for tags in said])
    assert {each.tag: each.count for each in index.counts} == Counter(tag for tags in said for tag in tags)
    both = Counter(pair for tags in said for pair in combinations(sorted(tags), 2))
    found = {tuple(sorted((pair.first, pair.second))): pair for pair in index.pairs()}
    assert {names: pair.both for names, pair in found.items()} == both
    assert all(pair.either == sum(bool({*names} & tags) for tags in said) for names, pair in found.items())


def test_what_always_occurs_never_varies_or_occurs_once() -> None:
    captions = {
        f"{number}.png": f"luna, 1girl, {'white background' if number % 2 else 'smile'}, tongue out, tag {number}"
        for number in range(10)
    }
    captions["9.png"] = "luna, frown"
    found = analyse(captions)
    assert found.trigger == "luna" and not found.trigger_given and not found.lacking
    assert [(each.tag, each.count) for each in found.always] == [("luna", 10), ("1girl", 9), ("tongue out", 9)]
    assert [each.tag for each in found.never_varied] == ["white background"]
    assert "frown" in found.once and "smile" not in found.once


def test_an_attribute_with_two_values_varies() -> None:
    captions = {f"{n}.png": f"luna, {'red' if n % 2 else 'blue'} hat" for n in range(10)}
    assert not analyse(captions).never_varied


def test_captions_without_the_trigger_are_named() -> None:
    captions = {"a.png": "a photo of penny, smiling", "b.png": "pennywise", "c.png": "Penny", "d.png": ""}
    found = analyse(captions, trigger="penny")
    assert found.lacking == ("b.png",) and found.without_caption == ("d.png",) and found.captioned == 3


@pytest.mark.parametrize(
    ("tag", "other"),
    [
        ("long_hair", "long hair"),
        ("grey eyes", "gray eyes"),
        ("smiling", "smile"),
        ("hats", "hat"),
        ("hair blue", "blue hair"),
        (r"saber \(fate\)", "saber (fate)"),
        ("blue-eyes", "blue eyes"),
    ],
)
def test_two_spellings_of_a_tag_are_one(tag: str, other: str) -> None:
    assert normal_form(tag) == normal_form(other)
    (pair,) = spelling_pairs({tag: 1, other: 30})
    assert (pair.tag, pair.better, pair.kind) == (tag, other, "spelling")


@pytest.mark.parametrize("tag", ["lavendar sky", "lavnder sky", "lavennder sky", "lavedner sky", "lavender skyy"])
def test_a_slip_of_a_letter_is_found(tag: str) -> None:
    (pair,) = spelling_pairs({tag: 1, "lavender sky": 20, "forest": 9}) or [None]
    if tag.endswith("skyy"):
        assert pair is None  # three letters are too few to tell
    else:
        assert pair and (pair.tag, pair.better, pair.kind) == (tag, "lavender sky", "misspelling")


@pytest.mark.parametrize(
    "counts",
    [
        {"red hat": 1, "red bat": 40},
        {"2girls": 1, "1girl": 40},
        {"version 2000": 1, "version 2001": 40},
        {"brown hair": 1, "crown hair": 40, "brown eyes": 30},  # brown is a word that others have
        {"beach": 10, "peach": 12},  # both are frequent
        {"페니": 1, "제니": 40},
    ],
    ids=str,
)
def test_other_tags_are_not_slips(counts: dict[str, int]) -> None:
    assert not [pair for pair in spelling_pairs(counts) if pair.kind == "misspelling"]


def test_a_hundred_thousand_tags_take_seconds_at_most() -> None:
    chance = random.Random(1)
    captions = {f"{n}.png": ", ".join(f"w{chance.getrandbits(60):x}" for _ in range(20)) for n in range(5000)}
    found = analyse(captions)
    assert len(found.tags) == 100_000 and len(found.once) == 100_000
    assert len(json.dumps(found.as_data())) < 10_000_000


def test_a_caption_of_another_language_is_unlike_the_others() -> None:
    captions = {f"{n}.png": f"penny, smile, {'beach' if n % 2 else 'forest'}" for n in range(12)}
    captions["odd.png"] = "페니, 미소"
    assert [each.picture for each in analyse(captions).unusual] == ["odd.png"]


def test_a_caption_unlike_those_of_pictures_that_look_alike() -> None:
    signatures, captions = {}, {}
    for place in range(24):
        kind = place % 3
        cells = [(40 + 80 * kind, 30, 200 - 60 * kind)] * 256
        signatures[f"{place}.png"] = bytes(min(255, channel + place % 5) for cell in cells for channel in cell)
        captions[f"{place}.png"] = f"penny, {('beach', 'forest', 'room')[kind]}, place {kind}"
    captions["4.png"] = "penny, beach, place 0"  # it looks like a forest
    (odd,) = analyse(captions, signatures=signatures).unlike_neighbours or ()
    assert odd.picture == "4.png" and {int(name.removesuffix(".png")) % 3 for name in odd.neighbours} == {1}


def test_the_command_tells_people_and_programs_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "photos", {"a": "luna, red scarf", "b": "luna, red scarff", "c": None})
    for number in range(9):
        folder_of(folder, {f"more{number}": "luna, red scarf, " + "very " * (80 if number == 3 else 1)})
    text = told(capsys, folder)
    data = json.loads(told(capsys, folder, "--json"))
    assert data["tags"]["luna"] == 11 and data["pictures"] == 12 and data["trigger"] == "luna"
    assert "12 pictures, 1 without a caption" in text and "red scarff (1) → red scarf (10), misspelt" in text
    assert [each["picture"] for each in data["too_long"]] == ["more3.png"] and "more3.png: at least" in text
    assert data["without_caption"] == ["c.png"]
    assert "luna, the first tag that nearly all captions have: in all 11 captions" in text
    assert "is not in" not in text
    assert "not in 11 of 11" in told(capsys, folder, "--trigger", "sol")


def test_folder_words_and_other_encodings_are_read_as_the_trainer_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path / "photos", {"a": "x"})
    folder_of(folder / "10_penny cat", {"b": None})
    (folder / "a.txt").write_bytes("페니, 빨간 모자, 웃는 얼굴".encode("cp949"))
    data = json.loads(told(capsys, folder, "--json"))
    assert {*data["tags"]} == {"penny cat", "페니", "빨간 모자", "웃는 얼굴"}
    assert "Korean, cp949" in data["complaints"][0] and "Korean, cp949" in told(capsys, folder)


BAD = (
    "gone", "empty", "file.txt", "photos --separator ,", "photos --max-tokens many", "photos --pictures maybe",
    "photos --tagged gone",
)  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    folder_of(tmp_path / "photos", {"a": "x"})
    folder, *flags = words.replace(",", "\t").split(" ")
    assert main(["tags", str(tmp_path / folder), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error


def test_a_taggers_captions_are_compared_tag_by_tag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path / "photos", {"a": "luna, Red_Hat", "b": "luna, smile", "c": "luna, beach", "d": "luna"})
    (tmp_path / "tagged").mkdir()
    for name, text in {"a": "red hat, beach", "b": "red hat, beach", "c": "smile"}.items():
        (tmp_path / "tagged" / f"{name}.txt").write_text(text)
    data = json.loads(told(capsys, folder, "--tagged", tmp_path / "tagged", "--json"))
    assert [(each["tag"], each["pictures"]) for each in data["not_captioned"]] == [
        ("beach", ["a.png", "b.png"]), ("red hat", ["b.png"]), ("smile", ["c.png"])
    ]  # fmt: skip
    assert {each["tag"]: each["pictures"] for each in data["not_seen"]} == {"beach": ["c.png"], "smile": ["b.png"]}
    text = told(capsys, folder, "--tagged", tmp_path / "tagged")
    assert "In the pictures, not in the captions\n  beach: 2, such as a.png, b.png" in text
    assert json.loads(told(capsys, folder, "--json"))["not_captioned"] is None
