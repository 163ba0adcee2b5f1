"""`lorapipe new`: pipelines that suit the pictures, with a reason on every line; the same pictures give the same file."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.models import Checkpoint, Family
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL
from lorapipe.pipeline import loader
from lorapipe.pipeline.yaml_text import flow
from lorapipe.rules import Facts, Pictures, problems
from lorapipe.spec import from_dict
from lorapipe.stages import Stage
from lorapipe.stages.train import Train
from lorapipe.starting_settings.caption_facts import CaptionFacts
from lorapipe.starting_settings.choices import Choices
from lorapipe.starting_settings.folder_facts import FolderFacts, Group, facts_of
from lorapipe.starting_settings.picture_facts import PictureFacts
from lorapipe.starting_settings.stage_drafts import draft
from lorapipe.starting_settings.wishes import Wishes
from lorapipe.training.training_memory import memory

ROOT = Path(__file__).parents[1]
PENNY = ROOT / "pipelines" / "examples" / "penny"
SCENES = ("meadow", "snow", "city", "beach")
HATS = ("red hat", "blue hat", "no hat")
CATEGORIES: Any = "ABCDEFGHI"
SUBJECTS: Any = ("character", "style", "concept", "vehicle")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another has seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def base_of(family: Any, name: str = "base.safetensors") -> Family:
    """Return a base as if its file were a whole checkpoint."""
    base: Family = object.__new__(family)
    knobs = {"checkpoint": Checkpoint(Path(name)), "vae": None, "config": None, "prediction": "auto"}
    for knob, value in knobs.items():
        object.__setattr__(base, knob, value)
    return base


def folder(count: int = 50, size: tuple[int, int] = (832, 1216), texts: tuple[str, ...] | None = None) -> FolderFacts:
    """Return the facts of a folder of a character with tags."""
    tags = tuple(f"penny, {SCENES[n % 4]}, {HATS[n % 3]}" for n in range(count)) if texts is None else texts
    pictures = {f"{n:03}.jpg": PictureFacts(size) for n in range(count)}
    return FolderFacts(Path("penny"), pictures, CaptionFacts(tags, sum(map(bool, tags))))


def train_of(choices: Choices) -> dict[str, Any]:
    """Return the settings of the drafted training."""
    return next(each for each in draft(choices, Path()).stages if each.uses == "train").plain()


# ------------------------------------------------------------------------------------------------------------ the file


def test_the_file_is_valid_has_reasons_and_is_the_same_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        assert main(["new", str(PENNY), "--to", name]) == 0
    text = Path("a.yaml").read_text("utf-8")
    assert text == Path("b.yaml").read_text("utf-8")
    before = ""
    for line in filter(None, text.splitlines()):
        assert (
            " # " in line or line.startswith("#") or before.lstrip().startswith("#") or line.lstrip().startswith("- ")
        )
        before = line
    capsys.readouterr()
    assert main(["check", "a.yaml"]) == 0
    assert "!" not in capsys.readouterr().out
    stages = loader.load("a.yaml").stages
    assert stages["lora"].captions.keep_tokens == 1  # type: ignore[attr-defined]
    assert all(prompt.startswith("penny, ") for prompt in stages["grid"].prompts)  # type: ignore[attr-defined]


def test_without_a_target_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", str(PENNY)]) == 0
    assert "uses: train" in capsys.readouterr().out


@pytest.mark.parametrize(
    "value", ["true", "a: b", "a #b", "- x", "1", "", "${x}", "$stage", "ünï 'quote\"", "10 epochs", "[x"]
)
def test_texts_are_read_as_they_were_written(value: str) -> None:
    from lorapipe.pipeline.yaml_document import parse

    assert parse(flow([value, {"a": value}]), "x").value == [value, {"a": value}]


def test_what_a_user_named_oddly_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path("${x} & it's #1")
    place.mkdir()
    for n in range(3):
        Image.new("RGB", (600, 600), (80 * n, 20, 20)).save(place / f"{n}.png")
    assert main(["new", str(place), "--to", "a.yaml", "--trigger", "pen: ny${y} #"]) == 0
    stages: Any = loader.load("a.yaml").stages
    assert stages["dataset"].images.path.name == place.name and stages["dataset"].class_word == "pen: ny${y} #"


# -------------------------------------------------------------------------------------------------------- the pictures


def test_it_sees_sizes_captions_copies_transparent_and_grey_pictures(tmp_path: Path) -> None:
    for n, colour in enumerate(("red", "green", "blue", "orange")):
        picture = Image.new("RGB", (300 + 40 * n, 300), "white")
        ImageDraw.Draw(picture).ellipse((20 * n, 20, 150 + 20 * n, 150), fill=colour)
        picture.save(tmp_path / f"{n}.png")
        (tmp_path / f"{n}.txt").write_text(f"penny, {colour}", "utf-8")
    Image.open(tmp_path / "0.png").save(tmp_path / "again.bmp")
    (tmp_path / "again.txt").write_text("penny, red", "utf-8")
    Image.open(tmp_path / "3.png").convert("L").save(tmp_path / "grey.png")
    clear = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((50, 50, 200, 300), fill="purple")
    clear.save(tmp_path / "clear.png")
    first, second = facts_of(tmp_path), facts_of(tmp_path)
    assert first == second, "from the cache"
    assert (len(first.pictures), first.duplicates, first.transparent, first.grey) == (7, 1, 1, 1)
    assert (first.captions.kind, first.captions.shared) == ("tags", "penny")
    Image.new("RGB", (640, 480), "navy").save(tmp_path / "3.png")
    assert facts_of(tmp_path).pictures["3.png"].size == (640, 480), "a changed file is looked at anew"


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("penny, red hat", "penny, blue hat"), "tags"),
        (("a girl named penny stands in a wide meadow", "penny looks up to the bright sky"), "sentences"),
        (("", ""), "none"),
    ],
)
def test_kinds_of_captions(texts: tuple[str, ...], kind: str) -> None:
    facts = folder(len(texts), texts=texts)
    assert facts.captions.kind == kind
    captions = train_of(Choices(facts, Wishes(), base_of(SD15)))["captions"]
    assert bool(captions.get("shuffle")) == (kind == "tags"), "sentences are not shuffled"


def test_a_trigger_that_no_caption_has_is_put_before_all() -> None:
    choices = Choices(folder(), Wishes(trigger="pny"), base_of(SD15))
    assert train_of(choices)["captions"]["prefix"] == "${trigger},"


def test_uneven_subfolders_are_balanced_by_repeats() -> None:
    facts = replace(folder(), groups=(Group("ann", 40, False), Group("bob", 10, False)))
    stages = {each.name: each.plain() for each in draft(Choices(facts, Wishes(), base_of(SD15)), Path()).stages}
    assert stages["ann-pictures"]["repeats"] == 1 and stages["bob-pictures"]["repeats"] == 4
    assert stages["lora"]["more_datasets"] == ["$bob-pictures"]


@pytest.mark.parametrize("place", [".", "10_penny woman", "img/10_penny woman"])
def test_repeats_in_names_of_folders_shorten_the_training(tmp_path: Path, place: str) -> None:
    """As `prepare` reads them, so that as many pictures are shown in all; also in the name of the folder itself."""
    root = tmp_path / ("10_penny woman" if place == "." else "set")
    (root / place).mkdir(parents=True)
    for n in range(8):
        Image.new("RGB", (600, 600), (30 * n, 40, 90)).save(root / place / f"{n}.png")
    stages = {
        each.name: each.plain() for each in draft(Choices(facts_of(root), Wishes(), base_of(SD15)), Path()).stages
    }
    assert stages["lora"]["steps"] == "12 epochs" and stages["dataset"].get("repeats") == (10 if place == "." else None)


def test_what_was_not_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of formats that take long, the pixels of a part are looked at."""
    for n in range(12):
        Image.new("RGB", (200, 200), (20 * n, 40, 90)).save(tmp_path / f"{n}.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "0.png").read_bytes()[:-60])
    assert "looked at" not in facts_of(tmp_path).summary() and facts_of(tmp_path).unreadable == 1
    cut.unlink()
    monkeypatch.setattr("lorapipe.starting_settings.picture_facts.SECONDS", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    facts = facts_of(tmp_path)
    assert 0 < facts.unseen < 12 and f"looked at {12 - facts.unseen} of them" in facts.summary()
    assert any(
        f"only {12 - facts.unseen} of 12 pictures" in note
        for note in draft(Choices(facts, Wishes(), base_of(SD15)), Path()).notes
    )


def test_regularisation_pictures_are_used_with_keywords_and_not_with_captions(tmp_path: Path) -> None:
    for place in ("10_penny woman", "reg"):
        (tmp_path / place).mkdir()
        for n in range(4):
            Image.new("RGB", (300, 300), (60 * n, 40, len(place))).save(tmp_path / place / f"{n}.png")
    facts = facts_of(tmp_path)
    assert (len(facts.pictures), facts.regularisation, facts.captions.kind) == (4, "reg", "folder words")
    assert train_of(Choices(facts, Wishes(), base_of(SD15)))["regularisation"] == "$class"
    tagged = replace(facts, captions=CaptionFacts(("penny, red", "penny, blue") * 2, 4))
    assert "regularisation" not in train_of(Choices(tagged, Wishes(), base_of(SD15)))


# ---------------------------------------------------------------------------------------------------------- the wishes


def test_ranks_rise_with_the_difficulty_and_males_are_half_a_category_harder() -> None:
    ranks = [Choices(folder(), Wishes(difficulty=each), base_of(SD15)).rank()[0] for each in CATEGORIES]
    assert ranks == sorted(ranks) and ranks[0] <= 8 and ranks[-1] >= 192
    male = folder(texts=("penny, 1boy, hat",) * 50)
    for letter in "ABCD":
        wishes = Wishes(difficulty=letter)  # type: ignore[arg-type]
        assert (
            ranks["ABCD".index(letter)]
            < Choices(male, wishes, base_of(SD15)).rank()[0]
            < ranks["ABCD".index(letter) + 1] + 1
        )
    assert Choices(male, Wishes(difficulty="F"), base_of(SD15)).rank()[0] == ranks[5]


@pytest.mark.parametrize(
    ("subject", "difficulty", "quality", "aim", "family"),
    [
        each
        for each in product(SUBJECTS, "ACEG", ("good", "poor"), ("quality", "training-speed"), (SD15, SDXL))
        if each[0] != "vehicle" or each[1] >= "C"
    ],
)
def test_whatever_is_wished_gives_no_alarm(subject: Any, difficulty: Any, quality: Any, aim: Any, family: Any) -> None:
    facts = folder(120)
    wishes = Wishes(subject=subject, difficulty=difficulty, quality=quality, aim=aim)
    choices = Choices(facts, wishes, base_of(family))
    contract: Any = Stage
    train = from_dict(contract, train_of(choices))
    assert isinstance(train, Train)
    captions = tuple(train.captions.canonical(text) for text in facts.captions.texts)
    side = choices.sized[0].resolution
    pictures = Pictures("dataset", 108, 108, (1, 1), ((832, 1216),) * 108, captions, 108, (side, side))
    per_epoch = 108 / train.batch
    known = Facts(choices.base, "base.safetensors", (pictures,), None, round(train.steps.count * per_epoch), per_epoch)
    assert [str(each) for each in problems(train, known)] == []


@pytest.mark.parametrize(("family", "vram"), [(SD15, 4), (SD15, 6), (SD15, 8), (SDXL, 8), (SDXL, 12), (SDXL, 24)])
def test_memory_settings_fit_the_card_by_the_plans_estimate(family: Any, vram: float) -> None:
    choices = Choices(folder(), Wishes(difficulty="G", vram=vram), base_of(family))
    train: Any = from_dict(Stage, train_of(choices))  # type: ignore[type-abstract]
    needs = memory(train, choices.base, choices.sized[0].resolution ** 2)
    card = needs.card() if needs else None
    assert card is not None and card <= vram


def test_a_card_that_is_too_small_is_told() -> None:
    with pytest.raises(InputError, match="no settings fit a card of 4 GB"):
        _ = Choices(folder(), Wishes(vram=4), base_of(SDXL)).sized


@pytest.mark.parametrize(("name", "skip"), [("animefull-latest.ckpt", 2), ("v1-5-pruned.safetensors", 1)])
def test_clip_skip_follows_the_base(name: str, skip: int) -> None:
    assert train_of(Choices(folder(), Wishes(), base_of(SD15, name)))["clip_skip"] == skip


def test_small_pictures_are_not_enlarged_and_large_ones_get_a_little_more() -> None:
    sizes = {
        side: Choices(folder(size=(side, side)), Wishes(), base_of(SD15)).resolution()[0] for side in (300, 520, 1024)
    }
    assert sizes == {300: 320, 520: 512, 1024: 576}


def test_the_base_is_recognised_by_its_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SDXL.tiny(tmp_path / "xl")
    assert main(["new", str(PENNY), "--base", "xl", "--to", "a.yaml"]) == 0
    stages: Any = loader.load("a.yaml").stages
    assert stages["dataset"].base.name == "sdxl" and stages["lora"].text_encoder_lr == 0


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["empty"], "no pictures found"),
        (["gone"], "gone"),
        ([str(PENNY), "--base", "lora.safetensors"], "is a LoRA file, not a base model"),
        ([str(PENNY), "--subject", "charakter"], "--subject: "),
        ([str(PENNY), "--difficulty", "K"], "--difficulty: "),
        ([str(PENNY), "--vram", "much"], "--vram: "),
        ([str(PENNY), "--subject", "vehicle", "--difficulty", "A"], "--difficulty: a vehicle is of C to G"),
        ([str(PENNY), "--to", "there.yaml"], "exists already"),
        ([str(PENNY), "--to", "empty"], "is a folder"),
    ],
)
def test_mistakes_are_named(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("there.yaml").write_text("mine", "utf-8")
    save_file({"lora_unet_x.lora_down.weight": np.zeros((2, 2), np.float32)}, tmp_path / "lora.safetensors")
    assert main(["new", *words]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert Path("there.yaml").read_text("utf-8") == "mine"


def test_force_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("mine", "utf-8")
    assert main(["new", str(PENNY), "--to", "a.yaml", "--force"]) == 0
    assert "uses: train" in Path("a.yaml").read_text("utf-8")


class Terminal(io.StringIO):
    """Answers that are typed on a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_and_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal("concept\nQ\nD\n\n\n8\n"))
    monkeypatch.setattr("sys.stderr", errors)
    assert main(["new", str(PENNY)]) == 0
    said = capsys.readouterr().out
    assert "subject: concept" in said and "--subject concept --difficulty D --vram 8" in said
    asked = errors.getvalue()
    assert "subject [character]:" in asked and asked.count("difficulty [C]:") == 2, "a wrong answer is asked again"
    monkeypatch.setattr("sys.stdin", io.StringIO("style\n"))
    assert main(["new", str(PENNY)]) == 0
    assert "subject: character" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_written_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", str(PENNY), "--to", "a.yaml"]) == 0
    quick = [
        "lora.steps=4",
        "lora.snapshots=1",
        "lora.preview_prompts=[]",
        "grid.steps=2",
        "grid.pictures=1",
        "grid.low_cfg=null",
    ]
    sets = [word for each in quick for word in ("--set", each)]
    assert main(["run", "a.yaml", "--on", "inline", "--quiet", *sets]) == 0
    assert Path("out/penny.safetensors").is_file()


# ------------------------------------------------------------------------------------------------- from one picture


def test_from_one_picture_comes_a_whole_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = PENNY / "penny-11.png"
    assert main(["new", "--from-one", str(one), "--to", str(tmp_path / "my.yaml")]) == 0
    assert sorted(each.name for each in (tmp_path / "my-picture").iterdir()) == ["penny-11.png", "penny-11.txt"]
    pipeline = loader.load(tmp_path / "my.yaml")
    assert [name for name, stage in pipeline.stages.items() if stage.name == "synthesize"] == ["four", "six", "twelve"]
    assert [name for name, stage in pipeline.stages.items() if stage.name == "evaluate"] == ["grid"]
    held_against = {str(getattr(pipeline.stages[name], "against", None)) for name in ("four", "six", "twelve")}
    assert held_against == {"Ref(stage='one', fields=())"}
    assert "penny, meadow, smile" in (tmp_path / "my.yaml").read_text("utf-8")
    assert main(["check", str(tmp_path / "my.yaml"), "--set", "vars.ask=true"]) == 0
    asking = loader.load(tmp_path / "my.yaml", ["vars.ask=true"])
    assert all(getattr(asking.stages[name], "ask", None) for name in ("four", "six", "twelve"))


def test_a_picture_without_a_caption_is_called_by_its_name(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), "red").save(tmp_path / "Mira.png")
    assert main(["new", "--from-one", str(tmp_path / "Mira.png"), "--to", str(tmp_path / "mira.yaml")]) == 0
    assert (tmp_path / "mira-picture" / "Mira.txt").read_text("utf-8") == "Mira\n"
    assert (
        main(["new", "--from-one", str(tmp_path / "Mira.png"), "--to", str(tmp_path / "b.yaml"), "--trigger", "m1"])
        == 0
    )
    assert '"m1, meadow, smile"' in (tmp_path / "b.yaml").read_text("utf-8")


def test_another_base_gets_usual_settings_and_a_path_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SD15.tiny(tmp_path / "bases" / "tiny")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    one = str(PENNY / "penny-11.png")
    assert main(["new", "--from-one", one, "--base", "bases/tiny", "--to", "mine/my.yaml"]) == 0
    text = (tmp_path / "mine" / "my.yaml").read_text("utf-8")
    assert "checkpoint: ../bases/tiny" in text and "unet_lr: 1e-4" in text and "@" not in text
    assert '"penny, portrait, smile"' in text
    loader.load(tmp_path / "mine" / "my.yaml")


def test_what_is_wrong_with_one_picture_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture", "utf-8")
    one, to = str(PENNY / "penny-11.png"), str(tmp_path / "my.yaml")
    wrong = (
        ["--from-one", str(tmp_path / "text.png"), "--to", to],
        ["--from-one", str(tmp_path / "missing.png"), "--to", to],
        ["--from-one", str(tmp_path), "--to", to],
        ["--from-one", one],
        ["--from-one", one, "--to", to, "--subject", "style"],
    )
    for words in wrong:
        assert main(["new", *words]) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "my.yaml").exists()
