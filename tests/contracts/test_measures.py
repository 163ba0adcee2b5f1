"""Measures: what every one of them must do on every family, and what each must say of drawings that are known.

The drawings are the examples' subjects and the world's creatures; the base that looks at them is the bundled one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import families
import numpy as np
import pytest
from PIL import Image, ImageOps

from lorapipe.evaluation import measures
from lorapipe.evaluation.features import FeatureReader, Seen
from lorapipe.evaluation.measures import Measure, Reference
from lorapipe.evaluation.measures.contrast import ways_of_prompts
from lorapipe.evaluation.measures.copies import COPY, Copies
from lorapipe.evaluation.measures.parts import Parts
from lorapipe.evaluation.measures.precision import Precision
from lorapipe.evaluation.measures.response import Response
from lorapipe.evaluation.measures.taught import Taught
from lorapipe.evaluation.reference_views import views
from lorapipe.evaluation.scorer import Scorer
from lorapipe.evaluation.selection import following, heeded
from lorapipe.evaluation.subject_parts import subject_parts
from lorapipe.models import Checkpoint, Family
from lorapipe.models.sd15 import SD15
from lorapipe.pocket import concept_lantern, subject_penny
from lorapipe.pocket.draw import draw as draw_creature
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.style_neon import Neon
from lorapipe.pocket.world import ATTRIBUTES, Creature, sample, tags
from tools.pocket.sepia import Sepia

SCENES = ATTRIBUTES["background"]
PROMPTS = ("penny, night sky", "penny, meadow")
FAMILIES = ("sd15", "sd2", "sdxl", families.NAME)


@pytest.fixture(scope="module")
def read() -> FeatureReader:
    return FeatureReader(SD15(checkpoint=Checkpoint.parse("pocket", Path())).load("cpu"))


def penny(rng: Random, background: str) -> Image.Image:
    return subject_penny.draw(subject_penny.pose(rng, background), Pen())


def creatures(count: int, seed: int = 5, pen: type[Pen] = Pen) -> list[Image.Image]:
    rng = Random(seed)
    return [draw_creature(sample(rng), pen()) for _ in range(count)]


@pytest.fixture(scope="module")
def reference(read: FeatureReader) -> Reference:
    """Eighteen pictures of Penny, two in front of each background, and what the base paints of two prompts."""
    rng = Random(0)
    scenes = [*SCENES, *SCENES]
    training = read([penny(rng, scene) for scene in scenes])
    base = [draw_creature(sample(rng)) for _ in range(2)]
    base = [*(_in(scene, picture) for scene, picture in zip(("night sky", "meadow"), base, strict=True)), *creatures(2)]
    captions = [f"penny, {scene}" for scene in scenes]
    return Reference(training, captions, read([base[0], base[0], base[1], base[1]]), PROMPTS, (0, 0, 1, 1))


def _in(scene: str, _: Image.Image) -> Image.Image:
    """A creature in front of a background."""

    return draw_creature(replace(sample(Random(3)), background=scene))


def test_the_pose_of_the_only_picture_in_another_scene_is_no_copy(read: FeatureReader) -> None:
    pose = subject_penny.pose(Random(4), "mint background")
    only = subject_penny.draw(pose, Pen())
    shown = views([only])
    reference = Reference(
        read(shown), ["penny"] * len(shown), read(creatures(6)), PROMPTS, (0, 0, 0, 1, 1, 1), few=True
    )
    copies = Copies.fit(reference)
    assert copies is not None
    scenes = [replace(pose, background=scene) for scene in SCENES if scene != "mint background"]
    elsewhere = copies(read([subject_penny.draw(each, Pen()) for each in scenes]))
    again = copies(read([only.point(lambda value: min(value + 5, 255)), ImageOps.mirror(only)]))
    assert elsewhere.max() < COPY <= again.min()


@pytest.fixture(scope="module")
def fitted(reference: Reference) -> dict[str, Measure]:
    return measures.fitted(reference)


def test_all_that_need_no_clip_and_no_painted_captions_can_be_taken(fitted: dict[str, Measure]) -> None:
    found = {name for name in measures.REGISTRY.names() if not name.startswith("clip_")}
    assert {*fitted} == found - {"response", "precision"}, "the base's two pictures here are too few for precision"
    assert all(measure.title and measure.meaning for measure in fitted.values())


def four(pictures: list[Image.Image], read: FeatureReader) -> Seen:
    assert len(pictures) == 4
    return read(pictures)


def test_parts_are_the_subjects_in_scenes_never_seen(fitted: dict[str, Measure], read: FeatureReader) -> None:
    rng = Random(77)
    unseen = fitted["parts"](four([penny(rng, scene) for scene in SCENES[:4]], read))
    others = fitted["parts"](four(creatures(4), read))
    assert unseen.mean() > 0.75 and others.mean() < 0.4


def test_half_of_the_subject_is_not_all_of_its_parts(fitted: dict[str, Measure], read: FeatureReader) -> None:
    """The same pictures with one half painted over."""
    rng = Random(78)
    whole = [penny(rng, scene) for scene in SCENES[:4]]
    halves = [picture.copy() for picture in whole]
    for half in halves:
        half.paste(half.getpixel((1, 1)), (0, 0, 32, 64))
    figures = [float(fitted["parts"](four(each, read)).mean()) for each in (whole, halves)]
    assert figures[1] < 0.9 * figures[0]


@dataclass(frozen=True)
class Lantern:
    """Pictures of creatures with the lantern, the same creatures without it, and `parts` of the first 27."""

    held: list[Image.Image]
    plain: list[Image.Image]
    training: Seen
    parts: Parts


@pytest.fixture(scope="module")
def lantern(read: FeatureReader) -> Lantern:
    """The lantern is about 13 × 19 pixels: less than three of the places that are 8 wide."""
    rng = Random(84)
    beings = [sample(rng, SCENES[number % 9]) for number in range(39)]
    held = [concept_lantern.draw_holder(each, Pen()) for each in beings]
    plain = [draw_creature(each) for each in beings]
    captions = [concept_lantern.caption(each) for each in beings[:27]]
    base, training = read([plain[number] for number in (27, 28, 29, 30)]), read(held[:27])
    parts = Parts.fit(Reference(training, captions, base, ("lumo", "lumo, snow"), (0, 0, 1, 1)))
    assert parts is not None
    return Lantern(held, plain, training, parts)


def test_a_thing_in_a_hand_is_told_from_the_empty_hand(lantern: Lantern, read: FeatureReader) -> None:
    with_it, without = lantern.parts(read(lantern.held[31:])), lantern.parts(read(lantern.plain[31:]))
    assert with_it.mean() > 0.7 > 0.5 > without.mean()
    assert np.mean(with_it[:, None] > without) > 0.85, "any picture with the lantern against any without it"


def test_what_counts_as_the_subject_is_shown_where_it_is_drawn(lantern: Lantern) -> None:
    """The middle of most places that are shown is near a pixel of the lantern's, which the creature alone has not."""
    found = subject_parts(lantern.parts, lantern.training)
    assert found and 0 < sum(part.share for part in found) <= 1
    assert [part.share for part in found] == sorted((part.share for part in found), reverse=True)
    places = [(part.share, number, box) for part in found for number, box in part.places]
    assert all(0 <= left < right <= 64 and 0 <= top < bottom <= 64 for _, _, (left, top, right, bottom) in places)
    on_it = sum(share for share, number, box in places if _drawn_in(lantern, number, box))
    assert on_it > 0.7 * sum(share for share, _, _ in places)


