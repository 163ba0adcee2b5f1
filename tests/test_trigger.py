"""The trigger word is added to captions that lack it; others are unchanged."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest
from PIL import Image

from lorapipe.cli import main
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.captions import CaptionFiles
from lorapipe.training.data.image_folder import look_through
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings


def dropped(folder: Path, captions: dict[str, str | bytes | None], **others: str) -> Path:
    """Create a folder with a picture for each caption (None: without a caption file) and other files."""
    for name, caption in captions.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 96), f"#{zlib.crc32(name.encode()) % 0xFFFFFF:06x}").save(folder / f"{name}.png")
        if caption is not None:
            (folder / f"{name}.txt").write_bytes(caption if isinstance(caption, bytes) else caption.encode())
    for name, text in others.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def made(folder: Path, *sets: str, pipeline: Path | None = None) -> tuple[Pipeline, list[str]]:
    """Return the pipeline of a dropped folder, and the messages to its user after the one that describes the folder."""
    told: list[str] = []
    order = DroppedFolder(folder, folder.name, folder.parent / "out" / folder.name, folder.name)
    written = write(InboxPipeline(pipeline, sets, WatchSettings(least=1)), order, told.append)
    return written, [line for line in told if not line.startswith("A LoRA of a ")]


def said(folder: Path, pipeline: Pipeline) -> dict[str, str]:
    """Return the caption of each picture in training, from the captions that prepare finds."""
    dataset, lora = pipeline.stages["dataset"], pipeline.stages["lora"]
    found = look_through(folder, dataset.exclude, dataset.caption_extensions)
    captions = CaptionFiles(folder, found.captions, dataset.caption_lines)
    return {
        picture.removesuffix(".png"): lora.captions.varied(
            captions.of(picture, dataset.class_word).text, random.Random(0)
        )
        for picture in found.pictures
    }


def test_a_word_in_another_word_is_not_the_trigger(tmp_path: Path) -> None:
    folder = dropped(tmp_path / "ann", {"0": "planning the night", "1": "a red hat"})
    pipeline, told = made(folder)
    assert pipeline.stages["lora"].captions.prefix == "ann," and pipeline.stages["file"].trigger == "ann"
    assert said(folder, pipeline) == {"0": "ann, planning the night", "1": "ann, a red hat"}
    assert told == ["2 of 2 captions lack the trigger word 'ann'; it is added to them"]


@pytest.mark.parametrize("name", ["README", "notes", "0.png"])
def test_only_captions_of_pictures_count(tmp_path: Path, name: str) -> None:
    folder = dropped(tmp_path / "luna", {"0": "a girl", "1": "a hat"}, **{name: "Pictures of luna"})
    pipeline, _ = made(folder)
    assert said(folder, pipeline) == {"0": "luna, a girl", "1": "luna, a hat"}


def test_a_caption_that_lacks_it_among_others_gets_it(tmp_path: Path) -> None:
    captions = {str(index): "a hat, luna" if index == 3 else f"hat {index}" for index in range(6)}
    folder = dropped(tmp_path / "luna", {**captions, "6": None})
    pipeline, told = made(folder)
    assert told == ["5 of 6 captions lack the trigger word 'luna'; it is added to them"]
    texts = said(folder, pipeline)
    assert texts["3"] == "a hat, luna" and texts["0"] == "luna, hat 0" and texts["6"] == "luna"


def test_captions_that_all_have_it_are_left_alone(tmp_path: Path) -> None:
    folder = dropped(tmp_path / "luna", {"0": "Luna smiles", "1": "a photo of luna", "2": None})
    pipeline, told = made(folder)
    assert said(folder, pipeline) == {"0": "Luna smiles", "1": "a photo of luna", "2": "luna"} and not told
    captions = pipeline.stages["lora"].captions
    assert (captions.prefix, captions.trigger) == ("", "")


@pytest.mark.parametrize(("name", "caption", "text"), [
    ("페니", "페니가 웃는다".encode(), "페니가 웃는다"),
    ("着物", "着物姿の女".encode(), "着物姿の女"),
    ("luna", b"\xff\xfe" + "luna, hat".encode("utf-16-le"), "luna, hat"),
    ("luna", ("hat, " * 4000 + "luna").encode(), "hat, " * 4000 + "luna"),
    ("my_cat", b"a photo of my cat", "a photo of my cat"),
])  # fmt: skip
def test_captions_are_read_as_prepare_reads_them_and_to_their_end(
    tmp_path: Path, name: str, caption: bytes, text: str
) -> None:
    folder = dropped(tmp_path / name, {"0": caption})
    pipeline, told = made(folder)
    assert said(folder, pipeline) == {"0": text} and not told


def test_the_words_of_folders_are_captions_too(tmp_path: Path) -> None:
    folder = dropped(tmp_path / "penny", {"10_smile/0": None, "5_hat, penny/1": None})
    pipeline, told = made(folder)
    assert said(folder, pipeline) == {"10_smile/0": "penny, smile", "5_hat, penny/1": "hat, penny"}
    assert told == ["1 of 2 captions lack the trigger word 'penny'; it is added to them"]


def test_regularisation_captions_neither_count_nor_get_it(tmp_path: Path) -> None:
    folder = dropped(tmp_path / "luna", {"0": "luna", "1": "a hat", "reg/0": "a woman", "reg/1": "lunatic"})
    pipeline, told = made(folder)
    assert told == ["1 of 2 captions lack the trigger word 'luna'; it is added to them"]
    assert pipeline.stages["dataset"].exclude == ("reg",)  # with captions they hold the training back


def test_a_pipeline_of_ones_own_is_told_what_to_write(tmp_path: Path) -> None:
    text = """\
