"""What lies in people's folders is told apart by one rule: their pictures, their captions, and everything else by name."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from corpus.folders import COMPANIONS, LEFT_BEHIND, PROJECTS, SOMEBODYS, SYSTEM_FILES, lay
from photographs import encoded, photograph

from lorapipe.picture_files import sort_out
from lorapipe.picture_files.captions import caption_of
from lorapipe.picture_files.suffixes import suffix_of
from lorapipe.training.data.image_folder import look_through
from lorapipe.watch.archive import zip_state
from lorapipe.watch.folder_state import inspect_path, opened

PNG = encoded(photograph("coffee").resize((64, 48)), "PNG")


def kinds(files) -> dict[str, str]:
    return {file.path: file.kind for file in files}


@pytest.mark.parametrize("name", [name for name in LEFT_BEHIND if os.name != "nt" or "$R" not in name])
def test_what_systems_and_other_programs_leave_behind_is_no_picture_for_either_walker(tmp_path, name):
    lay(tmp_path, ["mine.png", "mine.txt", name], PNG)
    found = look_through(tmp_path)
    assert found.pictures == ("mine.png",) and len(found.left_out) == 1
    assert name.startswith(found.left_out[0].path) and found.left_out[0].reason
    assert inspect_path(tmp_path).pictures == 1
    assert sort_out(["mine.png", name]).pictures == ("mine.png",)  # as a zip's list of contents has it


def test_files_of_systems_are_named_and_not_looked_at(tmp_path):
    names = [name for name in SYSTEM_FILES if os.name != "nt" or "\r" not in name]
    found = look_through(lay(tmp_path, ["a.png", *names], PNG))
    assert found.pictures == ("a.png",) and {file.path for file in found.left_out} == set(names)


def test_what_only_looks_like_it_is_somebodys_pictures(tmp_path):
    assert set(look_through(lay(tmp_path, SOMEBODYS, PNG)).pictures) == set(SOMEBODYS)


def test_the_folder_that_is_named_is_never_judged(tmp_path):
    for name in ("@eaDir", "#recycle", "reg", "sample", ".hidden"):
        assert look_through(lay(tmp_path / name, ["a.png"], PNG)).pictures == ("a.png",)
    samples = ["penny_e000001_00_20240203040506.png", "penny_e000002_00_20240203040506.png"]
    assert set(look_through(lay(tmp_path / "best", samples, PNG)).pictures) == set(samples)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_trainers_projects_samples_and_masks_are_told_from_what_is_meant(tmp_path, project):
    meant, others = PROJECTS[project]
    lay(tmp_path, [*meant, *others], PNG)
    lay(tmp_path, COMPANIONS.get(project, ()))
    found = look_through(tmp_path)
    assert set(found.pictures) == set(meant)
    assert {path: kind for path, kind in kinds(found.left_out).items() if path in others} == others
    if project in COMPANIONS:  # without what a trainer leaves there, the same names are somebody's
        for name in COMPANIONS[project]:
            (tmp_path / name).unlink()
        assert len(look_through(tmp_path).pictures) >= len(meant)


def test_every_file_is_used_or_listed(tmp_path):
    beside = {
        "a.jpg": "picture", "a.txt": "caption", "a.caption": "second", "b.png": "picture", "b.png.txt": "caption",
        "IMG_01.JPG": "picture", "img_01.txt": "caption", "film.mp4": "film", "raw.CR2": "not read", "art.psd": "not read",
        "logo.svg": "not read", "gone.txt": "caption without a picture", "x.jfif.txt": "caption without a picture",
        "metadata.jsonl": "captions in another form", "captions.csv": "captions in another form",
        "a.json": "captions in another form", "b.tags": "caption not asked for", "set.zip": "archive",
        "notes.md": "other", "what": "other", "odd.xyz": "other", "lorapipe.yaml": "other",
    }  # fmt: skip
    lay(tmp_path, beside, b"text")
    lay(tmp_path, ["a.jpg", "b.png", "IMG_01.JPG"], PNG)
    found = look_through(tmp_path)
    assert set(found.pictures) == {"a.jpg", "b.png", "IMG_01.JPG"}
    assert dict(found.captions) == {
        "a.jpg": ["a.txt", "a.caption"],
        "b.png": ["b.png.txt"],
        "IMG_01.JPG": ["img_01.txt"],
    }
    used = {*found.pictures, *(file for files in found.captions.values() for file in files)}
    assert used | {file.path for file in found.left_out} == set(beside)
    assert kinds(found.left_out) == {name: kind for name, kind in beside.items() if name not in used}


def test_the_caption_of_a_picture_that_is_left_out_is_no_orphan(tmp_path):
    beside = {"a.png": "picture", "raw.CR2": "not read", "reg/r.png": "regularisation", "a-masklabel.png": "mask"}
    captions = ["raw.txt", "reg/r.caption", "a-masklabel.png.txt"]
    found = look_through(lay(tmp_path, [*beside, *captions, "gone.txt"], PNG))
    assert found.pictures == ("a.png",)
    told = kinds(found.left_out)
    assert {told[name] for name in captions} == {"caption of a picture not used"}
    assert told["gone.txt"] == "caption without a picture"


def test_what_only_its_bytes_call_a_picture_counts_in_the_inbox(tmp_path):
    bare = lay(tmp_path / "bare", ["DSC1", "DSC2.dat", "sub/DSC3.bin", "reg/DSC4", "@eaDir/DSC5"], PNG)
    lay(bare, ["README", "notes.txt", "odd.xyz"], b"no picture")
    raw = lay(tmp_path / "raw", ["a.cr2", "b.NEF"])  # prepare tells of these
    for folder, count in (bare, 3), (raw, 2), (lay(tmp_path / "texts", ["a.txt", "b"]), 0):
        assert (look := opened(folder, inspect_path(folder))).pictures == count and not look.trouble
        with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in filter(Path.is_file, folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
        assert zip_state(tmp_path / "set.zip").pictures == count


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_may_unpack_to_any_size_at_once_is_looked_into_when_it_is_unpacked(tmp_path, packing):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", packing) as archive:
        archive.writestr("DSC1", bytes(20_000_000))
        archive.writestr("empty", b"")
        archive.writestr("notes.txt", b"text")
    tracemalloc.start()
    try:
        assert zip_state(tmp_path / "set.zip").pictures == 1  # a job, which then tells what it is
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["sample/penny_e000001_00_20240203040506.png"], "a trainer's samples"),
        (["a-masklabel.png", "b-condlabel.png"], "masks, conditioning pictures"),
        (["contact_sheet.jpg", "manifest.json"], "what lorapipe made"),
    ],
)
def test_an_inbox_says_what_is_in_a_folder_without_a_picture_to_train_on(tmp_path, names, what):
    folder = lay(tmp_path / "penny", names, PNG)
    assert opened(folder, inspect_path(folder)).trouble == f"has no picture to train on, only {what}"
    lay(folder, ["mine.png"], PNG)
    assert (look := opened(folder, inspect_path(folder))).pictures == 1 and not look.trouble


def test_a_picture_is_one_by_its_bytes_where_its_name_does_not_say(tmp_path):
    jpeg, webp = encoded(photograph("coffee"), "JPEG"), encoded(photograph("coffee"), "WEBP")
    for name, data in {"EAF9": jpeg, "b.jpg_large": jpeg, "c.dat": webp, "d.xyz": PNG}.items():
        (tmp_path / name).write_bytes(data)
    lay(tmp_path, ["README", "LICENSE.foo"], b"BM is how this text begins, and P6 or II are in it\n")
    (tmp_path / "empty").write_bytes(b"")
    assert look_through(tmp_path).pictures == ("EAF9", "b.jpg_large", "c.dat", "d.xyz")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.JFIF", ".jfif"), ("a.jpg_large", ".jpg"), ("a.jpg!d", ".jpg"), ("a.png:large", ".png"), ("a.b.c", ".c"), ("a", ""),
     ("a.photo_of", ".photo_of")],
)  # fmt: skip
def test_endings_that_sites_write(name, expected):
    assert suffix_of(name) == expected


def test_pipes_devices_and_broken_links_are_never_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    lay(tmp_path, ["a.png"], PNG)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "a.txt")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to("circle")
    assert look_through(tmp_path).pictures == ("a.png",)
    found = caption_of(tmp_path, "a.png")
    assert found.text == "" and "named pipe" in found.complaint


def test_a_folder_that_cannot_be_entered_is_named(tmp_path):
    lay(tmp_path, ["a.png", "closed/b.png"], PNG)
    (tmp_path / "closed").chmod(0)
    try:
        if os.access(tmp_path / "closed", os.R_OK):
            pytest.skip("this user may read everything")
        found = look_through(tmp_path)
        assert found.pictures == ("a.png",) and found.left_out[0].path == "closed/"
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_caption_is_found_by_name_alone_for_one_picture(tmp_path):
    lay(tmp_path, ["sub/a.png", "sub/b.png", "sub/B.png"], PNG)
    (tmp_path / "sub/a.png.txt").write_text("penny")
    (tmp_path / "sub/b.txt").write_text("small")
    assert caption_of(tmp_path, "sub/a.png").text == "penny"
    assert caption_of(tmp_path, "sub/b.png").file == "sub/b.txt"
    assert caption_of(tmp_path, "sub/B.png").text == ""  # that is the other one's


def test_a_zip_of_pictures_with_any_usual_ending_holds_pictures(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("a.jfif", "b.HEIC", "c.tif", "d.jpg_large", "@eaDir/e.png", "__MACOSX/._f.png"):
            archive.writestr(name, PNG)
    (tmp_path / "set.zip").write_bytes(packed.getvalue())
    assert zip_state(tmp_path / "set.zip").pictures == 4