def _drawn_in(lantern: Lantern, number: int, box: tuple[int, int, int, int]) -> bool:
    """Whether at least a third of the lantern of a picture lies within a box."""
    differs = np.any(np.array(lantern.held[number]) != np.array(lantern.plain[number]), axis=2)
    left, top, right, bottom = box
    return bool(differs[top:bottom, left:right].sum() > differs.sum() / 3)


def test_taught_tags_are_found_where_they_are_drawn(fitted: dict[str, Measure], read: FeatureReader) -> None:
    rng = Random(79)
    right = [penny(rng, scene) for scene in ("night sky", "night sky", "meadow", "meadow")]
    wrong = [right[2], right[3], right[0], right[1]]
    assert fitted["taught"](four(right, read)).mean() > 0.7 > 0.4 > fitted["taught"](four(wrong, read)).mean()


@pytest.fixture(scope="module")
def thrice(reference: Reference, read: FeatureReader) -> Reference:
    """Three pictures of Penny in front of each background."""
    scenes, rng = [*SCENES] * 3, Random(1)
    captions = [f"penny, {scene}" for scene in scenes]
    return replace(reference, training=read([penny(rng, scene) for scene in scenes]), captions=captions)


def test_a_tag_that_changes_nothing_is_found_and_no_other(thrice: Reference, read: FeatureReader) -> None:
    """Pictures as asked for; the same picture whatever is asked for; one of two pictures as asked for."""
    rng = Random(83)
    taught = Taught.fit(thrice)
    assert taught is not None and taught.sure == {"night sky": 3, "meadow": 3}
    right = taught.effects(four([penny(rng, each) for each in ("night sky", "night sky", "meadow", "meadow")], read))
    assert all(each.effect > 0.5 and not each.idle and each.captions == 3 for each in right.values())
    alike = penny(rng, "snow")
    assert [each.idle for each in taught.effects(four([alike] * 4, read)).values()] == [True, True]
    half = taught.effects(four([penny(rng, each) for each in ("beach", "room", "snow", "meadow")], read))
    assert not half["meadow"].idle


