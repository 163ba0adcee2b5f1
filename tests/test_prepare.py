"""The `prepare` stage on realistic folders."""

from __future__ import annotations

import hashlib
import html
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from corpus.folders import COMPANIONS, PROJECTS, lay
from photographs import AveragingBase, encoded, photograph, real_folder
from PIL import Image

from lorapipe.cli import main
from lorapipe.errors import InputError, Interrupted, LorapipeError
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.digests import Digests
from lorapipe.pipeline.events import Event, Log, Progress
from lorapipe.pipeline.ledger_database import LedgerDatabase
from lorapipe.spec import Source, from_dict, parse_spec, to_dict
from lorapipe.stages import Stage
from lorapipe.stages.prepare import Prepare
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.contact_sheet import SHOWN
from lorapipe.training.data.images import Colour, to_pixels
from lorapipe.training.data.latents import load_latents, picture_view
from lorapipe.training.data.manifest import Manifest

EXAMPLES = Path(__file__).parents[1] / "pipelines/examples"
KEPT = {
    "10_penny cat/utf16.png": ("a page of a book, ｐenny", (704, 320), 10),
    "10_penny cat/한글 이름.png": ("penny cat", (576, 448), 10),
    "10_penny cat/🎉party.png": ("penny cat", (384, 640), 10),
    "Coffee.JPG": ("a cup of coffee, on a table", (640, 384), 1),
    "astronaut.png": ("penny, 1girl, orange suit, smile", (512, 512), 1),
    "empty caption.png": ("", (576, 448), 1),
    "grey.bmp": ("", (512, 512), 1),
    "moving.gif": ("", (512, 512), 1),
    "print.jpg": ("penny, " + "stars, " * 570 + "end", (576, 448), 1),
    "sixteen.png": ("", (512, 512), 1),
    "sub/deep/turned.jpg": ("a cat lying <|startoftext|> down <|endoftext|>", (640, 384), 1),
    "tall.avif": ("", (320, 704), 1),
    "transparent.png": ("", (512, 512), 1),
    "wide.webp": ("", (768, 320), 1),
}
LEFT_OUT = {
    "again/astronaut smaller.jpg": "the same picture as astronaut.png",
    "again/copy of astronaut.png": "the same file as astronaut.png",
    "broken/notes.jpg": "not a picture, but text",
    "broken/nothing.png": "the file is empty",
    "broken/page.webp": "not a picture, but a web page",
    "broken/tiny.png": "40x40 pixels; min_size is 128",
    "broken/truncated.jpg": "the file breaks off",
    "broken/truncated.png": "the file breaks off",
    ".hidden.png": "hidden",
    "readme.md": "not a picture (.md)",
}


