"""An inbox with a tagger: folders without captions get them, others keep theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorapipe.captioning.taggers.pocket import PocketTags
from lorapipe.errors import InputError
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pocket import examples
from lorapipe.stages.caption import Caption
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, check, write
from lorapipe.watch.settings import watching

SETS = ["watch.captioning.tagger=pocket", "watch.captioning.edits=[{type: remove, tags: [plain]}]"]


def written(tmp_path: Path, *captions: str, sets: list[str] = SETS) -> Pipeline:
    """Return the pipeline of a dropped folder with three pictures and these captions."""
    folder = tmp_path / "penny, the dragon"
    folder.mkdir()
    for number, (picture, _) in enumerate(examples.training("penny")[:3]):
        picture.save(folder / f"{number}.png")
    for number, text in enumerate(captions):
        (folder / f"{number}.txt").write_text(text)
    settings, others = watching(sets, tmp_path)
    (tmp_path / "out").mkdir()
    return write(
        InboxPipeline(None, tuple(others), settings), DroppedFolder(folder, folder.name, tmp_path / "out", "penny")
    )


def test_a_folder_without_captions_is_tagged(tmp_path: Path) -> None:
    pipeline = written(tmp_path)
    stage = pipeline.stages["tags"]
    assert isinstance(stage, Caption) and isinstance(stage.tagger, PocketTags) and stage.edits[0].name == "remove"
    assert pipeline.needs["dataset"] == ("tags",)
    assert pipeline.stages["lora"].captions.trigger == "penny the dragon"  # type: ignore[attr-defined]


@pytest.mark.parametrize("captions", [["penny, smile"], ["", "penny"]])
def test_a_folder_with_captions_keeps_them(tmp_path: Path, captions: list[str]) -> None:
    assert "tags" not in written(tmp_path, *captions).stages


def test_empty_caption_files_are_no_captions(tmp_path: Path) -> None:
    assert "tags" in written(tmp_path, "", "\n").stages


def test_without_the_setting_nothing_is_tagged(tmp_path: Path) -> None:
    assert "tags" not in written(tmp_path, sets=[]).stages


def test_a_folders_own_settings_may_change_the_edits(tmp_path: Path) -> None:
    (tmp_path / "penny, the dragon").mkdir()
    own = tmp_path / "penny, the dragon" / "lorapipe.yaml"
    own.write_text("stages: {tags: {edits: [{type: limit, tags: 3}]}}")
    for number, (picture, _) in enumerate(examples.training("penny")[:3]):
        picture.save(own.with_name(f"{number}.png"))
    settings, others = watching(SETS, tmp_path)
    (tmp_path / "out").mkdir()
    dropped = DroppedFolder(own.parent, own.parent.name, tmp_path / "out", "penny")
    stage = write(InboxPipeline(None, tuple(others), settings), dropped).stages["tags"]
    assert isinstance(stage, Caption) and [each.name for each in stage.edits] == ["limit"]


def test_a_folders_own_tagger_must_lie_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "penny, the dragon").mkdir()
    own = tmp_path / "penny, the dragon" / "lorapipe.yaml"
    own.write_text(f"stages: {{tags: {{tagger: {{type: wd14, folder: {tmp_path}}}}}}}")
    with pytest.raises(InputError, match="outside of the dropped folder"):
        settings, others = watching(SETS, tmp_path)
        (tmp_path / "out").mkdir()
        examples.training("penny")[0][0].save(own.with_name("a.png"))
        dropped = DroppedFolder(own.parent, own.parent.name, tmp_path / "out", "penny")
        write(InboxPipeline(None, tuple(others), settings), dropped)


def test_mistakes_are_named_before_anything_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"watch\.captioning\.tagger: there is no tagger .poket."):
        watching(["watch.captioning.tagger=poket"], tmp_path)
    (tmp_path / "own.yaml").write_text("stages: {a: {uses: prepare, images: '${images}', base: pocket}}")
    settings, _ = watching(SETS, tmp_path)
    with pytest.raises(InputError):
        check(InboxPipeline(tmp_path / "own.yaml", (), settings), tmp_path)