def test_of_tags_whose_captions_are_other_pictures_nothing_is_said(thrice: Reference) -> None:
    """What they mean cannot be told from the pictures, so what they do cannot either."""
    captions = list(thrice.captions)
    Random(5).shuffle(captions)
    mixed = Taught.fit(replace(thrice, captions=captions))
    assert mixed is None or not mixed.sure


def test_copies_are_the_training_pictures_and_not_new_ones(
    fitted: dict[str, Measure], read: FeatureReader, reference: Reference
) -> None:
    known = list(reference.training.pictures[:2])
    noisy = [Image.blend(each, Image.effect_noise((64, 64), 60).convert("RGB"), 0.1) for each in known]
    rng = Random(80)
    assert (fitted["copies"](four([*known, *noisy], read)) >= 0.5).all()
    assert (fitted["copies"](four([penny(rng, scene) for scene in SCENES[:4]], read)) < 0.5).all()


def test_artefacts_are_noise_and_burnt_colours(fitted: dict[str, Measure], read: FeatureReader) -> None:
    rng = Random(81)
    clean = [penny(rng, scene) for scene in SCENES[:4]]
    noise = np.random.default_rng(0).normal(0, 40, (64, 64, 3))
    noisy = [Image.fromarray((np.asarray(each) + noise).clip(0, 255).astype("uint8")) for each in clean]
    grey = [each.convert("L").convert("RGB") for each in clean]
    sound, noisy_figures, grey_figures = (fitted["artefacts"](four(each, read)) for each in (clean, noisy, grey))
    assert sound.max() < 0.3 and noisy_figures.min() > 0.5 and grey_figures.min() > 0.5


def test_precision_sees_what_is_like_nothing_though_every_part_is_there(
    reference: Reference, read: FeatureReader
) -> None:
    more = replace(reference, captioned=read(creatures(16, 7)), captioned_of=range(16))
    precision, parts = Precision.fit(more), Parts.fit(more)
    assert precision is not None and parts is not None
    rng = Random(85)
    clean = [penny(rng, scene) for scene in SCENES[:4]]
    littered = [each.copy() for each in clean]
    litter = np.random.default_rng(0).normal(128, 60, (4, 20, 20, 3)).clip(0, 255).astype("uint8")
    for each in littered:
        for piece, place in zip(litter, ((0, 0), (44, 0), (0, 44), (44, 44)), strict=True):
            each.paste(Image.fromarray(piece), place)
    before, after = four(clean, read), four(littered, read)
    assert precision(after).mean() < 0.5 * precision(before).mean()
    assert parts(after).mean() > 0.7 * parts(before).mean()
    assert Precision.fit(replace(more, few=True)) is None, "views of one picture say nothing of how true ones differ"


def test_diversity_is_none_where_a_prompt_gives_one_picture(fitted: dict[str, Measure], read: FeatureReader) -> None:
    rng = Random(82)
    first, second, third, fourth = (penny(rng, scene) for scene in SCENES[:4])
    assert fitted["diversity"](four([first, first, second, second], read)).max() == pytest.approx(0, abs=1e-3)
    assert fitted["diversity"](four([first, second, third, fourth], read)).min() > 0.5


def test_style_is_the_pen_and_not_what_it_draws(read: FeatureReader) -> None:
    plain = read(creatures(4))
    captions = ["glow"] * 12
    neon = Reference(read(creatures(12, 1, Neon)), captions, plain, ("glow a", "glow b"), (0, 0, 1, 1))
    found = measures.fitted(neon)["style"]
    assert found(read(creatures(4, 9, Neon))).mean() > 0.7 > 0.3 > found(read(creatures(4, 9))).mean()


