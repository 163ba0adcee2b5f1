"""Taggers: the WD14 layout in all its forms, CLIP, models of transformers, and the pocket tagger, against ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lorapipe import pocket
from lorapipe.captioning.taggers import LoadedTagger, Tagger, _onnx_session
from lorapipe.captioning.taggers._wd14_model import squared
from lorapipe.errors import InputError, LorapipeError
from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES, sample
from lorapipe.spec import from_dict
from tools.pocket.onnx_writer import Graph

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def tagger(kind: str, **settings: Any) -> Tagger:
    contract: type[Tagger] = Tagger  # type: ignore[type-abstract]
    return from_dict(contract, {"type": kind, **settings}, Path())


def tagged(loaded: LoadedTagger, *pictures: Image.Image) -> list[str]:
    return [each.caption for each in loaded.tag([loaded.prepare(picture) for picture in pictures])]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, colour)


ROWS = ["0,blue_sky,0,9", "1,green_(grass),0,9", "2,red_sun,4,9", "3,sensitive,9,9"]
"""The tags of `colour_tagger`: two general ones, a character, a rating."""


def colour_tagger(
    folder: Path, rows: list[str] = ROWS, *, planes: bool = False, logits: bool = False, side: Any = 8
) -> Path:
    """Write a WD14 folder whose tags are the mean blue, green and red of a picture; the rating is always sure.

    Its weights are for blue, green, red, the order of channels in which WD14's taggers take pictures.
    """
    folder.mkdir(exist_ok=True)
    axes = ["batch", 3, side, side] if planes else ["batch", side, side, 3]
    graph = Graph("colours", ("pixels", axes), ("tags", ["batch", len(rows)]))
    name = "pixels" if planes else graph.node("Transpose", ["pixels"], perm=[0, 3, 1, 2])
    name = graph.node("Flatten", [graph.node("GlobalAveragePool", [name])], axis=1)
    weights = np.zeros((3, len(rows)), np.float32)
    weights[:3, :3] = np.eye(3) * 16 / 255
    bias = np.full(len(rows), -8, np.float32)
    bias[3:] = 8
    name = graph.node("Add", [graph.node("MatMul", [name, graph.constant(weights)]), graph.constant(bias)])
    graph.node("Identity" if logits else "Sigmoid", [name], output="tags")
    (folder / "model.onnx").write_bytes(graph.model("a test"))
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *rows]) + "\n", encoding="utf-8")
    return folder


# ------------------------------------------------------------------------------------------------- the WD14 layout


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("logits", [False, True])
def test_channels_layout_and_logits_are_read_from_the_model(tmp_path: Path, planes: bool, logits: bool) -> None:
    folder = colour_tagger(tmp_path / "a", planes=planes, logits=logits)
    loaded = tagger("wd14", folder=str(folder)).load("cpu")
    assert tagged(loaded, *map(plain, COLOURS.values())) == ["blue sky", "green (grass)", "red sun"]


def test_ratings_are_dropped_and_thresholds_are_those_of_the_kind(tmp_path: Path) -> None:
    folder = colour_tagger(tmp_path / "a")
    half = plain((135, 135, 135))  # 0.62 for each colour
    assert tagged(tagger("wd14", folder=str(folder)).load("cpu"), half) == ["blue sky, green (grass)"]
    strict = tagger("wd14", folder=str(folder), threshold=0.7, character_threshold=0.6, spaces=False)
    assert tagged(strict.load("cpu"), half) == ["red_sun"]
    [found] = (loaded := tagger("wd14", folder=str(folder), threshold=0).load("cpu")).tag([loaded.prepare(half)])
    assert found.scores == pytest.approx({"blue sky": 0.615, "green (grass)": 0.615}, abs=0.01)


def test_channels_may_be_told_otherwise(tmp_path: Path) -> None:
    loaded = tagger("wd14", folder=str(colour_tagger(tmp_path / "a")), channels="rgb").load("cpu")
    assert tagged(loaded, plain(COLOURS["red"])) == ["blue sky"]


def test_characters_come_first_then_the_surest(tmp_path: Path) -> None:
    folder = colour_tagger(tmp_path / "a")
    loaded = tagger("wd14", folder=str(folder), character_threshold=0.5).load("cpu")
    assert tagged(loaded, plain((150, 200, 255))) == ["red sun, blue sky, green (grass)"]


def test_a_picture_of_any_shape_is_padded_with_white_and_not_squeezed(tmp_path: Path) -> None:
    found = np.asarray(squared(plain((0, 0, 0), (40, 20)), 8))
    assert found.shape == (8, 8, 3)
    assert (found[2:6] == 0).all() and (found[:2] == 255).all() and (found[6:] == 255).all()
    loaded = tagger("wd14", folder=str(colour_tagger(tmp_path / "a", side="side"))).load("cpu")
    assert loaded.prepare(plain((0, 0, 0), (3000, 10))).shape == (448, 448, 3), "a model that does not say takes 448"


def test_commas_in_a_tag_do_not_divide_it(tmp_path: Path) -> None:
    rows = ['0,"blue, sky",0,9', *ROWS[1:]]
    loaded = tagger("wd14", folder=str(colour_tagger(tmp_path / "a", rows))).load("cpu")
    assert tagged(loaded, plain(COLOURS["blue"])) == ["blue sky"]


def test_a_hundred_thousand_tags_are_no_trouble(tmp_path: Path) -> None:
    rows = [*ROWS[:3], *(f"{number},tag_{number},0,1" for number in range(3, 100_000))]
    loaded = tagger("wd14", folder=str(colour_tagger(tmp_path / "a", rows)), threshold=0.9999).load("cpu")
    assert tagged(loaded, plain(COLOURS["blue"])) == [""]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "selected_tags.csv").unlink(), "has no selected_tags.csv"),
        (lambda folder: (folder / "model.onnx").rename(folder / "wd.onnx"), "There is wd.onnx; rename it"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_before_it_is_loaded(tmp_path: Path, damage: Any, said: str) -> None:
    folder = colour_tagger(tmp_path / "a")
    damage(folder)
    with pytest.raises(InputError, match=said):
        tagger("wd14", folder=str(folder))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: colour_tagger(folder, ROWS[:3]).joinpath("selected_tags.csv").write_text(
            "\n".join(["tag_id,name,category,count", *ROWS])), "3 numbers, and selected_tags.csv has 4 tags"),
        (lambda folder: (folder / "selected_tags.csv").write_text("id,tag\n0,x\n"), "has no column category and name"),
        (lambda folder: (folder / "selected_tags.csv").write_text("name,category\nx,none\n"), "'none' is not the number"),
        (lambda folder: (folder / "selected_tags.csv").write_bytes(b"name,category\n\xff\xfe,0\n"), "not UTF-8"),
        (lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-90]), "cannot be loaded"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no model at all"), "cannot be loaded"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), "cannot be loaded"),
        (lambda folder: _with_input(folder, ["batch", 8, 16, 3]), "takes pictures of 16 x 8 pixels"),
        (lambda folder: _with_input(folder, ["batch", 8, 8, 4]), "an input of shape . x 8 x 8 x 4"),
        (lambda folder: _with_input(folder, ["batch", 300]), "an input of shape . x 300"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_tagger_is_refused_with_the_reason(tmp_path: Path, damage: Any, said: str) -> None:
    folder = colour_tagger(tmp_path / "a")
    damage(folder)
    with pytest.raises(InputError, match=said):
        tagger("wd14", folder=str(folder)).load("cpu")


def _with_input(folder: Path, axes: list[Any]) -> None:
    graph = Graph("another", ("pixels", axes), ("tags", ["batch", 4]))
    graph.node("Flatten", ["pixels"], output="tags", axis=1)
    (folder / "model.onnx").write_bytes(graph.model("a test"))


def test_without_onnxruntime_a_larger_model_says_what_to_install(tmp_path: Path) -> None:
    folder = colour_tagger(tmp_path / "a")
    graph = Graph("another", ("pixels", ["batch", 8, 8, 3]), ("tags", ["batch", 4]))
    graph.node("Gelu", ["pixels"], output="tags")
    (folder / "model.onnx").write_bytes(graph.model("a test"))
    with pytest.raises(LorapipeError, match="pip install onnxruntime"):
        _onnx_session._by_torch(folder / "model.onnx", "cpu")


@pytest.mark.parametrize("kind", ["pocket", "colours"])
def test_our_reader_of_small_models_agrees_with_onnxruntime(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnxruntime")
    file = (pocket.TAGGER if kind == "pocket" else colour_tagger(tmp_path / "a")) / "model.onnx"
    session, ours = _onnx_session.open_onnx(file, "cpu"), _onnx_session._by_torch(file, "cpu")
    assert (session.shape, session.outputs, session.half) == (ours.shape, ours.outputs, ours.half)
    pictures = np.random.default_rng(0).integers(0, 256, (3, *session.shape[1:])).astype(np.float32)
    np.testing.assert_allclose(session.run(pictures), ours.run(pictures), atol=1e-4)


# ------------------------------------------------------------------------------------------------------ the pocket


def test_the_pocket_tagger_is_small_and_knows_the_world() -> None:
    assert sum(file.stat().st_size for file in pocket.TAGGER.iterdir()) <= 2_000_000
    rng, right = Random("unseen by the tagger"), dict.fromkeys(ATTRIBUTES, 0)
    creatures = [sample(rng) for _ in range(300)]
    pictures = [draw(each, Pen(128, 128)) for each in creatures]
    loaded = tagger("pocket").load("cpu")
    for creature, text in zip(creatures, tagged(loaded, *pictures), strict=True):
        said = {*text.split(", ")}
        for name, values in ATTRIBUTES.items():
            right[name] += said & {*values} == {getattr(creature, name)}
    shares = {name: count / 300 for name, count in right.items()}
    assert sum(shares.values()) / len(shares) >= 0.95, shares


# -------------------------------------------------------------------------------------------------------- CLIP


def test_clip_takes_the_likeliest_of_each_kind() -> None:
    kinds = {"place": [*ATTRIBUTES["background"]], "head": [*ATTRIBUTES["hat"]]}
    clip = tagger("clip", folder=str(pocket.CLIP), tags=kinds).load("cpu")
    rng = Random(5)
    creatures = [sample(rng) for _ in range(20)]
    found = tagged(clip, *(draw(each) for each in creatures))
    right = [text == f"{each.background}, {each.hat}" for text, each in zip(found, creatures, strict=True)]
    assert sum(right) >= 18, found


def test_clip_says_nothing_of_a_kind_where_it_is_unsure() -> None:
    sure = tagger("clip", folder=str(pocket.CLIP), tags={"place": ["meadow", "beach"]}, threshold=1).load("cpu")
    assert tagged(sure, plain((128, 128, 128))) == [""]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tags": {}}, "no kinds of tags"),
        ({"tags": {"place": ["meadow"]}}, "always the same"),
        ({"tags": {"a": ["b", "c"]}, "prompt": "a photo"}, "has no {} for the tag"),
    ],
)
def test_clip_without_a_choice_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tagger("clip", folder=str(pocket.CLIP), **settings)


# -------------------------------------------------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BLIP that sees a cat in everything."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "photo", "of", "cat", "dog", "house", ","]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast.from_pretrained(folder, bos_token="[DEC]")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(words), "encoder_hidden_size": 16, "max_position_embeddings": 64,
            "bos_token_id": 5, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}  # fmt: skip
    torch.manual_seed(1)
    config = BlipConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=8)
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        model.text_decoder.cls.predictions.decoder.bias[words.index("cat")] = 100.0
    model.save_pretrained(folder)
    processor = BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), tokenizer)
    processor.save_pretrained(folder)
    return folder


def test_an_image_to_text_folder_captions_in_batches(blip: Path) -> None:
    pictures = [plain(colour, (20 + number, 16)) for number, colour in enumerate(COLOURS.values())]
    loaded = tagger("transformers", folder=str(blip), most_tokens=6).load("cpu")
    found = tagged(loaded, *pictures)
    assert len(found) == 3 and all({*text.split()} == {"cat"} for text in found), found
    assert found == [text for picture in pictures for text in tagged(loaded, picture)], "the same alone"


def test_a_prompt_begins_the_caption_and_is_not_repeated(blip: Path) -> None:
    loaded = tagger("transformers", folder=str(blip), prompt="a photo of", most_tokens=6).load("cpu")
    [text] = tagged(loaded, plain(COLOURS["red"]))
    assert {*text.split()} == {"cat"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "does not say which model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, blip: Path, damage: Any, said: str) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(blip, folder)
    damage(folder)
    with pytest.raises(InputError, match=said):
        tagger("transformers", folder=str(folder))


def test_a_model_of_another_kind_is_refused_and_no_code_of_it_is_run(tmp_path: Path, blip: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(blip, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForVision2Seq": "mine.Mine", "AutoConfig": "mine.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("import pathlib\npathlib.Path(__file__).with_name('run').touch()\n")
    with pytest.raises(InputError, match="cannot be loaded as an image-to-text model"):
        tagger("transformers", folder=str(folder)).load("cpu")
    assert not (folder / "run").exists()
