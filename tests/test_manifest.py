"""What is chosen from a folder, and how it is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from corpus.copies import copies, figure, with_another_spot
from photographs import encoded, photograph
from PIL import Image

from lorapipe.errors import InputError
from lorapipe.training.data.buckets import Buckets
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.captions import CaptionFiles
from lorapipe.training.data.duplicates import near_duplicates, signature
from lorapipe.training.data.filter import Rules, select
from lorapipe.training.data.image_folder import find, look_through
from lorapipe.training.data.image_reader import quiet
from lorapipe.training.data.images import WHITE, Colour
from lorapipe.training.data.manifest import DOCUMENT, LeftOut, Manifest, Picture
from lorapipe.training.data.scan import ImageInfo, closer, examine

RULES = Rules(Buckets((512, 512), 256, 1024, 64), 64, 10, 0.1, 1, "", WHITE)


def chosen(root, rules=RULES) -> Manifest:
    found, cache = look_through(root, extensions=[".txt"]), Cache(root / ".cache")
    with quiet():
        looks = list(examine(root, found.pictures, cache, WHITE))
        captions, _ = CaptionFiles(root, found.captions).of_all(found.pictures, rules.class_word)
        return select(looks, captions, rules, lambda look: closer(root, look, cache, WHITE))[0]


def looks(count: int) -> list[ImageInfo]:
    """Pictures that are all different: one cell of the signature each."""
    return [
        ImageInfo(f"{i:03}.png", f"digest {i}", (512, 512), bytes(255 * (j in (i, 2 * i + 100)) for j in range(768)))
        for i in range(count)
    ]


def select_from(pictures, rules=RULES) -> Manifest:
    captions, _ = CaptionFiles(Path(), {}).of_all([each.path for each in pictures], rules.class_word)
    return select(pictures, captions, rules)[0]


MANIFEST = Manifest(
    resolution=(512, 768),
    background=Colour((1, 2, 3)),
    pictures=(
        Picture("10_고양이/🐈.png", "ab" * 32, (900, 800), (576, 448), (576, 512), (0, 32), 10, 'a "cat"', "folder"),
        Picture("z.png", "cd" * 32, (512, 512), (512, 512), (512, 512), (0, 0), 1, "", "none", True, "ef" * 32),
    ),
    left_out=(LeftOut("bad.png", "unreadable", "the file is empty"),),
)


def test_a_manifest_comes_back_as_it_was(tmp_path):
    MANIFEST.save(tmp_path / "manifest.json")
    MANIFEST.save_left_out(tmp_path / "left_out.json")
    assert Manifest.load(tmp_path / "manifest.json") == replace(MANIFEST, left_out=())
    (left,) = json.loads((tmp_path / "left_out.json").read_text(encoding="utf-8"))
    assert LeftOut(**left) == MANIFEST.left_out[0]
    assert not list(tmp_path.glob("*.part"))


def test_a_manifest_is_plain_json_with_totals(tmp_path):
    MANIFEST.save(tmp_path / "manifest.json")
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    body = json.loads(text)
    assert body["totals"] == {"training": 1, "held_out": 1, "pictures_per_epoch": 10}
    assert body["buckets"] == {"576x448": 1}
    assert "🐈" in text and len(text.splitlines()) < 16  # a person can read it: a line for each picture


def test_an_edited_manifest_is_refused_with_the_field(tmp_path):
    MANIFEST.save(tmp_path / "manifest.json")
    body = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    DOCUMENT.require(body, "manifest.json")
    body["pictures"][1].pop("caption")
    body["pictures"][0]["repeats"] = "ten"
    (tmp_path / "manifest.json").write_text(json.dumps(body), "utf-8")
    with pytest.raises(InputError) as refused:
        Manifest.load(tmp_path / "manifest.json")
    said = str(refused.value)
    assert 'pictures.0.repeats: "ten" is not a whole number.' in said and "pictures.1: caption is missing." in said


@pytest.mark.parametrize("text", ["", "[]", '{"version": 99}', '{"version": 2, "resolution": 3}'])
def test_what_is_no_manifest_is_refused_plainly(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not a manifest"):
        Manifest.load(tmp_path / "manifest.json")


def test_held_out_pictures_are_chosen_by_their_content():
    ten = select_from(looks(40))
    names = {p.path for p in ten.held_out}
    assert len(names) == 4
    renamed = [ImageInfo(f"renamed {look.path}", look.digest, look.size, look.signature) for look in looks(40)]
    assert {p.path for p in select_from(renamed).held_out} == {f"renamed {name}" for name in names}
    more = {p.path for p in select_from(looks(41)).held_out}
    assert len(names & more) >= 3


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(9, 0.1, 0), (10, 0.1, 1), (14, 0.1, 1), (40, 0, 0), (20, 0.5, 10)]
)
def test_how_many_are_held_out(count, share, expected):
    rules = Rules(RULES.buckets, 64, 10, share, 1, "", WHITE)
    manifest = select_from(looks(count), rules)
    assert len(manifest.held_out) == expected and len(manifest.training) == count - expected


def test_repeats_are_the_folders_or_the_knobs():
    one, two, three = looks(3)
    pictures = [
        ImageInfo("7_cat/a.png", one.digest, one.size, one.signature),
        ImageInfo("0_bad/a.png", two.digest, two.size, two.signature),
        ImageInfo("plain/a.png", three.digest, three.size, three.signature),
    ]
    manifest = select_from(pictures, Rules(RULES.buckets, 64, 10, 0.1, 3, "thing", WHITE))
    assert [(p.path, p.repeats, p.caption) for p in manifest.pictures] == [
        ("7_cat/a.png", 7, "cat"),
        ("plain/a.png", 3, "thing"),
    ]
    assert manifest.pictures_per_epoch == 10
    assert manifest.left_out == (LeftOut("0_bad/a.png", "no repeats", "its folder's name asks for 0 repeats"),)


def test_tiny_and_hair_thin_pictures_are_left_out():
    one, two = looks(2)
    thin = Rules(Buckets((512, 512), 256, 1024, 64, no_upscale=True), 16, 10, 0.1, 1, "", WHITE)
    tiny = ImageInfo("tiny.png", one.digest, (15, 900), one.signature)
    hair = ImageInfo("hair.png", two.digest, (20, 900), two.signature)
    kinds = {file.path: file.kind for file in select_from([tiny, hair], thin).left_out}
    assert kinds == {"tiny.png": "tiny", "hair.png": "no bucket"}


# ------------------------------------------------------------------------------------------------------- duplicates


def test_of_copies_the_one_with_a_caption_stays_then_the_largest(tmp_path):
    cat = photograph("chelsea")
    (tmp_path / "a.png").write_bytes(encoded(cat, "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(cat, "PNG"))
    (tmp_path / "b.txt").write_text("captioned")
    (tmp_path / "c.jpg").write_bytes(encoded(cat.resize((902, 600)), "JPEG", quality=80))
    manifest = chosen(tmp_path)
    assert [p.path for p in manifest.pictures] == ["b.png"]
    assert {(f.path, f.reason) for f in manifest.left_out} == {
        ("a.png", "the same file as b.png"),
        ("c.jpg", "the same picture as b.png"),
    }
    (tmp_path / "b.txt").unlink()
    assert [p.path for p in chosen(tmp_path).pictures] == ["c.jpg"]


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "motorcycle_left", "hubble_deep_field"])
def test_a_photograph_saved_anew_is_the_same_and_a_shifted_one_is_not(name):
    photo = photograph(name)
    half = photo.resize((photo.width // 2, photo.height // 2))
    shifted = photo.crop((photo.width // 20, 0, photo.width, photo.height - photo.height // 20))
    sizes = [photo.size, half.size, shifted.size]
    assert near_duplicates([signature(image) for image in (photo, half, shifted)], sizes, 10) == {1: 0}


def test_drawings_that_differ_in_one_eye_are_two():
    from PIL import ImageDraw

    open_eyes = Image.new("RGB", (256, 256), "#e8e0d0")
    pen = ImageDraw.Draw(open_eyes)
    pen.ellipse((60, 60, 200, 220), fill="#d04040")
    pen.ellipse((95, 110, 109, 124), fill="black")
    wink = open_eyes.copy()
    ImageDraw.Draw(wink).ellipse((95, 110, 109, 124), fill="#d04040")
    assert near_duplicates([signature(open_eyes), signature(wink)], [(256, 256)] * 2, 10) == {}


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick"])
def test_copies_of_a_photograph_go_and_the_best_stays(tmp_path, name):
    photo = photograph(name)
    (tmp_path / "z original.png").write_bytes(encoded(photo, "PNG"))
    for number, (_, data) in enumerate(copies(photo, 31)):
        (tmp_path / f"copy {number}.jpg").write_bytes(data)  # whatever it is in truth
    manifest = chosen(tmp_path, replace(RULES, min_size=1))
    assert [p.path for p in manifest.pictures] == ["z original.png"]
    assert {file.kind for file in manifest.left_out} == {"duplicate"}


@pytest.mark.parametrize("seed", [5, 6, 7])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_figure_with_other_faces_stays_and_its_copies_go(tmp_path, seed, kind):
    figures = figure(seed, (600, 900) if seed % 2 else (512, 512))
    for face, image in figures.items():
        (tmp_path / f"{face}.{kind.lower()}").write_bytes(encoded(image, kind))
    for number, (_, data) in enumerate(copies(figures["calm"], seed, 3)):
        (tmp_path / f"zz copy {number}.png").write_bytes(data)
    kept = {p.path.partition(".")[0] for p in chosen(tmp_path, replace(RULES, min_size=1)).pictures}
    assert set(figures) <= kept and len(kept) <= len(figures) + 1  # a copy that is coarse may stay, a face never goes


@pytest.mark.parametrize("name", ["coffee", "chelsea", "motorcycle_left"])
def test_frames_that_differ_in_one_spot_are_two(tmp_path, name):
    photo = photograph(name)
    (tmp_path / "one.png").write_bytes(encoded(photo, "PNG"))
    (tmp_path / "two.jpg").write_bytes(encoded(with_another_spot(photo, 3), "JPEG", quality=90))
    assert len(chosen(tmp_path).pictures) == 2


def test_pictures_with_captions_that_differ_are_two(tmp_path):
    cat = photograph("chelsea")
    for name, caption in (("a.png", "penny asleep"), ("b.jpg", "penny awake"), ("c.webp", "Penny  asleep")):
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name[2:]]
        (tmp_path / name).write_bytes(encoded(cat, kind))
        (tmp_path / f"{name[0]}.txt").write_text(caption)
    manifest = chosen(tmp_path)
    assert [p.path for p in manifest.pictures] == ["a.png", "b.jpg"]
    assert [(f.path, f.reason) for f in manifest.left_out] == [("c.webp", "the same picture as a.png")]


def test_of_equal_copies_the_one_that_lost_nothing_stays_then_the_larger_file(tmp_path):
    cat = photograph("chelsea")
    (tmp_path / "a.jpg").write_bytes(encoded(cat, "JPEG", quality=95))
    (tmp_path / "b.jpg").write_bytes(encoded(cat, "JPEG", quality=60))
    (tmp_path / "z.png").write_bytes(encoded(cat, "PNG"))
    assert [p.path for p in chosen(tmp_path).pictures] == ["z.png"]
    (tmp_path / "z.png").unlink()
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    assert [p.path for p in chosen(tmp_path).pictures] == ["c.jpg"]


def test_a_folder_of_frames_is_compared_in_bounded_time(tmp_path, monkeypatch):
    """Beyond a number of pairs nobody looks closer: what may be two is two."""
    monkeypatch.setattr("lorapipe.training.data.filter.MOST_COMPARISONS", 3)
    cat, looked = photograph("chelsea").resize((200, 133)), list[str]()
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(cat, "JPEG", quality=90 - number))
    found = look_through(tmp_path)
    with quiet():
        all_looks = list(examine(tmp_path, found.pictures, Cache(tmp_path / ".cache"), WHITE))

    def closer_look(look: ImageInfo) -> bytes:
        looked.append(look.path)
        return closer(tmp_path, look, Cache(tmp_path / ".cache"), WHITE)

    captions, _ = CaptionFiles(tmp_path, {}).of_all(found.pictures, "")
    manifest = select(all_looks, captions, RULES, closer_look)[0]
    assert len(manifest.pictures) > 1 and len(looked) <= 4


def test_tolerance_zero_compares_no_pictures_and_another_shape_is_another_picture():
    flat = signature(Image.new("RGB", (64, 64), "red"))
    assert near_duplicates([flat, flat], [(64, 64), (64, 64)], 0) == {}
    assert near_duplicates([flat, flat], [(64, 64), (64, 96)], 10) == {}
    assert near_duplicates([flat] * 3, [(64, 64)] * 3, 10) == {1: 0, 2: 0}


# ------------------------------------------------------------------------------------------------------------- scan


def test_hidden_files_links_in_a_circle_and_own_results_are_not_entered(tmp_path):
    photo = encoded(photograph("chelsea"), "PNG")
    for name in ("a.PNG", ".b.png", "sub/._c.png", "__MACOSX/d.png", ".git/e.png", "sub/f.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    store = tmp_path / ".lorapipe/store/k/out"
    store.mkdir(parents=True)
    (store / "contact_sheet.jpg").write_bytes(photo)
    (tmp_path / "sub/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "outputs").symlink_to(store, target_is_directory=True)
    assert look_through(tmp_path).pictures == ("a.PNG", "sub/f.webp")
    assert look_through(tmp_path, ["SUB"]).pictures == ("a.PNG",)
    assert find(tmp_path)[0] == [".b.png", ".git/", "__MACOSX/", "a.PNG", "sub/._c.png", "sub/f.webp"]