@dataclass(frozen=True)
class Style:
    """A style's scorer, and pictures in it: as four prompts ask (three of each), as another prompt asks, and in the base's
    poses, but as the first prompt asks in all of them."""

    scorer: Scorer
    asked: Seen
    others: Seen
    deaf: Seen


@pytest.fixture(scope="module", params=[Neon, Sepia])
def style(request: pytest.FixtureRequest, read: FeatureReader) -> Style:
    """The base draws plainly what a caption says; 24 pictures in the style have all of their tags said."""
    rng, pen = Random(86), request.param
    taught = [sample(rng, SCENES[number % 9]) for number in range(24)]
    beings = [sample(rng, scene) for scene in ("night sky", "beach", "room", "mint background")]
    of = [place for place in range(4) for _ in range(3)]

    def again(place: int) -> Creature:
        """Another picture of what a prompt asks for."""
        return replace(beings[place], x=rng.uniform(-2, 2), mirrored=rng.random() < 0.5, chance=rng.randrange(1 << 16))

    def captions(some: list[Creature]) -> list[str]:
        return [", ".join(["glow", *tags(each)]) for each in some]

    drawn = [again(place) for place in of]  # the same noise gives the same pose in every cell
    base, plain = read([draw_creature(each) for each in drawn]), read([draw_creature(each) for each in taught[:16]])
    known = read([draw_creature(each, pen()) for each in taught])
    reference = Reference(
        known, captions(taught), base, captions(beings), of, captioned=plain, captioned_of=range(16)
    )  # fmt: skip
    asked = read([draw_creature(each, pen()) for each in drawn])
    others = read([draw_creature(again((place + 1) % 4), pen()) for place in of])
    poses = [replace(beings[0], x=each.x, mirrored=each.mirrored, chance=each.chance) for each in drawn]
    deaf = read([draw_creature(each, pen()) for each in poses])
    return Style(Scorer(reference), asked, others, deaf)


def test_a_style_in_which_little_can_be_told_is_not_said_to_ignore_its_prompts(style: Style) -> None:
    """Following is held against the training pictures in the same style; the base's plain pictures differ far more."""
    asked, others = style.scorer(style.asked).scores, style.scorer(style.others).scores
    assert asked is not None and others is not None
    assert (following(asked) or 0) > 0.5 > 0.3 > (following(others) or 0)
    assert (heeded(asked) or 0) > 0.5 > (heeded(others) or 0), "nor that its captions are wrong"


def test_what_a_noise_makes_of_a_picture_is_no_answer_to_its_prompt(style: Style) -> None:
    """The base's pictures have the same poses, and each prompt another creature."""
    for name in ("contrast", "response"):
        measure = style.scorer.measures[name]
        assert abs(measure(style.deaf)[3:].mean()) < 0.4 * measure(style.asked).mean()


def test_the_bases_way_to_a_prompt_is_that_of_its_other_pictures() -> None:
    shown = np.array([[1, 0], [3, 0], [0, 4], [0, 8]], dtype=np.float32)
    middle = np.array([1, 3])
    assert (ways_of_prompts(shown, (0, 0, 1, 1)) == shown[[1, 0, 3, 2]] - middle).all()
    assert (ways_of_prompts(shown, (0, 1, 2, 3)) == shown - middle).all(), "there are no others"


def test_captions_of_other_pictures_are_no_scale(style: Style) -> None:
    reference = style.scorer.reference
    assert Response.fit(replace(reference, captioned_of=[*range(5, 16), *range(5)])) is None
    assert Response.fit(replace(reference, captioned=None)) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_measures_hold_on_every_family(family: str, tmp_path: Path) -> None:
    families.register()
    registry = Family.registry
    assert registry is not None
    model = registry.get(family).tiny(tmp_path).load("cpu")
    read = FeatureReader(model)
    rng = Random(0)
    wide = [Image.effect_noise((64, 128), 90).convert("RGB")]
    training = read([penny(rng, scene) for scene in SCENES] + wide)
    captions = [f"penny, {scene}" for scene in ("meadow", "snow") * 5]
    base = read(creatures(4))
    scorer = Scorer(Reference(training, captions, base, ("penny, snow", "penny, meadow"), (0, 0, 1, 1)))
    scored = scorer(read(creatures(4, 11)))
    assert scored.figures and all(len(each) == 4 for each in scored.figures.values())
    assert not scored.broken and all(np.isfinite(mean) for mean in scored.means.values())
    again = scorer(read(creatures(4, 11)))
    assert again.figures == scored.figures, "the same pictures give the same figures"
