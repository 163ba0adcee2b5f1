"""The synthesize stage: what it paints, measures and chooses, and what prepare and train make of it."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from lorapipe import formats
from lorapipe.errors import InputError, LorapipeError, Unanswered
from lorapipe.evaluation.candidates import Candidate, Figures, best_that_differ
from lorapipe.evaluation.maximal_marginal_relevance import choose, stand_outs
from lorapipe.evaluation.probe import compared
from lorapipe.evaluation.reference_views import views
from lorapipe.evaluation.sampler import Sampler, SamplingOptions, Start
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Dataset, Pictures, Weights
from lorapipe.pipeline.context import QUESTION
from lorapipe.pipeline.events import Log
from lorapipe.spec import Duration, Source, parse_spec
from lorapipe.stages._picture_folder import PictureFolder
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.synthesize import Synthesize
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.data.training_set import load_training_set
from lorapipe.training.model_contexts import attached
from pipelines import pipeline_of

PROMPTS = ("penny, red", "penny, blue")


@pytest.fixture(scope="module")
def weights(folder: Path, dataset: Dataset) -> Weights:
    train = Train(dataset=dataset, adapter=LoRA(rank=4), steps=Duration(8), unet_lr=5e-3, batch=2)
    return train.run(tiny.Bench(folder).context("train"))


def small(weights: Weights | None, **knobs: Any) -> Synthesize:
    knobs = {"prompts": PROMPTS, "steps": 3, "pictures": 2, "choose": 2, "least_likeness": 0.0, **knobs}
    return Synthesize(weights=weights, **knobs)


@pytest.fixture(scope="module")
def grown(folder: Path, weights: Weights) -> Pictures:
    return made(small(weights), folder, "grown")


def made(stage: Synthesize, folder: Path, name: str) -> Pictures:
    """The pictures of a random base are of no use: the figures are not looked at, only the way."""
    return stage.run(tiny.Bench(folder).context(name))


# ------------------------------------------------------------------------------------------------------- the choice


def test_the_best_comes_first_and_then_what_differs_from_it() -> None:
    vectors = np.array([[0.0, 0], [0.05, 0], [9, 9], [9.05, 9], [0, 9]], dtype=np.float32)
    assert choose([1.0, 0.99, 0.7, 0.72, 0.6], vectors, 3) == [0, 3, 4]
    assert choose([1.0, 0.99, 0.7, 0.72, 0.6], vectors, 9) == [0, 3, 4, 1, 2]  # copies come last
    assert choose([0.2, 0.1, 0.9, 0.0, 0.0], vectors, 9) == [2, 0, 1]  # what is worth nothing is never chosen
    assert choose([0.0], vectors[:1], 2) == []
    assert choose([0.3], vectors[:1], 2) == [0]


def test_every_prompt_has_its_share_of_what_is_chosen() -> None:
    vectors = np.array([[0.0, 0], [4, 0], [9, 9], [4, 9], [0, 9]], dtype=np.float32)
    merits, prompts = [1.0, 0.9, 0.5, 0.8, 0.0], ["snow", "snow", "beach", "snow", "meadow"]
    assert choose(merits, vectors, 2) == [0, 3]
    assert choose(merits, vectors, 2, prompts) == [0, 2]
    assert choose(merits, vectors, 4, prompts) == [0, 3, 2, 1]  # no more are left of the beach


def test_the_pose_of_a_true_picture_costs_no_merit_and_a_copy_has_none() -> None:
    assert Figures(0.9, 0.8, 1.0, copied=0.4).merit == pytest.approx(0.72)
    assert Figures(0.9, 0.8, 1.0, copied=0.5).merit == 0


def test_copies_are_no_crowd_to_stand_out_from_and_no_likeness_to_reach() -> None:
    rng = np.random.default_rng(0)
    places = [rng.normal(size=(16, 8)).astype(np.float32) + far for far in (0.0, 9.0)]
    copies = [Candidate(Path(), "penny, snow", seed, 1.0, "", Figures(1.0, 1.0, 1.0, 0.9)) for seed in range(12)]
    others = [Candidate(Path(), "penny, snow", seed, 0.7, "", Figures(0.5, 1.0, 1.0, 0.1)) for seed in range(3)]
    nearly = [places[0] + 0.01 * number for number in range(12)] + [places[1] + 0.01 * number for number in range(3)]
    choice = best_that_differ([*copies, *others], nearly, 4, least_likeness=0.6)
    assert choice.chosen and {each.strength for each in choice.chosen} == {0.7} and choice.passed_over == {"copies": 12}
    assert best_that_differ(copies, nearly[:12], 4, 0.6) == ([], {"copies": 12})


def test_what_is_far_from_all_others_stands_out() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(12, 8)).astype(np.float32)
    assert stand_outs(crowd) == set()
    crowd[4] += 12
    assert stand_outs(crowd) == {4}
    assert stand_outs(crowd[:3]) == set()


def test_one_picture_is_seen_in_several_views_and_many_as_they_are() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    found = views([picture])
    assert len(found) == 12 and {each.size for each in found} == {(60, 40)}
    assert found[0] is picture and len({each.tobytes() for each in found}) == 12
    assert views([picture] * 3) == [picture] * 3


# --------------------------------------------------------------------------------------------------------- painting


@pytest.mark.parametrize("solver", ["dpm++", "ddim", "euler"])
def test_diffusers_own_img2img_makes_the_same_picture(dataset: Dataset, solver: Any) -> None:
    model = dataset.base.load("cpu", "fp32")  # type: ignore[attr-defined]
    recipe = SamplingOptions(size=(64, 64), steps=6, cfg=4.0, solver=solver, negative="blue")
    sampler, picture = Sampler(model, recipe), torch.rand((1, 3, 64, 64)) * 2 - 1
    prompts, seeds = ["red, round", "a green one"], [5, 6]
    with torch.inference_mode():
        latents = torch.cat([model.encode_images(picture)] * 2)
    sampler.read(prompts)
    ours = sampler.pictures(prompts, seeds, lambda: None, Start(latents, 0.5))
    pipeline = StableDiffusionImg2ImgPipeline(**pipeline_of(model).components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = model.diffusion.solver(solver, 6, model.device, (4, 8, 8)).scheduler
    theirs = pipeline(
        prompts, image=latents, strength=0.5, negative_prompt=["blue"] * 2, num_inference_steps=6, guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images  # fmt: skip
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(np.asarray(mine).astype(int) - np.asarray(other)).max() <= 1  # of 255: one rounding


def test_a_style_and_the_weights_add_up(dataset: Dataset, weights: Weights) -> None:
    model = dataset.base.load("cpu", "fp32")  # type: ignore[attr-defined]
    learned = formats.open(weights.snapshots[-1].path, model.kohya_names())
    (part, path), module = next(iter(learned.modules.items()))
    base = model.part(part).get_submodule(path)
    x = torch.randn((2, base.in_features), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        without, change = base(x), x @ module.delta(None).T
        with attached(WeightsAdapter(learned), model, learned.parts) as style:
            style.set_strength({part: 0.5})
            with attached(WeightsAdapter(learned), model, learned.parts) as inner:
                inner.set_strength({part: 2.0})
                both = model.part(part).get_submodule(path)(x)
        after = model.part(part).get_submodule(path)(x)
    assert torch.allclose(both, without + 2.5 * change, atol=1e-5)
    assert torch.equal(after, without)


# ------------------------------------------------------------------------------------------------------- the stage


def test_it_leaves_pictures_with_captions_and_what_they_were_made_of(grown: Pictures) -> None:
    files = sorted(each.name for each in grown.folder.iterdir())
    assert files == ["01.png", "01.txt", "02.png", "02.txt", "lorapipe-generated.json"]
    body = json.loads((grown.folder / "lorapipe-generated.json").read_text("utf-8"))
    for entry in body["pictures"]:
        picture = grown.folder / entry["file"]
        assert picture.with_suffix(".txt").read_text("utf-8") == f"{entry['prompt']}\n"
        assert entry["prompt"] in PROMPTS and entry["seed"] in (0, 1, 1000, 1001) and entry["strength"] == 1
        assert Image.open(picture).size == (64, 64)
    assert grown.sheet.is_file() and grown.as_source == grown.folder


def test_a_killed_one_goes_on_with_the_pictures_that_are_there(folder: Path, weights: Weights, grown: Pictures) -> None:
    bench = tiny.Bench(folder)
    left = 9

    def stopping() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    bench.stopping = stopping
    with pytest.raises(LorapipeError):
        small(weights, batch=1).run(bench.context("killed"))
    painted = {each: each.stat().st_mtime_ns for each in (folder / "killed" / "resume").rglob("*.png")}
    assert painted
    again = made(small(weights, batch=1), folder, "killed")
    assert {each: each.stat().st_mtime_ns for each in painted} == painted
    chosen = [json.loads((each.folder / "lorapipe-generated.json").read_text("utf-8")) for each in (again, grown)]
    assert [each["prompt"] for each in chosen[0]["pictures"]] == [each["prompt"] for each in chosen[1]["pictures"]]


def test_the_base_alone_paints_without_any_true_picture(folder: Path, dataset: Dataset) -> None:
    found = made(small(None, base=dataset.base), folder, "class")
    assert found.likeness is None and len([*found.folder.glob("*.png")]) == 2


def test_styles_earlier_pictures_and_img2img_are_candidates_too(
    folder: Path, weights: Weights, grown: Pictures
) -> None:
    from lorapipe.stages._merge_inputs import AdapterFile, AdapterWeight

    style = AdapterWeight(file=AdapterFile(weights.snapshots[-1].path), strength=0.5)
    stage = small(weights, styles=(style,), denoise=0.7, again=(PictureFolder(grown.folder),), choose=99)
    bench = tiny.Bench(folder)
    found = stage.run(bench.context("styled"))
    body = json.loads((found.folder / "lorapipe-generated.json").read_text("utf-8"))
    assert any("of 6 pictures chosen" in event.text for event in bench.of(Log))  # type: ignore[attr-defined]
    assert {each["style"] for each in body["pictures"]} <= {"", weights.snapshots[-1].path.stem}


def test_a_person_chooses_by_number_and_a_wrong_answer_is_asked_again(folder: Path, weights: Weights) -> None:
    stage = small(weights, ask=True)
    with pytest.raises(Unanswered) as asked:
        made(stage, folder, "asked")
    question = json.loads(asked.value.answer.with_name(QUESTION).read_text("utf-8"))
    assert [each["number"] for each in question["pictures"]] == [1, 2, 3, 4] and len(question["proposed"]) <= 2
    merits = [each["merit"] for each in question["pictures"]]
    assert merits == sorted(merits, reverse=True)
    for wrong in ("1 9", "two", ""):
        asked.value.answer.write_text(wrong, "utf-8")
        with pytest.raises(Unanswered):
            made(stage, folder, "asked")
        assert not asked.value.answer.exists()
    asked.value.answer.write_text("4, 2\n", "utf-8")
    found = made(stage, folder, "asked")
    chosen = [Path(question["pictures"][number - 1]["file"]).read_bytes() for number in (2, 4)]
    assert [each.read_bytes() for each in sorted(found.folder.glob("*.png"))] == chosen


def test_it_stops_where_the_likeness_falls(folder: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    from lorapipe.stages import _synthesis

    likeness = iter([0.3, 0.6])  # of the new ones, then of those before
    monkeypatch.setattr(_synthesis, "mean_likeness", lambda found: next(likeness))
    before = Pictures(folder=tiny.dataset(folder).images, sheet=Path("sheet.png"))
    with pytest.raises(LorapipeError, match="fell from 60 % to 30 %"):
        made(small(weights, after=before), folder, "fallen")


def test_nothing_to_paint_with_is_said(dataset: Dataset) -> None:
    assert [each.path for each in Synthesize().problems()] == [("weights",), ("prompts",)]
    assert [each.path for each in Synthesize(base=dataset.base, denoise=0.5, prompts=("a",)).problems()] == [
        ("denoise",)
    ]  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- prepare beside others


@pytest.fixture(scope="module")
def both(folder: Path, dataset: Dataset, grown: Pictures) -> Dataset:
    images = PictureFolder(dataset.images)
    prepare = Prepare(
        images=images, more_images=(PictureFolder(grown.folder),), base=dataset.base, duplicate_tolerance=0
    )  # type: ignore[arg-type]
    return prepare.run(tiny.Bench(folder).context("both"))


def test_several_folders_are_one_dataset_with_the_generated_ones_marked(both: Dataset, dataset: Dataset) -> None:
    pictures = Manifest.load(both.manifest).pictures
    assert sorted({each.path.partition("/")[0] for each in pictures}) == ["1", "2"]
    assert [each.path.startswith("2/") for each in pictures] == [each.generated for each in pictures]
    assert sum(each.generated for each in pictures) == 2
    assert '"generated"' not in dataset.manifest.read_text("utf-8")


def test_the_users_pictures_stay_as_they_are(both: Dataset, dataset: Dataset) -> None:
    for file in dataset.images.iterdir():
        assert file.stat().st_nlink == 1 and file.stat().st_mode & stat.S_IWUSR


def test_an_evaluation_compares_with_true_pictures_where_there_are_enough(both: Dataset) -> None:
    manifest = Manifest.load(both.manifest)
    made = [each for each in manifest.training if each.generated]
    one = next(each for each in manifest.training if not each.generated)
    true = [replace(one, path=f"1/{number}.png") for number in range(8)]
    assert compared(replace(manifest, pictures=(*true, *made))) == true
    few = (*true[:7], *made)
    assert compared(replace(manifest, pictures=few)) == [*few]


def test_generated_pictures_count_as_much_as_asked(both: Dataset, folder: Path) -> None:
    context = tiny.Bench(folder).context("set")
    cache = Cache(context.cache)
    found = load_training_set((both,), None, Captioning(), 1.0, cache, "cpu", context, 0.25)
    assert found.weights is not None
    assert {(each.generated, weight) for each, weight in zip(found.all, found.weights, strict=True)} == {
        (False, 1.0),
        (True, 0.25),
    }
    assert load_training_set((both,), None, Captioning(), 1.0, cache, "cpu", context).weights is None


def test_another_programs_file_is_no_mark_and_a_damaged_one_of_ours_is_said(
    folder: Path, dataset: Dataset, tmp_path: Path
) -> None:
    images = tiny.draw(tmp_path / "images")
    (images / "generated.json").write_text("no JSON", "utf-8")
    prepare = Prepare(images=PictureFolder(images), base=dataset.base, duplicate_tolerance=0)  # type: ignore[arg-type]
    assert prepare.run(tiny.Bench(tmp_path).context("one")).images == images
    (images / "lorapipe-generated.json").write_text("no JSON", "utf-8")
    with pytest.raises(InputError, match=r"lorapipe-generated\.json"):
        prepare.run(tiny.Bench(tmp_path).context("two"))


# ------------------------------------------------------------------------------------------------- in the language


def test_images_may_be_a_list_with_what_a_stage_makes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    text = """\
stages:
  grown: {uses: synthesize, base: {family: sd15, checkpoint: pocket}, prompts: [cat]}
  set: {uses: prepare, images: [a, $grown], base: {family: sd15, checkpoint: pocket}}
