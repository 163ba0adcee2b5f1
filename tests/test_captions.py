"""Captions come out as they were written, whatever editor or tagger wrote them."""

from __future__ import annotations

import random
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import pytest
from corpus.captions import ENCODINGS, SENTENCES, TAGS, folder_of_captions

from lorapipe.kohya_folders import FolderName
from lorapipe.picture_files.caption_names import CaptionNames
from lorapipe.picture_files.captions import CaptionTexts, Lines, decode, one_line
from lorapipe.training.data.captions import CaptionFiles, folder_name

KOREAN = "페니, 모자, 웃음"
RANDOM = random.Random(0).randbytes(3000)
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\0\0\0\x03\0\x08\2\0\0\0"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", [KOREAN, "penny, 🎉, smile", "plain"])
def test_unicode_with_or_without_its_mark(text, encoding):
    assert decode(text.encode(encoding)) == (text, "")


def test_both_orders_of_utf16_with_and_without_mark():
    assert decode("\ufeffpenny".encode("utf-16-be")) == ("\ufeffpenny".strip("\ufeff"), "")
    for order in ("utf-16-le", "utf-16-be"):
        text, complaint = decode("penny, smile".encode(order))
        assert text == "penny, smile" and "UTF-16" in complaint


def test_western_windows_text_is_read_and_reported():
    text, complaint = decode("café au lait".encode("cp1252"))
    assert text == "café au lait" and "UTF-8" in complaint


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00", b"\xef\xbb\xbf\xff\xff", bytes(range(256)), b"\x81\x8d\x8f"])
def test_no_bytes_make_it_fail(junk):
    assert isinstance(decode(junk)[0], str)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("penny, smile\n", "penny, smile"),
        ("penny\r\nsmile\r\n\r\nhat\r\n", "penny, smile, hat"),
        ("penny,\nsmile,\n", "penny, smile"),
        ("A cat.\nIt sits.", "A cat. It sits."),
        ("  \n\t\n", ""),
    ],
)
def test_lines_become_one(text, line):
    assert one_line(text) == line


def test_what_looks_like_a_token_and_4000_characters_are_kept(tmp_path):
    long = "<|startoftext|> (penny:1.2), " + "a" * 4000 + " <|endoftext|>"
    (tmp_path / "a.txt").write_text(long, encoding="utf-8")
    assert read(tmp_path / "a.txt") == (long, "")


def read(path: Path, lines: Lines = "joined") -> tuple[str, str]:
    found = CaptionTexts(path.parent, {"a.png": [path.name]}, lines).of("a.png")
    return found.text, found.complaint


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("10_penny cat/a.png", FolderName(10, "penny cat")),
        ("10_penny_cat/deep/er/a.png", FolderName(10, "penny_cat")),
        ("3_outer/5_inner/a.png", FolderName(5, "inner")),
        ("7_/a.png", FolderName(7, "")),
        ("penny/a.png", None),
        ("10 penny/a.png", None),
        ("10_a.png", None),
        ("20240131_beach/a.png", None),  # a date
    ],
)
def test_folder_names(path, expected):
    assert folder_name(PurePosixPath(path)) == expected


PICTURES = ("10_cat/a.png", "10_cat/b.jpg", "10_cat/c.png", "2_cat/a.png", "a.jpg", "a.png", "b.png", "c.png")


def captions(root: Path, files: dict[str, bytes], extensions=(".txt", ".caption")) -> CaptionFiles:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    names = CaptionNames(files, PICTURES, extensions)
    return CaptionFiles(root, {picture: names.of(picture) for picture in PICTURES})


def test_a_caption_file_beside_the_picture_comes_first(tmp_path):
    files = {"10_cat/a.TXT": b"from the file", "10_cat/a.caption": b"second choice", "10_cat/b.caption": b"only this"}
    found = captions(tmp_path, files)
    assert found.of("10_cat/a.png", "word").text == "from the file"
    assert found.of("10_cat/b.jpg", "word").source == "b.caption"
    assert found.of("10_cat/c.png", "word").text == "cat"
    assert found.of("c.png", "word").source == "class_word"
    assert found.of("c.png", "").source == "none"


def test_the_order_of_the_extensions_decides(tmp_path):
    found = captions(tmp_path, {"a.txt": b"tags", "a.caption": b"a sentence"}, (".caption", ".txt"))
    assert found.of("a.png", "").text == "a sentence"


def test_two_pictures_of_one_stem_share_their_caption(tmp_path):
    found = captions(tmp_path, {"a.txt": b"penny"})
    assert found.of("a.png", "").text == found.of("a.jpg", "").text == "penny"


def test_an_empty_caption_falls_back_and_says_so(tmp_path):
    found = captions(tmp_path, {"2_cat/a.txt": b" \n", "b.txt": b""})
    cat = found.of("2_cat/a.png", "")
    assert (cat.text, cat.source) == ("cat", "folder") and "empty" in cat.complaint
    assert "empty" in found.of("b.png", "").complaint


def test_a_mac_and_a_pc_mean_the_same_name(tmp_path):
    picture, file = normalize("NFC", "한글.png"), normalize("NFD", "한글.txt")
    (tmp_path / file).write_bytes("페니".encode())
    names = CaptionNames([file], [picture])
    assert CaptionFiles(tmp_path, {picture: names.of(picture)}).of(picture, "").text == "페니"


def test_several_lines_as_told(tmp_path):
    (tmp_path / "a.txt").write_text("a cat\n\n a feline \n")
    ways: tuple[Lines, ...] = ("joined", "first", "each")
    assert {lines: read(tmp_path / "a.txt", lines)[0] for lines in ways} == {
        "joined": "a cat, a feline",
        "first": "a cat",
        "each": "a cat\na feline",
    }


