"""What an evaluation asks for: the trigger word alone, and scenes that the captions taught."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from lorapipe.errors import InputError
from lorapipe.evaluation.nearest_pictures import nearest_pictures
from lorapipe.evaluation.prompts import SCENES, most_rows, prompt_rows, scenes, tag_kinds
from lorapipe.pipeline.loader import load
from lorapipe.pocket import subject_penny
from lorapipe.training.data.trigger_word import shared_tag, trigger_word, without_word

PLACES = ("meadow", "snow", "night sky", "beach")


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = Random(3)
    return [subject_penny.caption(subject_penny.pose(rng, rng.choice(PLACES))) for _ in range(40)]


def test_the_trigger_word_is_a_row_of_its_own_once(captions: list[str]) -> None:
    assert prompt_rows(("penny, meadow",), "penny", captions) == ("penny", "penny, meadow")
    assert prompt_rows(("penny, meadow", " Penny "), "penny", captions) == ("penny, meadow", " Penny ")
    assert prompt_rows(("a house",), "", captions) == ("a house",)


def test_scenes_are_of_what_the_captions_teach(captions: list[str]) -> None:
    counts = Counter(tag for caption in captions for tag in caption.split(", "))
    made = scenes("penny", captions)
    assert len(made) == len(set(made)) == SCENES
    for scene in made:
        trigger, *tags = scene.split(", ")
        assert trigger == "penny" and len(tags) == 3
        assert all(2 <= counts[tag] <= len(captions) - 2 for tag in tags)
    used = Counter(tag for scene in made for tag in scene.split(", ")[1:])
    assert max(used.values()) == 1, "with enough tags of each kind none is asked for twice"


def test_scenes_never_ask_for_two_places_at_once(captions: list[str]) -> None:
    assert {*PLACES} in [{*kind} for kind in tag_kinds(captions, "penny")]
    assert all(sum(place in scene for place in PLACES) <= 1 for scene in scenes("penny", captions))


def test_no_scene_is_in_two_places_though_few_pictures_show_each() -> None:
    """Of 24 pictures in nine places many tags never meet by chance: that makes them no tags of one kind."""
    places = [*PLACES, "forest", "room", "mint background", "cream background", "lavender background"]
    eyes, hats, held = (
        ["big eyes", "small eyes", "closed eyes", "angry eyes"],
        ["bow", "crown", "cap"],
        ["star", "flag"],
    )
    for seed in range(20):
        rng = Random(seed)
        said = [["penny", places[number % 9], rng.choice(eyes)] for number in range(24)]
        captions = [", ".join([*each, *rng.sample(hats, rng.random() < 0.5), *rng.sample(held, rng.random() < 0.4)])
                    for each in said]  # fmt: skip
        for scene in scenes("penny", captions):
            tags = {*scene.split(", ")}
            assert len(tags & {*places}) <= 1 and len(tags & {*eyes}) <= 1, scene


def test_scenes_depend_on_the_captions_alone(captions: list[str]) -> None:
    assert scenes("penny", captions) == scenes("penny", [*captions])
    renamed = [caption.replace("meadow", "desert") for caption in captions]
    assert not any("meadow" in scene for scene in scenes("penny", renamed))


def test_every_training_gets_prompts() -> None:
    """Captions that are sentences, captions that say only the word, and none at all."""
    sentences = [f"penny walks over hill number {number}, and she sings a song about the sea" for number in range(20)]
    assert {*scenes("penny", sentences)} <= {*sentences} or all("penny" in each for each in scenes("penny", sentences))
    assert all(scene.startswith("penny, ") for scene in scenes("penny", ["penny"] * 9))
    assert len({*scenes("", [""] * 9)}) == SCENES
    assert prompt_rows(("auto", "penny, on Mars"), "penny", ["penny"] * 9)[0] == "penny"
    assert len(prompt_rows(("auto", "penny, on Mars"), "penny", ["penny"] * 9)) == most_rows(("auto", "penny, on Mars"))


@pytest.mark.parametrize(
    ("settings", "captions", "word"),
    [
        ({}, ["1girl, anna, red", "1girl, anna, blue"], "anna"),
        ({}, ["red, anna", "blue, anna"], "anna"),
        ({}, ["red", "blue"], ""),
        ({}, [], ""),
        ({"captions": {"prefix": "luna,"}}, ["luna, red", "luna, red"], "luna"),
        ({"captions": {"trigger": "luna"}}, ["luna, red", "luna, blue"], "luna"),
        ({"adapter": {"type": "embedding", "trigger": "mira"}}, ["anna", "anna"], "mira"),
        ({"embedding": {"trigger": "mira"}}, ["anna", "anna"], "mira"),
    ],
)
def test_the_trigger_word_is_the_trainings_own(settings: dict[str, object], captions: list[str], word: str) -> None:
    assert trigger_word(settings, captions) == word


def test_a_slip_in_one_caption_hides_no_trigger_word() -> None:
    assert shared_tag(["Penny, red", *["penny, blue"] * 8, "green"]) == "Penny"
    assert without_word("Penny, red, penny", "penny") == "red"


def test_auto_is_written_as_a_word_and_is_what_nothing_means(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    head = (
        "stages:\n  data: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}\n"
        "  lora: {uses: train, dataset: $data}\n  grid: {uses: evaluate, weights: $lora"
    )
    said = {}
    for name, rest in {"none": "", "word": ", prompts: auto", "among": ", prompts: [auto, penny on Mars]"}.items():
        (tmp_path / f"{name}.yaml").write_text(f"{head}{rest}}}\n")
        said[name] = load(tmp_path / f"{name}.yaml").stages["grid"].prompts  # type: ignore[attr-defined]
    assert said == {"none": ("auto",), "word": ("auto",), "among": ("auto", "penny on Mars")}
    (tmp_path / "other.yaml").write_text(f"{head}, prompts: penny}}\n")
    with pytest.raises(InputError, match="is not a list"):
        load(tmp_path / "other.yaml")


def test_the_nearest_picture_is_the_one_that_was_copied() -> None:
    rng = np.random.default_rng(0)
    training = [rng.normal(size=64).astype(np.float32) for _ in range(8)]
    painted = [rng.normal(size=64).astype(np.float32) for _ in range(5)]
    painted[3] = training[6] + 0.1 * painted[3]
    found = nearest_pictures(training, painted, most=4)
    assert (found[0].training, found[0].painted) == (6, 3) and len(found) == 4
    assert found[0].distance < 0.2 < found[1].distance <= found[2].distance
    assert nearest_pictures(training, [np.zeros(16, dtype=np.float32)]) == [], "sizes that differ are not compared"