"""
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    pipeline = loader.load(tmp_path / "p.yaml")
    stage = pipeline.stages["set"]
    assert isinstance(stage, Prepare) and pipeline.needs["set"] == ("grown",)
    assert stage.images == PictureFolder(tmp_path / "a") and stage.is_pending
    assert any("$grown" in line for line in stage.outlook(pipeline.stages))


def test_a_wrong_entry_of_the_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    base = {"family": "sd15", "checkpoint": "pocket"}

    def complaints(**knobs: object) -> list[tuple[object, ...]]:
        found = parse_spec(Prepare, {"uses": "prepare", "base": base, **knobs}, tmp_path)
        return [each.path for each in found.problems]

    assert ("images", 1) in complaints(images=["a", "missing"])
    assert ("images",) in complaints(images=[])
    assert ("images",) in complaints(images=["a"], more_images=["a"])
    assert complaints(images=["a", "a"], masks="a") == [("masks",)]
    assert complaints(images="a", more_images=["a"]) == []


def test_one_folder_has_the_key_that_it_always_had(tmp_path: Path) -> None:
    from lorapipe.pipeline.keys import identify

    class Digests:
        listings: ClassVar[dict[str, dict[str, str]]] = {}

        def path(self, path: Path) -> str:
            return path.name

    images = tiny.draw(tmp_path / "a")
    base = SD15(checkpoint=Checkpoint(Path("pocket")))
    plain = Prepare(images=Source(images), base=base)  # type: ignore[arg-type]
    assert identify(plain, Digests()).key == identify(Prepare(images=PictureFolder(images), base=base), Digests()).key
