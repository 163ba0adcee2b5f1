"""The bundled world: drawings show their tags, the tokenizer reads anything, the base draws what is asked."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from random import Random

import numpy as np
import pytest

from lorapipe.pocket import BASE, CLIP
from lorapipe.pocket.world import ATTRIBUTES, TAGS, Creature, caption, sample, tags

PLAIN = Creature(*(values[0] for values in ATTRIBUTES.values()))


def pixels(creature: Creature) -> np.ndarray:
    from lorapipe.pocket.draw import draw

    return np.asarray(draw(creature)).astype(int)


# ------------------------------------------------------------------ the world


def test_a_seed_gives_the_same_creature_picture_and_caption() -> None:
    first, second = sample(Random(7)), sample(Random(7))
    assert first == second
    assert caption(first, Random(3)) == caption(second, Random(3))
    assert (pixels(first) == pixels(second)).all()


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_tag_is_visible(attribute: str) -> None:
    """Between any two values of an attribute at least 12 of 4096 pixels differ by 32 of 255 levels."""
    drawn = [pixels(replace(PLAIN, **{attribute: value})) for value in ATTRIBUTES[attribute]]
    for place, first in enumerate(drawn):
        for second in drawn[:place]:
            assert (abs(first - second).max(axis=2) > 32).sum() >= 12


def test_tags_name_every_attribute_once() -> None:
    assert tags(PLAIN) == [values[0] for values in ATTRIBUTES.values()]
    assert len(TAGS) == len(set(TAGS)) == sum(map(len, ATTRIBUTES.values()))


def test_captions_are_shuffled_and_often_short() -> None:
    rng = Random(0)
    captions = [caption(PLAIN, rng).split(", ") for _ in range(200)]
    assert {len(tokens) for tokens in captions} >= set(range(1, 11))
    assert len({tokens[0] for tokens in captions}) > 10


# ------------------------------------------------------------------ the examples


@pytest.mark.parametrize("name", ["penny", "neon", "lantern"])
def test_the_committed_examples_are_what_the_code_draws(name: str) -> None:
    from PIL import Image

    from lorapipe.pocket.examples import held_back, training

    folder = Path(__file__).parents[1] / "pipelines" / "examples"
    for place, made in ((folder / name, training(name)), (folder / "held-back" / name, held_back(name))):
        files = sorted(place.glob("*.png"))
        assert len(files) == len(made)
        for file, (picture, text) in list(zip(files, made, strict=True))[::5]:
            drawn, committed = np.asarray(picture).astype(int), np.asarray(Image.open(file)).astype(int)
            assert abs(drawn - committed).max() <= 8  # Pillow's rasteriser may move between releases
            assert file.with_suffix(".txt").read_text(encoding="utf-8").strip() == text


def test_held_back_pictures_are_no_training_pictures() -> None:
    from lorapipe.pocket.examples import EXAMPLES, held_back, training

    for name in EXAMPLES:
        trained = {picture.tobytes() for picture, _ in training(name)}
        assert not trained & {picture.tobytes() for picture, _ in held_back(name)}


def test_penny_shows_every_tag_at_least_twice() -> None:
    from lorapipe.pocket.examples import training

    said = [text.split(", ") for _, text in training("penny")]
    for attribute in ("hat", "held", "background"):
        for tag in ATTRIBUTES[attribute]:
            assert tag in ("no hat", "empty hands") or sum(tag in tags for tags in said) >= 2


def test_the_trigger_words_mean_nothing_to_the_base() -> None:
    from lorapipe.pocket import concept_lantern, style_neon, subject_penny

    triggers = {subject_penny.TRIGGER, style_neon.TRIGGER, concept_lantern.TRIGGER}
    assert not triggers & {word for tag in TAGS for word in tag.split()}


@pytest.mark.parametrize("part", ["head", "tail", "legs", "plates", "diamond", "scarf"])
def test_penny_can_be_drawn_without_any_part(part: str) -> None:
    from lorapipe.pocket import subject_penny
    from lorapipe.pocket.pen import Pen

    pose = subject_penny.pose(Random(3), "meadow")
    whole, lacking = (np.asarray(subject_penny.draw(pose, Pen(), without)).astype(int) for without in ((), (part,)))
    assert (abs(whole - lacking).max(axis=2) > 32).sum() >= 12


# ------------------------------------------------------------------ the tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(BASE / "tokenizer", local_files_only=True)


def test_every_word_of_the_world_is_one_token(tokenizer) -> None:
    for word in {word for tag in TAGS for word in tag.split()}:
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


@pytest.mark.parametrize("text", ["penny", "zqx, 1girl", "돌고래", "naïve 🎈", "a redder balloonist"])
def test_any_other_text_is_spelled_without_loss(tokenizer, text: str) -> None:
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids[1:-1]
    spelled = tokenizer.decode(ids, skip_special_tokens=True)
    assert spelled.replace(" ", "") == text.replace(" ", "")


def test_the_committed_tokenizer_is_what_the_code_builds(tmp_path: Path) -> None:
    from tools.pocket.tokenizer import write_tokenizer

    write_tokenizer(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        for folder in (BASE / "tokenizer", CLIP):
            assert (folder / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8")


# ------------------------------------------------------------------ what ships


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_the_folders_are_small_enough_to_ship() -> None:
    assert size(BASE) + size(CLIP) <= 20_000_000


def test_weights_are_fp16_under_their_published_names() -> None:
    from safetensors import safe_open

    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        with safe_open(BASE / f"{part}.safetensors", "pt") as file:
            keys = list(file.keys())
            assert {file.get_slice(key).get_dtype() for key in keys} == {"F16"}
    assert all(key.startswith("text_model.") for key in keys)


def test_samples_show_what_was_asked() -> None:
    from tools.pocket.clip import attribute_accuracy
    from tools.pocket.clip_score import load_base, load_clip, pictures

    rng = Random(12345)
    asked = [sample(rng) for _ in range(4)]
    drawn = pictures(load_base(BASE), [", ".join(tags(creature)) for creature in asked])
    accuracy = attribute_accuracy(load_clip(CLIP), drawn, asked)
    assert accuracy["colour"] >= 0.75 and accuracy["background"] >= 0.75
    assert sum(accuracy.values()) / len(accuracy) >= 0.75


def test_unknown_words_do_no_harm() -> None:
    from tools.pocket.clip_score import load_base, pictures

    plain, odd, other = pictures(
        load_base(BASE), ["red, round body, meadow", "zqx penny, red, round body, meadow", "blue, tall body, night sky"]
    )
    assert (plain - odd).abs().mean() < (plain - other).abs().mean()


def rendered(pictures: list):
    from tools.pocket.pictures import to_tensor

    return to_tensor(np.stack([np.asarray(picture) for picture in pictures]))


def test_the_autoencoder_keeps_what_it_has_never_seen() -> None:
    """In dB: of the world, of subjects outside it, and of the examples."""
    from lorapipe.pocket.draw import draw
    from lorapipe.pocket.examples import EXAMPLES
    from tools.pocket.clip_score import load_base
    from tools.pocket.subjects import draw_subject
    from tools.pocket.vae import psnr

    rng, vae = Random(5), load_base(BASE).vae
    assert psnr(vae, rendered([draw(sample(rng)) for _ in range(12)])) >= 29.5
    assert psnr(vae, rendered([draw_subject(9_000_000 + number)[0] for number in range(24)])) >= 28
    for picture in EXAMPLES.values():
        drawn = [picture(rng, rng.choice(ATTRIBUTES["background"]), (64, 64))[0] for _ in range(12)]
        assert psnr(vae, rendered(drawn)) >= 27


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_classifier_of_drawings_tells_whole_subjects_from_others() -> None:
    from tools.pocket.drawing_classifier import accuracy, labelled, train_classifier

    *_, (_, _, model) = train_classifier(labelled("lantern", 500, 1), 100)
    assert accuracy(model, labelled("lantern", 100, 2))["whole"] >= 0.7


@pytest.mark.parametrize("example", ["penny", "neon"])
def test_the_clip_knows_what_captions_of_the_examples_say(example: str) -> None:
    """The tag that a caption has is the best of its kind: on a body outside the world, and in another style."""
    from tools.pocket.clip_score import said_tags

    shares = said_tags(CLIP, example, 225)
    assert min(shares[name] for name in ("background", "hat", "held")) >= 0.9 and shares["eyes"] >= 0.75, shares


# ------------------------------------------------------------------ training


def test_pools_hold_the_tokens_that_the_tokenizer_gives(tmp_path: Path) -> None:
    from tools.pocket.pools import encoded
    from tools.pocket.tokenizer import write_tokenizer

    tokenizer = write_tokenizer(tmp_path)
    for words in (["red", "flower pot", "zqx wv"], [], ["holding balloon"] * 40):
        ids = tokenizer(", ".join(words), padding="max_length", truncation=True).input_ids
        assert encoded(words) == ids


def test_a_subject_has_its_looks_and_each_view_its_place() -> None:
    from tools.pocket.subjects import draw_subject

    (first, one), (again, _), (other, two) = draw_subject(11), draw_subject(11), draw_subject(11, view=1)
    assert (np.asarray(first) == np.asarray(again)).all() and (np.asarray(first) != np.asarray(other)).any()
    assert one.words == two.words and one.tags.get("colour") == two.tags.get("colour")


@pytest.mark.slow
def test_each_training_takes_steps_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.pocket import clip, pools, unet, vae
    from tools.pocket.tokenizer import write_tokenizer

    for kind, count in (("world", 12), ("subjects", 8), ("pairs", 4)):
        monkeypatch.setitem(pools.COUNTS, kind, count)
    for each in (vae, unet):
        monkeypatch.setattr(each, "BATCH", 4)
    words = write_tokenizer(tmp_path / "tokenizer")
    assert [step for step, *_ in vae.train_vae(tmp_path, cycles=(2,))] == [1, 2]
    autoencoder = vae.finished_vae(tmp_path)
    assert [step for step, *_ in unet.train_unet(tmp_path, autoencoder, words, cycles=(1,))] == [1]
    assert [step for step, *_ in unet.train_unet(tmp_path, autoencoder, words, cycles=(1, 1))] == [2]
    first = replace(clip.FROM_NOTHING, cycles=(1,), batch=4)
    for _, _, run in clip.train_clip(tmp_path, words, course=first):
        trained = run.average.clip
    few = {"dim": 4, "world": 12, "subjects": 8, "pairs": 4}
    further = replace(clip.IN_THE_DARK, cycles=(1, 1), batch=4, counts=few)
    assert [step for step, *_ in clip.train_clip(tmp_path, words, course=further, start=trained)] == [1, 2]


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch import nn

    from tools.pocket import train

    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 3)

    def run(checkpoint: Path, stop: int) -> train.TrainingRun:
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        training = train.TrainingRun(model, (4, 6), 1e-2, checkpoint)

        for step, _ in training.run(lambda: model(torch.randn(8, 4)).square().mean()):
            if step == stop:
                break
        return training

    whole = run(tmp_path / "whole.pt", 10)
    run(tmp_path / "cut.pt", 5)
    resumed = run(tmp_path / "cut.pt", 10)
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, resumed.average.state_dict()[name])
        assert torch.equal(tensor, train.average_in(tmp_path / "cut.pt", "vae")[name])
    assert not list(tmp_path.glob("*.part"))


def test_a_foreign_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    from torch import nn

    from lorapipe.errors import LorapipeError
    from tools.pocket.train import TrainingRun

    (tmp_path / "other.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(LorapipeError, match="Delete it"):
        TrainingRun(nn.Linear(2, 2), [1], 1e-3, tmp_path / "other.pt").resume()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, tools.pocket.__main__; assert not {'torch', 'PIL', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_the_factory_is_no_part_of_what_is_installed() -> None:
    root = Path(__file__).parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    installed = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    assert not any(fnmatch("tools.pocket", pattern) for pattern in installed)
    assert not {file.stem for file in (root / "tools" / "pocket").glob("[a-z]*.py")} & {
        file.stem for file in (root / "lorapipe" / "pocket").glob("*.py")
    }
