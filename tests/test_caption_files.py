"""Caption files are written so that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorapipe.captioning.caption_files import CaptionChange, changes, files_to_write, own_names, write_caption
from lorapipe.errors import InputError
from lorapipe.picture_files import sort_out


def test_each_picture_has_a_caption_file_of_its_own() -> None:
    pictures = ["a/cat.png", "b/cat.png", "cat.jpg", "Cat.png", "dog.png"]
    names = own_names(pictures)
    assert [*names.values()] == ["a/cat.txt", "b/cat.txt", "cat.jpg.txt", "Cat.png.txt", "dog.txt"]
    found = sort_out([*pictures, *names.values()])
    assert {picture: [*files] for picture, files in found.captions.items()} == {p: [names[p]] for p in sorted(pictures)}


def test_the_first_text_is_kept_and_no_later_one(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text("by hand")
    for text in ("first", "second"):
        [change] = changes(tmp_path, {"cat.txt": text})
        assert write_caption(tmp_path, change)
    assert (tmp_path / "cat.txt").read_text() == "second\n"
    assert (tmp_path / "cat.txt.bak").read_text() == "by hand"
    assert not changes(tmp_path, {"cat.txt": "second"})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cat.txt", "cat.txt.bak"]


def test_a_file_that_another_program_has_changed_meanwhile_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text("by hand")
    [change] = changes(tmp_path, {"cat.txt": "new"})
    (tmp_path / "cat.txt").write_text("by another program")
    assert not write_caption(tmp_path, change)
    assert (tmp_path / "cat.txt").read_text() == "by another program" and not (tmp_path / "cat.txt.bak").exists()
    assert not write_caption(tmp_path, CaptionChange("cat.txt", "new", None))


def test_two_pictures_that_share_a_file_need_the_same_caption() -> None:
    pictures, beside = ["cat.jpg", "cat.png"], {"cat.jpg": ["cat.txt"], "cat.png": ["cat.txt"]}
    assert files_to_write({"cat.jpg": "a", "cat.png": "a"}, beside, pictures) == {"cat.txt": "a"}
    with pytest.raises(InputError, match="share the caption file"):
        files_to_write({"cat.jpg": "a", "cat.png": "b"}, beside, pictures)


def test_captions_in_another_encoding_become_utf_8_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_bytes("고양이".encode("cp949"))
    [change] = changes(tmp_path, {"cat.txt": "고양이"})
    assert write_caption(tmp_path, change)
    assert (tmp_path / "cat.txt").read_bytes() == "고양이\n".encode()
    assert (tmp_path / "cat.txt.bak").read_bytes() == "고양이".encode("cp949")
