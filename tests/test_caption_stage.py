"""The caption stage: what becomes of captions, what is cached, what `prepare` makes of it, and what `apply` writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lorapipe.captioning.taggers import Tagging
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Captions, Dataset
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Event, Log
from lorapipe.pocket import examples
from lorapipe.spec import from_dict
from lorapipe.stages import Stage
from lorapipe.training.data import tagged_pictures
from lorapipe.training.data.manifest import Manifest


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawings without captions."""
    folder = tmp_path_factory.mktemp("drawn")
    for number, (picture, _) in enumerate(examples.training("lantern")[:6]):
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture
def pictures(drawn: Path, tmp_path: Path) -> Path:
    """Six drawings: 0 has tags, 1 an empty caption file, the others nothing."""
    folder = tmp_path / "pictures"
    shutil.copytree(drawn, folder)
    (folder / "0.txt").write_text("by hand, meadow\n", encoding="utf-8")
    (folder / "1.txt").write_text("\n", encoding="utf-8")
    return folder


class Ran:
    """A stage's run in folders of its own; the cache is shared."""

    def __init__(self, here: Path, name: str, **settings: Any) -> None:
        contract: type[Stage] = Stage  # type: ignore[type-abstract]
        self.events: list[Event] = []
        out = here / f"out-{len([*here.glob('out-*')])}"
        out.mkdir()
        stage = from_dict(contract, {"uses": name, **settings}, here)
        self.made: Any = stage.run(
            Context(out, here / "resume", here / "cache", self.events.append, lambda: False, "cpu")
        )

    @property
    def told(self) -> str:
        return "\n".join(each.text for each in self.events if isinstance(each, Log))

    @property
    def captions(self) -> dict[str, str]:
        assert isinstance(self.made, Captions)
        folder = self.made.folder
        return {each.relative_to(folder).as_posix(): each.read_text("utf-8").strip() for each in folder.rglob("*.txt")}


def tags(text: str) -> set[str]:
    return {*text.split(", ")}


def test_captions_that_there_are_are_kept_extended_or_replaced(pictures: Path, tmp_path: Path) -> None:
    kept = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket").captions
    replaced = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket", existing="replace").captions
    extended = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket", existing="extend").captions
    assert sorted(kept) == [f"{number}.txt" for number in range(6)]
    assert kept["0.txt"] == "by hand, meadow" and "by hand" not in replaced["0.txt"]
    assert extended["0.txt"].startswith("by hand, meadow") and tags(replaced["0.txt"]) <= tags(extended["0.txt"])
    assert len(extended["0.txt"].split(", ")) == len(tags(extended["0.txt"]))
    assert all(kept[file] == replaced[file] == extended[file] for file in sorted(kept)[1:])
    assert (pictures / "0.txt").read_text() == "by hand, meadow\n" and len([*pictures.iterdir()]) == 8


def test_where_a_caption_comes_from_is_recorded(pictures: Path, tmp_path: Path) -> None:
    ran = Ran(
        tmp_path, "caption", images=str(pictures), tagger="pocket", edits=[{"type": "add_trigger", "trigger": "lumo"}]
    )
    document = json.loads(ran.made.data.read_text("utf-8"))
    assert [each["source"] for each in document["pictures"]] == ["file", *["tagger"] * 5]
    assert document["edits"][0]["changed"] == 6 and len(document["edits"][0]["examples"]) == 3
    scores = document["pictures"][1]["tagged"]
    assert scores and all(0.5 <= score <= 1 for score in scores.values())
    assert "add_trigger: changed 6 of 6 captions" in ran.told


def test_only_new_pictures_are_tagged_again(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"images": str(pictures), "tagger": "pocket"}
    first = Ran(tmp_path, "caption", **settings).captions
    shutil.copy(pictures / "2.png", pictures / "copy.png")
    examples.held_back("lantern")[0][0].save(pictures / "new.png")
    seen: list[str] = []
    tagged = tagged_pictures.PictureTagger._tagged

    def noted(self: Any, model: Any, batch: list[Any]) -> Iterator[tuple[str, Tagging]]:
        seen.extend(each.path for each in batch)
        return tagged(self, model, batch)  # type: ignore[return-value]

    monkeypatch.setattr(tagged_pictures.PictureTagger, "_tagged", noted)
    again = Ran(tmp_path, "caption", **settings)
    assert seen == ["new.png"] and "6 captions of 7 taken from the cache" in again.told
    assert again.captions["copy.txt"] == first["2.txt"]
    Ran(tmp_path, "caption", **{**settings, "tagger": {"type": "pocket", "threshold": 0.9}})
    assert len(seen) == 8, "another threshold gives other captions"


def test_pictures_that_cannot_be_read_are_left_out_and_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    ran = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket")
    assert sorted(ran.captions) == [f"{number}.txt" for number in range(5)]
    assert "1 picture left without a caption: 5.png" in ran.told