class Workplace:
    """Runs prepare as a worker does, and records its messages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.base = AveragingBase.tiny(folder)
        self.cache = folder / "cache"
        self.runs = 0
        self.events: list[Event] = []
        self.stopping: Callable[[], bool] = lambda: False

    def run(self, **knobs: object) -> Dataset:
        self.runs += 1
        out = self.folder / f"out{self.runs}"
        out.mkdir()
        self.events = []
        context = Context(out, self.folder / "resume", self.cache, self.events.append, self.stopping, "cpu")
        return Prepare(images=Source(self.images), base=self.base, **knobs).run(context)

    def warnings(self) -> str:
        return "\n".join(e.text for e in self.events if isinstance(e, Log) and e.level == "warning")


@pytest.fixture
def place(tmp_path):
    return Workplace(tmp_path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return real_folder(tmp_path_factory.mktemp("real"))


@pytest.fixture
def real(place, pictures):
    shutil.copytree(pictures, place.images)
    return place


def state(folder: Path) -> dict[str, tuple[int, str]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(f): (f.stat().st_mtime_ns, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}


def test_a_folder_as_users_have_them(real):
    before = state(real.images)
    dataset = real.run()
    manifest = Manifest.load(dataset.manifest)
    assert {p.path: (p.caption, p.bucket, p.repeats) for p in manifest.pictures} == KEPT
    left_out = json.loads((dataset.manifest.parent / "left_out.json").read_text(encoding="utf-8"))
    assert {file["path"]: file["reason"] for file in left_out} == LEFT_OUT
    assert len(manifest.held_out) == 1 and manifest.pictures_per_epoch == sum(p.repeats for p in manifest.training)
    assert state(real.images) == before
    assert dataset.images == real.images and dataset.base == real.base
    with Image.open(dataset.contact_sheet) as sheet:
        assert sheet.format == "JPEG" and sheet.width < 2000
    page = dataset.page.read_text(encoding="utf-8")
    assert all(html.escape(caption) in page or not caption for caption, _, _ in KEPT.values())
    assert all(path.rpartition("/")[2] in page for path in (*KEPT, *LEFT_OUT))


def test_the_user_is_told_what_was_left_out_and_what_lacks_a_caption(real):
    real.run()
    told = real.warnings()
    for words in (
        "5 pictures left out (unreadable)",
        "astronaut.png: the same file as astronaut.png",
        "1 picture left out (tiny)",
        "1 caption file: empty caption.txt: is empty",
        "7 pictures without any caption",
        "set class_word",
    ):
        assert words in told
    assert len(told.splitlines()) <= 6  # a summary, not a list
    steps = [event for event in real.events if isinstance(event, Progress)]
    assert steps[-1].step == steps[-1].total == len(KEPT) and steps[-1].unit == "pictures encoded"


def test_latents_are_those_of_what_the_trainer_sees(real):
    dataset = real.run()
    manifest = Manifest.load(dataset.manifest)
    for picture in manifest.pictures:
        view = picture_view(dataset.images, picture, manifest.background)
        assert view.size == picture.bucket
        expected = real.base.model.encode_images(to_pixels(view))
        assert torch.equal(load_latents([picture], Cache(real.cache)), expected)


def test_the_manifest_does_not_depend_on_the_place_or_the_time(pictures, tmp_path):
    manifests = []
    for name in ("here", "there/and elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        place = Workplace(tmp_path / name)
        shutil.copytree(pictures, place.images, copy_function=shutil.copy)
        manifests.append(place.run().manifest.read_bytes())
    assert manifests[0] == manifests[1]
    assert str(tmp_path).encode() not in manifests[0]


def test_a_second_run_encodes_nothing_and_does_not_load_the_base(real):
    first = real.run().manifest.read_bytes()
    done, AveragingBase.loads = real.base.model.pictures, 0
    assert real.run().manifest.read_bytes() == first
    assert real.base.model.pictures == done == len(KEPT) and AveragingBase.loads == 0


def test_three_new_pictures_are_three_encodings_and_a_new_caption_is_none(real):
    real.run(held_out=0.0)
    done = real.base.model.pictures
    for number, name in enumerate(("coins", "brick", "gravel")):
        photo = photograph(name).rotate(90 * number, expand=True).crop((10, 10, 300, 290))
        (real.images / f"new {name}.png").write_bytes(encoded(photo, "PNG"))
    real.run(held_out=0.0)
    assert real.base.model.pictures == done + 3
    (real.images / "astronaut.txt").write_text("another caption", encoding="utf-8")
    manifest = Manifest.load(real.run(held_out=0.0).manifest)
    assert real.base.model.pictures == done + 3
    assert next(p for p in manifest.pictures if p.path == "astronaut.png").caption == "another caption"


def test_a_damaged_entry_is_made_again(real):
    manifest = Manifest.load(real.run().manifest)
    done = real.base.model.pictures
    entry = Cache(real.cache).path("latents", manifest.pictures[3].latents)
    intact = entry.read_bytes()
    entry.write_bytes(intact[:-5])
    real.run()
    assert real.base.model.pictures == done + 1 and entry.read_bytes() == intact


@pytest.fixture
def few(place):
    """Four small photographs with captions."""
    place.images.mkdir()
    for name in ("coffee", "chelsea", "rocket", "coins"):
        (place.images / f"{name}.png").write_bytes(encoded(photograph(name), "PNG"))
        (place.images / f"{name}.txt").write_text(name)
    return place


@pytest.mark.parametrize(
    "knobs",
    [{"resolution": Resolution(256, 256)}, {"background": Colour((0, 0, 0))}, {"enable_bucket": False}],
    ids=["size", "background", "cut"],
)
def test_another_size_background_or_cut_is_another_encoding(few, knobs):
    few.run()
    few.run(**knobs)
    assert few.base.model.pictures == 8
    few.run(**knobs)
    few.run()
    assert few.base.model.pictures == 8


def test_another_vae_is_another_encoding_and_another_unet_is_none(few):
    few.run()
    few.base.checkpoint.path.write_bytes(b"merged with another U-Net")
    few.run()
    assert few.base.model.pictures == 4
    few.base.checkpoint.path.write_bytes(b"with another VAE baked in")
    few.base.model.vae.scale.data += 0.25
    few.run()
    assert few.base.model.pictures == 8


def test_a_pipeline_may_name_every_knob(few):
    document = {
        "uses": "prepare",
        "images": "images",
        "base": {"family": "sd15", "checkpoint": "pocket"},
        "resolution": "512x768",
        "bucket_no_upscale": True,
        "background": "#102030",
        "caption_extensions": [".caption"],
        "held_out": 0.2,
    }
    stage = from_dict(Stage, document, few.folder)
    assert isinstance(stage, Prepare) and stage.resolution.size == (512, 768)
    assert from_dict(Stage, to_dict(stage)) == stage


def test_settings_that_do_not_fit_are_refused_together(few):
    with pytest.raises(InputError) as error:
        few.run(min_bucket_reso=1024, max_bucket_reso=256, bucket_reso_steps=24, caption_extensions=("txt",))
    assert {problem.path for problem in error.value.problems} == {
        ("min_bucket_reso",), ("max_bucket_reso",), ("bucket_reso_steps",), ("caption_extensions", 0),
    }  # fmt: skip
    assert all(problem.cure for problem in error.value.problems)


def test_settings_are_held_against_the_base_before_anything_runs(few):
    document = {"uses": "prepare", "images": "images", "base": {"family": "sd15", "checkpoint": "images"}}
    (problem,) = parse_spec(Stage, document, few.folder).problems
    assert problem.path == ("base", "checkpoint") and "diffusers folder" in str(problem)
    document["base"]["checkpoint"] = str(few.base.checkpoint.path)
    (problem,) = parse_spec(Stage, document, few.folder).problems
    assert problem.path == ("base", "checkpoint") and "not a model" in problem.what
    base = SD15(checkpoint=few.base.checkpoint)  # a single file: SD1.x in its own size
    (problem,) = Prepare(images=Source(few.images), base=base, max_bucket_reso=256).problems()
    assert problem.path == ("max_bucket_reso",) and "512" in problem.cure


def test_an_empty_folder_and_one_of_bad_pictures_are_told_plainly(place):
    place.images.mkdir()
    with pytest.raises(InputError, match="no pictures found"):
        place.run()
    (place.images / "a.png").write_bytes(b"")
    (place.images / "b.jpg").write_bytes(b"notes")
    (place.images / "c.png").write_bytes(encoded(Image.new("RGB", (9, 9)), "PNG"))
    with pytest.raises(
        InputError, match=r"3 pictures found, none usable: 1 tiny, 2 unreadable \(a.png: the file is empty;"
    ):
        place.run()
    place.images = place.images / "a.png"
    with pytest.raises(InputError, match="a file, not a folder"):
        place.run()


def test_too_few_usable_pictures_are_told_with_what_is_wrong_with_the_others(real):
    with pytest.raises(
        InputError, match=r"60 pictures needed, 14 usable; left out are 2 duplicate, 1 tiny, 5 unreadable"
    ):
        real.run(min_pictures=60)
    assert real.run(min_pictures=14, exclude=("again", "broken")).images == real.images


def test_stopping_stops_and_what_was_encoded_stays(few):
    few.stopping = lambda: few.base.model.pictures >= 2
    with pytest.raises(Interrupted):
        few.run()
    assert 2 <= few.base.model.pictures < 4
    few.stopping = lambda: False
    few.run()
    assert few.base.model.pictures == 4


def test_a_vae_that_overflows_is_noticed(few):
    few.base.model.vae.scale.data[0] = float("inf")
    with pytest.raises(LorapipeError, match=r"(coffee|chelsea|rocket|coins).png.*NaN"):
        few.run()


def test_a_picture_that_changed_since_is_not_shown_as_the_old_one(few):
    manifest = Manifest.load(few.run().manifest)
    (few.images / "coffee.png").write_bytes(encoded(photograph("coffee").crop((0, 0, 300, 300)), "PNG"))
    coffee = next(p for p in manifest.pictures if p.path == "coffee.png")
    with pytest.raises(LorapipeError, match=r"coffee.png.*changed since"):
        picture_view(few.images, coffee, manifest.background)


def test_a_large_folder_makes_a_bounded_sheet(place):
    place.images.mkdir()
    coffee = photograph("coffee")
    for number in range(SHOWN + 30):
        photo = coffee.crop((number, number // 2, number + 140, number // 2 + 150 - number % 40))
        (place.images / f"{number:04}.png").write_bytes(encoded(photo, "PNG"))
        (place.images / f"{number:04}.txt").write_text("긴 설명 🎉 " * (number % 7), encoding="utf-8")
    dataset = place.run(resolution=Resolution(128, 128), duplicate_tolerance=0)
    assert len(Manifest.load(dataset.manifest).pictures) == SHOWN + 30
    with Image.open(dataset.contact_sheet) as sheet:
        assert sheet.height < 9000
    assert dataset.contact_sheet.stat().st_size < 8_000_000


def test_with_a_real_base_of_random_weights(few):
    """A tiny Stable Diffusion VAE: the latents of a batch equal those of its pictures encoded one by one."""
    base = SD15.tiny(few.folder / "base")
    few.base = base
    side = base.native_size()
    manifest = Manifest.load(few.run(min_size=8).manifest)
    assert all(max(p.bucket) <= 2 * side and not p.bucket[0] % base.size_step() for p in manifest.pictures)
    model = base.load("cpu")
    for picture in manifest.pictures:
        pixels = to_pixels(picture_view(few.images, picture, manifest.background))
        latents = load_latents([picture], Cache(few.cache))
        assert latents.dtype == torch.float32 and torch.allclose(latents, model.encode_images(pixels), atol=1e-6)


def test_a_folder_that_is_itself_named_in_kohyas_way_is_told_so(tmp_path: Path) -> None:
    images, bench = tiny.draw(tmp_path / "7_penny woman"), tiny.Bench(tmp_path)
    base = SD15.tiny(tmp_path / "base")

    def told(**knobs: object) -> list[str]:
        bench.told.clear()
        Prepare(images=Source(images), base=base, duplicate_tolerance=0, **knobs).run(bench.context("prepare"))  # type: ignore[arg-type]
        return [event.text for event in bench.of(Log) if event.level == "warning"]

    (warning,) = told()
    assert "7_penny woman" in warning and "repeats: 7 and class_word: penny woman" in warning
    assert told(repeats=7, class_word="penny woman") == []


# ------------------------------------------------------------------------------------- what lies beside the pictures


def outlook(place: Workplace, **knobs: object) -> str:
    return "\n".join(Prepare(images=Source(place.images), base=place.base, **knobs).outlook({}))


def left_out(dataset: Dataset) -> dict[str, str]:
    found = json.loads((dataset.manifest.parent / "left_out.json").read_text(encoding="utf-8"))
    return {file["path"]: file["kind"] for file in found}


def test_what_is_not_used_is_told_once_for_each_kind_and_listed_whole(few):
    lay(few.images, ["@eaDir/a.jpg/X.jpg", "film.mp4", "raw.dng", "metadata.jsonl", "notes.md", ".DS_Store"])
    lay(few.images, [f"gone{number}.txt" for number in range(6)])
    (few.images / "coins.png.txt").write_text("money")
    (few.images / "coins.txt").unlink()
    dataset = few.run()
    told = few.warnings()
    for words in (
        "1 file not used (left by systems and other programs): @eaDir/: of a network drive",
        "1 file not used (film): film.mp4",
        "1 file not used (of a kind that is not read): raw.dng: a raw photo; develop it to png or jpg",
        "1 file not used (may hold captions): Captions are read from cat.txt beside cat.png: metadata.jsonl",
        "6 files not used (captions without a picture of that name beside them): gone0.txt; gone1.txt; gone2.txt; "
        "gone3.txt; and 2 more (left_out.json has all)",
    ):
        assert words in told and words in outlook(few)
    assert len(told.splitlines()) == 5
    assert len(left_out(dataset)) == 12
    infos = [event.text for event in few.events if isinstance(event, Log) and event.level == "info"]
    assert any("coins.png.txt" in text and "taken as its caption" in text for text in infos)
    assert {p.caption for p in Manifest.load(dataset.manifest).pictures} == {"coffee", "chelsea", "rocket", "money"}


def test_a_trainers_project_is_told_and_only_its_pictures_trained_on(few):
    meant, others = PROJECTS["kohya_ss"]
    photo = encoded(photograph("brick"), "PNG")
    few.images = few.folder / "project"
    lay(few.images, others, photo)
    lay(few.images, COMPANIONS["kohya_ss"])
    for number, name in enumerate(meant):
        lay(few.images, [name], encoded(photograph(("coffee", "chelsea", "rocket")[number]), "PNG"))
    dataset = few.run()
    assert {p.path for p in Manifest.load(dataset.manifest).pictures} == set(meant)
    assert others.items() <= left_out(dataset).items()
    for words in ("under regularisation of train", "looks like a kohya project", "name their folder as images"):
        assert words in few.warnings() and words in outlook(few)


def test_onetrainers_masks_are_used_when_asked_for(few):
    mask = Image.new("L", photograph("coffee").size)
    mask.paste(255, (0, 0, 300, 400))
    (few.images / "coffee-masklabel.png").write_bytes(encoded(mask, "PNG"))
    dataset = few.run()
    assert len(Manifest.load(dataset.manifest).pictures) == 4
    assert f"write `masks: {few.images}`: coffee-masklabel.png" in few.warnings()
    manifest = Manifest.load(few.run(masks=Source(few.images)).manifest)
    assert {p.path: p.mask and p.mask.path for p in manifest.pictures} == {
        "coffee.png": "coffee-masklabel.png", "chelsea.png": None, "rocket.png": None, "coins.png": None
    }  # fmt: skip
    assert "3 pictures without a mask" in few.warnings()


def test_masks_in_a_folder_among_the_pictures_are_no_pictures(few):
    lay(few.images, ["white/coffee.png"], encoded(Image.new("L", photograph("coffee").size, 255), "PNG"))
    manifest = Manifest.load(few.run(masks=Source(few.images / "white")).manifest)
    assert len(manifest.pictures) == 4 and sum(p.mask is not None for p in manifest.pictures) == 1


def test_a_plan_says_what_a_run_says(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    few.images = few.folder / "phone"
    lay(few.images, ["a.HEIC", "b.HEIC", "renamed.jpg"], b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    for words in ("3 pictures found, none usable: 3 unreadable", "a.HEIC", 'pip install "lorapipe[heic]"'):
        assert words in outlook(few)
        with pytest.raises(InputError) as error:
            few.run()
        assert words in str(error.value)
    (few.images / "small.png").write_bytes(encoded(Image.new("RGB", (9, 9)), "PNG"))
    (few.images / "good.png").write_bytes(encoded(photograph("coffee"), "PNG"))
    planned = outlook(few)
    few.run()
    for line in few.warnings().splitlines():
        assert line in planned or "without any caption" in line
    assert "about 1 picture to train on" in planned


def test_one_broken_link_is_left_out_and_the_rest_trained_on(few):
    (few.images / "broken.png").symlink_to(few.folder / "nowhere.png")
    (few.images / "circle.png").symlink_to("circle.png")
    (few.images / "broken.txt").symlink_to(few.folder / "nowhere.txt")
    digests = Digests(LedgerDatabase(None))
    before = digests.path(few.images)
    assert digests.listings[before]["broken.png"] == "unreadable" != digests.listings[before]["coffee.png"]
    dataset = few.run()
    assert len(Manifest.load(dataset.manifest).pictures) == 4
    assert "broken.png: a link that leads nowhere" in few.warnings() and "broken.png" in outlook(few)
    (few.folder / "nowhere.png").write_bytes(encoded(photograph("brick"), "PNG"))
    assert Digests(LedgerDatabase(None)).path(few.images) != before
    assert len(Manifest.load(few.run().manifest).pictures) == 5


def test_a_folder_of_captions_beside_the_images_is_noticed(few):
    """Inside the named folder they are captions without pictures; outside of it they would not be noticed."""
    (few.folder / "captions").mkdir()
    for file in sorted(few.images.glob("*.txt")):
        file.rename(few.folder / "captions" / file.name)
    few.run()
    told = "4 files in the folder captions beside images named like pictures, not read"
    assert told in few.warnings() and told in outlook(few)
    (few.folder / "captions").rename(few.images / "captions")
    few.run()
    assert "4 files not used (captions without a picture of that name beside them)" in few.warnings()


def test_left_out_copies_are_told_with_the_knob(few):
    (few.images / "again.jpg").write_bytes(encoded(photograph("coffee"), "JPEG"))
    few.run()
    assert "duplicate_tolerance sets how similar copies are" in few.warnings()


def test_a_packed_folder_is_no_folder(few):
    few.images = few.folder / "photos.zip"
    few.images.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"Unpack it, and name the folder\."):
        few.run()


def test_the_keys_of_latents_are_what_they_were(place):
    """Cached latents stay valid; these keys were made when only six formats could be read."""
    place.images.mkdir()
    ramp = Image.linear_gradient("L")
    (place.images / "ramp.bmp").write_bytes(encoded(ramp, "BMP"))
    (place.images / "colours.bmp").write_bytes(
        encoded(Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180))), "BMP")
    )
    manifest = Manifest.load(place.run().manifest)
    assert {picture.path: picture.latents[:16] for picture in manifest.pictures} == {
        "colours.bmp": "7a69120420d66ca3",
        "ramp.bmp": "15c21259399a06b2",
    }


@pytest.mark.slow
def test_too_few_pictures_and_a_device_that_is_not_there_are_mistakes_also_with_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = (EXAMPLES / "penny").as_posix()
    base = "{family: sd15, checkpoint: pocket}"
    (tmp_path / "p.yaml").write_text(f"stages: {{d: {{uses: prepare, images: {examples}, base: {base}}}}}", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "p.yaml", "--on", "inline", "--device", "cuda:99"]) == 2
    said = capsys.readouterr().out
    assert "there is no cuda:99 on this machine" in said and "auto, cpu" in said and "bug" not in said
    assert main(["run", "p.yaml", "--on", "inline", "--quiet"]) == 0
    assert main(["run", "p.yaml", "--on", "inline", "--set", "d.min_pictures=999"]) == 2
    assert "999 pictures needed" in capsys.readouterr().out
