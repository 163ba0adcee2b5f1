"""Paths and other texts of users are valid or refused with a message, in every setting and whatever they contain."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import tiny

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.spec.paths import tidy

TEXT = """\
vars:
  images: photos
stages:
  dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
  penny: {uses: train, dataset: $dataset}
  file: {uses: export, weights: $penny, to: penny.safetensors}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a pipeline and obstacles."""
    folder = tmp_path_factory.mktemp("paths")
    tiny.draw(folder / "photos")
    (folder / "a.yaml").write_text(TEXT, encoding="utf-8")
    (folder / "a file.txt").write_text("", encoding="utf-8")
    if sys.platform != "win32":
        (folder / "ring").symlink_to(folder / "ring")
        (folder / "gone").symlink_to(folder / "nowhere")
    return folder


def complaint(folder: Path, *sets: str) -> str:
    with pytest.raises(InputError) as caught:
        loader.load(folder / "a.yaml", sets)
    [problem] = caught.value.problems
    return str(problem).replace(f"{folder}{os.sep}", "")


PLACES = (
    "dataset.images",
    "vars.images",
    "dataset.base.checkpoint",
    "dataset.masks",
    "penny.start_from",
    "dataset.base.vae",
)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, and names in bytes")


@pytest.mark.parametrize("setting", PLACES)
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("~nobodyhere/x", "there is no user 'nobodyhere' here"),
        ("x" * 300, "is longer than 255 bytes"),
        ("가" * 100, "is longer than 255 bytes"),
        ("photos/" + "y" * 256, "is longer than 255 bytes"),
        ("a/" * 3000, "is 6000 characters long"),
        ("'a file.txt/x'", "does not exist"),
        ('"D:\\train\\new"', "Use single quotes, or /"),
        ('"photos\\new"', "contains a line's end"),
        ('"a\\0b"', "U+0000"),
        pytest.param("ring/x", "cannot be read", marks=POSIX),
        pytest.param("gone", "does not exist", marks=POSIX),
        pytest.param("\udcff", "U+DCFF", marks=POSIX),
    ],
)
def test_a_path_that_cannot_be_is_refused_in_words(place: Path, setting: str, path: str, words: str) -> None:
    if sys.platform == "win32" and path.startswith("가"):
        pytest.skip("names are counted in letters there")
    said = complaint(place, f"{setting}={path}")
    assert said.startswith(f"--set {setting}") and words in said and "Errno" not in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_no_traceback(tmp_path: Path) -> None:
    tiny.draw(tmp_path / "photos")
    (tmp_path / "a.yaml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "closed").mkdir(mode=0)
    assert "cannot be read: Permission denied" in complaint(tmp_path, "vars.images=closed/photos")


@pytest.mark.parametrize(
    "name",
    [
        "~nobodyhere/a.yaml",
        "x" * 300 + ".yaml",
        '"a\\0b"',
        '"a\\tb"',
        "a/../nowhere.yaml",
        ".",
        "photos",
        "''",
        "5",
        "[[a]]",
    ],
)
def test_a_file_that_cannot_be_extended_is_told_in_words(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(place)
    Path("over.yaml").write_text(f"extends: {name}\n", encoding="utf-8")
    assert main(["check", "over.yaml"]) == main(["plan", "over.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("over.yaml:1:") and "/../" not in said.partition("\n")[0]


@pytest.mark.parametrize(
    "setting",
    [
        "grid.prompts.²=1", "dataset.exclude.²=1", "dataset.exclude.٣=1", "dataset.exclude.99999999999999999999=1",
        f"dataset.exclude.{'9' * 5000}=1", f"a.{'a.' * 5000}=1", f"dataset.{'base.' * 40}x=1", "dataset.images=\udcff",
        "\udcff.x=1",
        "dataset.\udcff=1", "dataset.images=[", "dataset.images=`", "dataset.images", "=", ".=", "dataset..x=1",
        "vars.a.b=1",
        "vars.images.0=1", "dataset.base.checkpoint.0=1", "penny.steps=" + "9" * 5000, "penny.batch=1e300",
        "penny.seed=-1e300",
        "penny.steps=1e18", "penny.unet_lr=.nan", "dataset=5", "dataset.uses=[1]", "penny.matrix.adapter.rank=[1]",
        "penny.matrix=$x",
        "dataset.0=1",
        "dataset.base.0=1",
        "penny.adapter.0.0=1",
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_in_words(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    monkeypatch.chdir(place)
    assert main(["check", "a.yaml", "--set", setting]) == main(["plan", "a.yaml", "--set", setting]) == 2
    assert capsys.readouterr().err.startswith("--set ")


@pytest.mark.parametrize("letter", ["\\0", "\\e[31m", "\\b", "\\u202e"])
def test_nothing_that_a_terminal_obeys_is_printed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], letter: str
) -> None:
    monkeypatch.chdir(place)
    for text in (f'"{letter}": 1', f'stages: {{"{letter}": 1}}', TEXT.replace("photos", f'"{letter}"')):
        Path("b.yaml").write_text(text, encoding="utf-8")
        assert main(["check", "b.yaml"]) == 2
        assert all(each.isprintable() or each == "\n" for each in capsys.readouterr().err)


def test_a_file_that_is_none_is_not_opened(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(place)]) == 2
    assert "is a folder, not a pipeline. Name the file in it: " in capsys.readouterr().err
    if sys.platform != "win32":
        os.mkfifo(place / "pipe.yaml")
        for name in (str(place / "pipe.yaml"), "/dev/zero"):
            assert main(["check", name]) == 2
            assert capsys.readouterr().err == f"{name}: is not a regular file. Name a YAML file.\n"


def test_what_comes_from_a_variable_is_told_where_it_is_written(place: Path) -> None:
    folder = place / "vars"
    folder.mkdir()
    (folder / "a.yaml").write_text(TEXT.replace("photos", "phots"), encoding="utf-8")
    assert complaint(folder).startswith("a.yaml:2:3 vars.images, for dataset.images: phots does not exist.")
    said = complaint(folder, "vars.images=pohtos")
    assert said.startswith("--set vars.images, for dataset.images: pohtos does not exist.")
    (folder / "over.yaml").write_text("extends: a.yaml\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.yaml:2:3 vars\.images, for dataset\.images"):
        loader.load(folder / "over.yaml")
    (folder / "a.yaml").write_text(
        'vars: {a: "${b}", b: {family: sd51}}\n'
        + TEXT.partition("\n")[2]
        .replace("  images: photos\n", "")
        .replace("{family: sd15, checkpoint: pocket}", '"${a}"')
        .replace("${images}", ".."),
        encoding="utf-8",
    )
    assert complaint(folder).startswith('a.yaml:1:19 vars.b, for dataset.base: there is no family "sd51".')


def test_a_number_in_quotes_says_so(place: Path) -> None:
    assert complaint(place, "penny.steps='6'").endswith("Remove the quotes: 6.")
    assert complaint(place, "penny.batch='6'").endswith("Remove the quotes: 6.")
    assert complaint(place, "penny.unet_lr='1e-4'").endswith("Remove the quotes: 1e-4.")
    assert complaint(place, "dataset.enable_bucket='true'").endswith("Remove the quotes: true.")
    assert "quotes" not in complaint(place, "penny.batch=six")


def test_a_resolution_may_be_a_list(place: Path) -> None:
    stages = [
        loader.load(place / "a.yaml", [f"dataset.resolution={text}"]).stages
        for text in ("[64, 96]", "64x96", "'64,96'")
    ]
    assert {each["dataset"].resolution.size for each in stages} == {(64, 96)}
    for wrong in ("[64]", "[64, 96, 3]", "[a, b]", "[64, 96.5]", "[true, true]", "[1, 2]"):
        assert complaint(place, f"dataset.resolution={wrong}").startswith("--set dataset.resolution")


@POSIX
def test_paths_are_tidied_where_that_leads_to_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    assert tidy(tmp_path / "a" / ".." / "x") == str(tmp_path / "x")
    assert tidy(tmp_path / "link" / ".." / "x") == str(tmp_path / "link" / ".." / "x")


def test_very_large_numbers_are_refused(place: Path) -> None:
    assert "larger than any number" in complaint(place, "dataset.min_size=99999999999999999999")
    assert "longer than any training" in complaint(place, "penny.steps=10000000000000")