def test_two_pictures_of_one_name_have_captions_of_their_own(pictures: Path, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(pictures / "3.png") as image:
        image.convert("RGB").save(pictures / "2.jpg")
    found = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket").captions
    assert {"2.png.txt", "2.jpg.txt"} <= {*found}


def test_captions_in_any_encoding_are_read(pictures: Path, tmp_path: Path) -> None:
    (pictures / "0.txt").write_bytes("고양이, 모자".encode("cp949"))
    ran = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket")
    assert ran.captions["0.txt"] == "고양이, 모자" and "0.txt: is not UTF-8" in ran.told


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "neither a tagger nor edits"),
        ({"existing": "replace", "edits": ["dedupe"]}, "replace needs a tagger"),
        ({"tagger": "pockt"}, "Did you mean 'pocket'"),
    ],
)
def test_a_stage_that_cannot_work_is_refused(
    pictures: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        Ran(tmp_path, "caption", images=str(pictures), **settings)


def test_an_empty_folder_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures found"):
        Ran(tmp_path, "caption", images=str(tmp_path / "empty"), tagger="pocket")


# -------------------------------------------------------------------------------------------------------- in prepare


BASE = {"family": "sd15", "checkpoint": "pocket"}


def manifest(made: Any) -> dict[str, tuple[str, str]]:
    assert isinstance(made, Dataset)
    found = Manifest.load(made.manifest)
    return {each.path: (each.caption, each.caption_from) for each in found.pictures}


def test_prepare_takes_the_captions_of_a_stage_and_edits_them(pictures: Path, tmp_path: Path) -> None:
    captions = Ran(tmp_path, "caption", images=str(pictures), tagger="pocket")
    edits = [{"type": "add_trigger", "trigger": "lumo"}, {"type": "limit", "tags": 3}]
    ran = Ran(
        tmp_path,
        "prepare",
        images=str(pictures),
        base=BASE,
        captions_from=str(captions.made.folder),
        caption_edits=edits,
    )
    found = manifest(ran.made)
    assert found["0.png"] == ("lumo, by hand, meadow", "0.txt")
    assert all(text.split(", ")[0] == "lumo" and len(text.split(", ")) <= 3 for text, _ in found.values())
    assert "caption edit add_trigger: changed 6 of 6 captions" in ran.told


def test_prepare_without_captions_gets_them_from_edits(pictures: Path, tmp_path: Path) -> None:
    edits = [{"type": "add_trigger", "trigger": "lumo"}]
    found = manifest(Ran(tmp_path, "prepare", images=str(pictures), base=BASE, caption_edits=edits).made)
    assert found["0.png"] == ("lumo, by hand, meadow", "0.txt") and found["2.png"] == ("lumo", "edits")


def test_captions_of_other_pictures_are_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "dog.txt").write_text("a dog")
    with pytest.raises(InputError, match="has no caption of the pictures in pictures"):
        Ran(tmp_path, "prepare", images=str(pictures), base=BASE, captions_from=str(tmp_path / "others"))


# --------------------------------------------------------------------------------------------------------- a pipeline

PIPELINE = """stages:
  tags: {uses: caption, images: pictures, tagger: pocket, edits: [{type: add_trigger, trigger: lumo}]}
  dataset:
    uses: prepare
    images: pictures
    captions_from: $tags
    base: {family: sd15, checkpoint: pocket}
"""


@pytest.fixture
def project(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_apply_writes_what_the_stage_made_and_keeps_the_old(
    project: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", "apply", "a.yaml", "--yes"]) == 2
    assert "has not run" in capfd.readouterr().err
    assert main(["run", "a.yaml", "--quiet"]) == 0
    assert main(["log", "tags"]) == 0
    assert "add_trigger: changed 6 of 6 captions" in capfd.readouterr().out
    assert not (pictures / "2.txt").exists()
    assert main(["caption", "apply", "a.yaml"]) == 0
    assert "confirm with --yes" in capfd.readouterr().out and not (pictures / "2.txt").exists()
    assert main(["caption", "apply", "a.yaml", "tags", "--yes"]) == 0
    told = capfd.readouterr().out
    assert "4 new" in told and "2 changed" in told
    assert (pictures / "0.txt").read_text() == "lumo, by hand, meadow\n"
    assert (pictures / "0.txt.bak").read_text() == "by hand, meadow\n"
    assert (pictures / "2.txt").read_text().startswith("lumo, ")
    assert main(["run", "a.yaml", "--quiet"]) == 0, "with the captions in the folder now"
    assert main(["caption", "apply", "a.yaml", "--yes"]) == 0
    assert "nothing to write" in capfd.readouterr().out


@pytest.mark.slow
def test_apply_refuses_a_folder_that_cannot_be_written(
    project: Path, pictures: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "a.yaml", "--quiet", "--only", "tags"]) == 0

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(pictures / "0.txt"))

    monkeypatch.setattr("lorapipe.captioning.caption_files.replacing", refused)
    assert main(["caption", "apply", "a.yaml", "--yes"]) == 1
    assert "0.txt" in capfd.readouterr().err and (pictures / "0.txt").read_text() == "by hand, meadow\n"