# ------------------------------------------------------------------------------------------------------- encodings


def folder(root: Path, texts: list[str], encoding: str) -> CaptionTexts:
    for number, text in enumerate(texts):
        (root / f"{number}.txt").write_bytes(text.encode(encoding))
    return CaptionTexts(root, {f"{number}.png": [f"{number}.txt"] for number in range(len(texts))})


def said(texts: CaptionTexts, count: int) -> list[str]:
    return [texts.of(f"{number}.png").text for number in range(count)]


@pytest.mark.parametrize(
    ("language", "encoding"), [(each, code) for each, codes in ENCODINGS.items() for code in codes]
)
def test_captions_of_any_code_page_come_out_as_they_were_written(tmp_path, language, encoding):
    """A short tag, a list of them, a sentence: each alone. (A word of UTF-16 can be printable ASCII, such as 校服 `h!g`.)"""
    tags = TAGS[language]
    texts = [", ".join(tags[:6]), SENTENCES[language][0], f"penny, {tags[7]}"]
    for text in texts if "utf" in encoding else [*tags[:4], *texts]:
        assert decode(text.encode(encoding))[0] == text


def test_of_captions_that_nobody_looked_at_before_hardly_one_is_misread(tmp_path):
    """Known answers by the hundred: single files are short, and some are another word in another encoding."""
    wrong, tried = 0, 0
    for language, codes in ENCODINGS.items():
        for encoding in codes:
            for seed in range(1000, 1020):
                (text,) = folder_of_captions(language, seed, 1)
                tried += 1
                wrong += decode(text.encode(encoding))[0] != text
    assert tried == 260 and wrong <= 4


@pytest.mark.parametrize(
    ("language", "encoding"), [(each, code) for each, codes in ENCODINGS.items() for code in codes]
)
def test_files_of_one_folder_tell_of_each_other(tmp_path, language, encoding):
    for seed in range(2000, 2010):
        texts = folder_of_captions(language, seed, 5)
        assert said(folder(tmp_path, texts, encoding), 5) == texts


def test_a_word_that_is_utf8_by_chance_is_read_like_its_neighbours(tmp_path):
    texts = ["微笑", "猫", "下雨天打着伞走路的孩子的背影"]
    assert decode("猫".encode("gb18030"))[0] == "è"  # alone nobody can tell
    assert said(folder(tmp_path, texts, "gb18030"), 3) == texts


def test_utf8_among_other_files_stays_what_it_is(tmp_path):
    texts = folder(tmp_path, ["소녀, 모자", "긴 머리, 웃음"], "cp949")
    (tmp_path / "0.txt").write_text("café, 소녀 🎉", encoding="utf-8")
    assert said(texts, 2) == ["café, 소녀 🎉", "긴 머리, 웃음"]


def test_what_was_guessed_is_told_with_its_file_its_encoding_and_the_cure(tmp_path):
    texts = folder(tmp_path, ["소녀, 모자"], "cp949")
    assert texts.of("0.png").file == "0.txt"
    assert texts.of("0.png").complaint == "is not UTF-8 and was read as Korean, cp949; save it as UTF-8"


def test_the_computers_own_code_page_is_preferred_where_both_fit(monkeypatch):
    text = "żółć".encode("cp1250")
    monkeypatch.setattr("lorapipe.picture_files.encodings._home", lambda: "cp1250")
    assert decode(text)[0] == "żółć"


def test_utf8_with_a_damaged_place_is_no_other_encoding():
    data = bytearray("한 소녀가 공원에서 책을 읽고 있다".encode())
    data[4:5] = b"\xff"
    text, complaint = decode(bytes(data))
    assert "공원에서 책을" in text and "damaged" in complaint


def test_a_caption_file_of_gigabytes_is_left_alone(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(3_000_000_000)
    text, complaint = read(tmp_path / "a.txt")
    assert text == "" and "it has more than 1 MB" in complaint


def test_a_second_caption_that_says_something_else_is_mentioned(tmp_path):
    (tmp_path / "a.txt").write_text("tags")
    (tmp_path / "a.caption").write_text("a sentence")
    found = CaptionFiles(tmp_path, {"a.png": ["a.txt", "a.caption"]}).of("a.png", "")
    assert (
        found.text == "tags"
        and found.complaint == "a.txt: a.caption lies beside it and says something else; a.txt counts"
    )
    (tmp_path / "a.caption").write_text(" tags\n")
    assert not CaptionFiles(tmp_path, {"a.png": ["a.txt", "a.caption"]}).of("a.png", "").complaint


@pytest.mark.parametrize("junk", [RANDOM, b"\0\1\2" * 20, PNG_HEAD * 4, b"\x7fELF\2\1\1" + b"\0" * 60])
def test_a_file_that_holds_no_text_is_no_caption_and_spoils_no_others(tmp_path, junk):
    plain = {"empty": b"", "short": b"me", "dos": b"a cat\x1a", "long": b"a red hat"}
    korean = {"korean": "한복을 입은 소녀".encode("cp949"), "word": "페니".encode("cp949")}
    for name, data in {"junk": junk, **plain, **korean}.items():
        (tmp_path / f"{name}.txt").write_bytes(data)
    texts = CaptionTexts(tmp_path, {f"{file.stem}.png": [file.name] for file in tmp_path.glob("*.txt")})
    assert texts.of("junk.png").text == "" and texts.of("junk.png").complaint == "is no text"
    said = {name: texts.of(f"{name}.png") for name in (*plain, *korean)}
    assert [said[name].text for name in plain] == ["", "me", "a cat", "a red hat"]
    assert not any(said[name].complaint for name in plain) and decode(plain["dos"])[0] == "a cat"
    assert [said[name].text for name in korean] == ["한복을 입은 소녀", "페니"]
