"""Zips: names as they were meant, and a word for each kind that is of no use."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from corpus.archives import FOREIGN, PICTURE, damaged, foreign, packed, unicode_path, zip_of

from lorapipe.code_pages import guess
from lorapipe.errors import InputError
from lorapipe.watch.archive import open_archive, zip_state
from lorapipe.watch.folder_names import trigger_of
from lorapipe.watch.settling import Settling
from lorapipe.watch.unpack import Limits, unpack

LIMITS = Limits(size=10_000_000, files=50, room=0)


def refused(path: Path, limits: Limits = LIMITS) -> str:
    """Why a zip is not unpacked; nothing of it is left."""
    target = path.parent / "out" / path.stem
    with pytest.raises(InputError) as caught:
        unpack(path, target, limits)
    assert not target.exists() and not any((path.parent / "out").iterdir())
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("kind", FOREIGN)
def test_names_of_other_systems_are_read_as_they_were_meant(tmp_path: Path, kind: str) -> None:
    page, name = FOREIGN[kind]
    path = foreign(tmp_path / "a.zip", page, name)
    assert zip_state(path).pictures == 3
    told: list[str] = []
    inner = unpack(path, tmp_path / "out", LIMITS, told.append)
    folder = inner if inner.name == name else inner / name
    assert sorted(file.name for file in folder.iterdir()) == ["0.png", "1.png", "2.png"]
    assert trigger_of(folder.name) == name.removeprefix("10_")
    assert bool(told) == (page not in ("ascii", "utf-8")), "a guess is told"


def test_a_name_that_a_zip_tells_in_utf8_is_taken_from_there(tmp_path: Path) -> None:
    raw = "페니".encode("cp949")
    path = zip_of(tmp_path / "a.zip", {raw + b"/0.png": PICTURE}, extra=unicode_path(raw + b"/0.png", "정말/0.png"))
    unpack(path, tmp_path / "out", LIMITS)
    assert (tmp_path / "out" / "정말" / "0.png").is_file()
    stale = zip_of(tmp_path / "b.zip", {raw + b"/0.png": PICTURE}, extra=unicode_path(b"other", "정말/0.png"))
    unpack(stale, tmp_path / "stale", LIMITS)
    assert (tmp_path / "stale" / "페니" / "0.png").is_file(), "it was of another name, and counts no more"


def test_all_names_of_a_zip_are_read_alike(tmp_path: Path) -> None:
    """One letter could be anything; beside words it is what they are."""
    names = [folder.encode("cp949") for folder in ("뷁", "고양이 사진", "여름 바다")]
    unpack(zip_of(tmp_path / "a.zip", {name + b"/0.png": PICTURE for name in names}), tmp_path / "out", LIMITS)
    assert sorted(folder.name for folder in (tmp_path / "out").iterdir()) == sorted(["뷁", "고양이 사진", "여름 바다"])


def test_this_systems_code_page_decides_between_what_is_as_likely() -> None:
    raw = "ילדה".encode("cp1255")
    assert guess([raw], ("cp1255",)).decode(raw) == "ילדה"
    assert guess([raw], ("cp1251",)).encoding == "cp1251"


def test_names_in_no_code_page_are_said_to_be_so(tmp_path: Path) -> None:
    path, told = zip_of(tmp_path / "a.zip", {b"\xff\x80\x9e\xb1\xb0/0.png": PICTURE}), list[str]()
    inner = unpack(path, tmp_path / "out", LIMITS, told.append)
    assert (inner / "0.png").is_file() and "unknown code page" in told[0]


@pytest.mark.parametrize("page", ["cp949", "cp932", "gb18030", "cp866"])
def test_a_way_out_is_seen_in_every_code_page(tmp_path: Path, page: str) -> None:
    name = {"cp949": "한복", "cp932": "着物", "gb18030": "汉服", "cp866": "Маша"}[page].encode(page)
    for index, bad in enumerate((b"../" + name, name + b"/../../x", b"..\\" + name, b"C:\\" + name, b"/" + name)):
        path = zip_of(tmp_path / f"{index}.zip", {name + b"/ok.png": PICTURE, bad + b".png": PICTURE})
        assert "outside of its folder" in refused(path)


# ------------------------------------------------------------------------------------------------- what is of no use


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_of_any_packing_is_refused_in_words(tmp_path: Path, method: int) -> None:
    data = os.urandom(5000)
    (unpacked := unpack(packed(tmp_path / "whole.zip", method, data), tmp_path / "whole", LIMITS)).joinpath("a.png")
    assert (unpacked / "a.png").read_bytes() == data
    for index in range(6):
        path = damaged(packed(tmp_path / f"{index}.zip", method, data), 0.02 + index / 8)
        assert "is not a whole zip file" in refused(path)


@pytest.mark.parametrize(
    ("method", "flags", "words"),
    [
        (9, 0, "is intact, but its compression method is not supported (Deflate64). Unpack it yourself"),
        (98, 0, "(PPMd). Unpack it yourself"),
        (93, 0, "(Zstandard). Unpack it yourself"),
        (77, 0, "(method 77). Unpack it yourself"),
        (99, 1, "is encrypted. Pack it without a password"),
        (8, 1, "is encrypted. Pack it without a password"),
    ],
)
def test_what_is_packed_in_another_way_is_said_to_be_whole(tmp_path: Path, method: int, flags: int, words: str) -> None:
    path = zip_of(tmp_path / "a.zip", {b"a.png": PICTURE}, method=method, flags=flags)
    assert words in refused(path)


def test_one_encrypted_file_among_others_is_noticed_before_any_is_written(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {b"a.png": PICTURE, b"b.png": PICTURE})
    data = path.read_bytes()
    last = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: last + 8] + struct.pack("<H", 1) + data[last + 10 :])
    assert "is encrypted" in refused(path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"", "is empty"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "is an empty zip"),
        ("a.zip", b"Rar!\x1a\x07\x00" + bytes(99), "is not a zip but a RAR archive"),
        ("a.zip", b"7z\xbc\xaf\x27\x1c" + bytes(99), "is not a zip but a 7z archive"),
        ("a.zip", b"\x1f\x8b\x08" + bytes(99), "is not a zip but a gzip archive"),
        ("a.zip", b"<!doctype html><html>", "is not a zip but a web page"),
        ("a.zip", b"version https://git-lfs.github.com/spec/v1\n", "is not a zip but a pointer of Git LFS"),
        ("a.zip", b"PK\x05\x06" + struct.pack("<HHHHIIH", 3, 3, 1, 4, 99, 99, 0), "not a whole zip|multi-part"),
        ("a.rar", b"Rar!", "unpack it, or pack it as a zip"),
        ("a.7z", b"7z", "unpack it, or pack it as a zip"),
        ("a.tar.gz", b"\x1f\x8b", "unpack it, or pack it as a zip"),
        ("a.zip.crdownload", b"PK", "is still being downloaded"),
        ("a.zip.part", b"PK", "is still being downloaded"),
        ("a.png.!qB", b"", "is still being downloaded"),
        ("set.tmp", b"", "is still being downloaded"),
        ("a.z01", b"PK", "is one part of a multi-part archive"),
        ("a.zip.001", b"PK", "is one part of a multi-part archive"),
        ("a.part2.rar", b"Rar!", "is one part of a multi-part archive"),
        ("a.png", b"\x89PNG", "put it into a folder"),
    ],
)
def test_whatever_lies_loose_in_the_inbox_is_told_what_to_do_with_it(tmp_path: Path, name, data, words: str) -> None:
    import re

    now = [0.0]
    (tmp_path / name).write_bytes(data)
    settling = Settling(tmp_path, quiet=1, patience=5, clock=lambda: now[0])
    for _ in range(3):
        settling.poll()
        now[0] += 2
    assert re.search(words, settling.arriving()[name].trouble)


def test_a_zip_in_a_zip_is_named(tmp_path: Path) -> None:
    for inner in ("more/set.zip", "set.RAR", "set.tar.gz"):
        look = zip_state(packed(tmp_path / "a.zip", zipfile.ZIP_STORED, PICTURE, inner))
        assert look.trouble == f"has no picture, but {Path(inner).name}: unpack that, and put the folder here"


def test_names_that_this_disk_has_no_place_for(tmp_path: Path) -> None:
    assert "name is too long" in refused(zip_of(tmp_path / "long.zip", {b"a" * 300 + b".png": PICTURE}))
    assert "name is too long" in refused(zip_of(tmp_path / "deep.zip", {b"a/" * 100 + b"a.png": PICTURE}))
    assert "twice" in refused(zip_of(tmp_path / "twice.zip", {b"a/b.png": PICTURE, b"a/./b.png": PICTURE}))
    assert "the same name on this disk" in refused(zip_of(tmp_path / "both.zip", {b"a": PICTURE, b"a/b.png": PICTURE}))
    assert "the same name on this disk" in refused(zip_of(tmp_path / "both2.zip", {b"a/b.png": PICTURE, b"a": PICTURE}))
    assert "outside" in refused(zip_of(tmp_path / "nul.zip", {b"a\0.png": PICTURE}))


def test_names_that_windows_keeps_for_itself() -> None:
    from lorapipe.watch.unpack import _unfit

    for name in ("con.png", "aux", "a. ", "b.", "c:d.png", "what?.png"):
        assert _unfit((name,), "win32") and not _unfit((name,), "linux")
    assert not _unfit(("10_penny woman", "0.png"), "win32")


@pytest.mark.skipif(sys.platform != "linux", reason="tells what the other disks do")
def test_names_that_differ_only_in_case_are_two_files_where_they_can_be(tmp_path: Path) -> None:
    inner = unpack(zip_of(tmp_path / "a.zip", {b"A.png": b"1", b"a.png": b"2"}), tmp_path / "out", LIMITS)
    assert sorted(file.name for file in inner.iterdir()) == ["A.png", "a.png"]


def test_a_list_of_contents_is_read_only_as_far_as_one_can_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    size = 3_000_000_000
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(size)
        file.seek(size)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 9, 9, size - 10, 4, 0))
    tracemalloc.start()
    look = zip_state(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert "list of contents of 3 GB" in look.trouble


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bombs_of_every_packing_end(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "a.zip", method, bytes(20_000_000))
    assert "unpacks to more than 0.01 GB" in refused(path)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 1000)  # and one that says less
    path.write_bytes(data)
    assert refused(path)


def test_a_zip_that_is_a_pipe_or_a_link_out_is_not_opened(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("pipes and links as Unix has them")
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "in").mkdir()
    packed(tmp_path / "a.zip", zipfile.ZIP_STORED)
    (tmp_path / "in" / "link.zip").symlink_to(tmp_path / "a.zip")
    for path, words in ((tmp_path / "pipe.zip", "named pipe"), (tmp_path / "in" / "link.zip", "leads out")):
        assert words in zip_state(path).trouble
        with pytest.raises(OSError, match=words), open_archive(path):
            pass
