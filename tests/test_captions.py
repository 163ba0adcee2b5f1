"""Captions come out as they were written, whatever editor or tagger wrote them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from unicodedata import normalize

import pytest

from lorapipe.folder_names import FolderName
from lorapipe.picture_files.caption_names import CaptionNames
from lorapipe.picture_files.captions import CaptionTexts, Lines, decode, one_line
from lorapipe.training.data.captions import CaptionFiles, folder_name

KOREAN = "페니, 모자, 웃음"


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