vars: {images: ., name: x, folder: ., trigger: a}
stages:
  dataset: {uses: prepare, images: "${images}", base: {family: sd15, checkpoint: pocket}}
  lora: {uses: train, dataset: $dataset, captions: {CAPTIONS}}
"""
    folder = dropped(tmp_path / "luna", {"0": "luna", "1": "a hat"})
    for captions, words in (
        ("", "nothing adds it to"),
        ('trigger: "${trigger}"', "it is added to"),
        ('prefix: "luna,"', "it is"),
    ):
        (tmp_path / "mine.yaml").write_text(text.replace("CAPTIONS", captions), encoding="utf-8")
        _, told = made(folder, pipeline=tmp_path / "mine.yaml")
        assert len(told) == 1 and "1 of 2 captions lack the trigger word 'luna'" in told[0] and words in told[0]


@pytest.mark.parametrize(
    ("captions", "lack"),
    [("", 2), ("captions: {trigger: luna}", 0), ('captions: {prefix: "luna,"}', 0), ('captions: {suffix: "lunar"}', 2)],
)
def test_a_plan_says_how_many_captions_lack_it(tmp_path: Path, capsys, captions: str, lack: int) -> None:
    dropped(tmp_path / "photos", {"0": "luna", "1": "a hat", "2": "lunatic", "reg/0": "a woman"})
    (tmp_path / "p.yaml").write_text(
        f"""\
vars: {{images: photos}}
stages:
  dataset: {{uses: prepare, images: "${{images}}", exclude: [reg], base: {{family: sd15, checkpoint: pocket}}}}
  women: {{uses: prepare, images: photos/reg, base: {{family: sd15, checkpoint: pocket}}}}
  lora: {{uses: train, dataset: $dataset, regularisation: $women, {captions}}}
  grid: {{uses: evaluate, weights: $lora, prompts: [luna]}}
  file: {{uses: export, weights: $grid.best, to: out/luna.safetensors, trigger: luna}}
""".replace(", }", "}"),
        encoding="utf-8",
    )
    assert main(["plan", str(tmp_path / "p.yaml")]) == 0
    out = capsys.readouterr().out
    said = "2 of 3 captions in photos lack the trigger word 'luna'"
    assert (said in " ".join(out.split())) == bool(lack) and "in reg lack" not in out


def test_a_run_says_it_before_anything_is_made(tmp_path: Path, capsys) -> None:
    photos = dropped(tmp_path / "photos", {"0": "luna", "1": "a hat", "2": "lunatic"})
    for picture in photos.glob("*.png"):
        picture.write_bytes(b"no picture, so the run ends soon")
    (tmp_path / "p.yaml").write_text(
        """\
stages:
  dataset: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}
  lora: {uses: train, dataset: $dataset}
  file: {uses: export, weights: $lora, to: out/luna.safetensors, trigger: luna}
  again: {uses: export, weights: $lora, to: out/again.safetensors, trigger: luna}
""",
        encoding="utf-8",
    )
    assert main(["run", str(tmp_path / "p.yaml")]) == 2
    out = " ".join(capsys.readouterr().out.split())
    said = "! file 2 of 3 captions in photos lack the trigger word 'luna'"
    assert said in out and out.index(said) < out.index("▸ dataset") and out.count("lack the trigger") == 1


# ------------------------------------------------------------------------------------------------------------- the knob


@pytest.mark.parametrize(
    ("knobs", "caption", "text"),
    [
        ({}, "a hat", "penny, a hat"),
        ({}, "a hat on Penny", "a hat on Penny"),
        ({}, "", "penny"),
        ({}, "pennyroyal", "penny, pennyroyal"),
        ({"prefix": "photo of penny,"}, "a hat", "photo of penny, a hat"),
        ({"separator": ";"}, "a hat", "penny; a hat"),
        ({"wildcards": True}, "{penny|penny}, hat", "penny, hat"),
        ({"shuffle": True, "keep_tokens": 2}, "a hat", "penny, a hat"),
        ({"keep_separator": "|||"}, "smile ||| hat", "penny, smile, hat"),
        ({"dropout": 0.0, "suffix": "best"}, "a hat", "penny, a hat best"),
    ],
)
def test_it_is_put_before_captions_that_lack_it(knobs: dict[str, object], caption: str, text: str) -> None:
    assert Captioning(trigger="penny", **knobs).varied(caption, random.Random(0)) == text


def test_each_line_is_a_caption_of_its_own() -> None:
    captioning = Captioning(trigger="penny")
    texts = {captioning.varied("penny, hat\nsmile", random.Random(seed)) for seed in range(20)}
    assert texts == {"penny, hat", "penny, smile"}
