"""Tuning a LoRA that leaks: the dataset takes the captions of a caption stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.tune_options import CAPTIONS_FROM
from lorapipe.spec import Ref
from lorapipe.tuning.judgement import Advice, Judgement
from lorapipe.tuning.rounds import TuningState, begun, moved_text, next_of, pipeline_of, why_text, with_other_captions
from lorapipe.tuning.search import Change, End, Round
from lorapipe.tuning.tuned_files import pipeline_text

TEXT = """\
tune: {free: [unet_lr], captions: CAPTIONS}
stages:
  dataset: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}, DATASET}
  penny: {uses: train, dataset: $dataset, steps: 10}
  grid: {uses: evaluate, weights: $penny, prompts: ["penny, beach"]}
  grown: {uses: synthesize, weights: $penny, prompts: ["penny, snow"]}
  tags: {uses: caption, images: IMAGES, tagger: pocket, existing: extend}
"""


def loaded(folder: Path, captions: str = "tags", dataset: str = "held_out: 0", images: str = "photos") -> TuningState:
    photos = folder / "photos"
    photos.mkdir(exist_ok=True)
    for number in range(2):
        Image.new("RGB", (64, 64), (90 * number, 0, 90)).save(photos / f"{number}.png")
        (photos / f"{number}.txt").write_text("penny", encoding="utf-8")
    text = TEXT.replace("CAPTIONS", captions).replace("DATASET", dataset).replace("IMAGES", images)
    (folder / "penny.yaml").write_text(text, encoding="utf-8")
    return begun(loader.load(folder / "penny.yaml"))


def judged(state: str, merit: float, patch: dict[str, float] | None = None) -> Judgement:
    return Judgement("grid", state, "", 1.0, 10, merit, advice=(Advice("Learn more slowly.", patch),) if patch else ())


def after(tuned: TuningState, change: Change | None, judgement: Judgement) -> TuningState:
    """The tuning with a round of this judgement, as `with_round` adds it."""
    settings = tuned.settings(change)
    values = {"unet_lr": settings.get("unet_lr", 1e-4), CAPTIONS_FROM: settings.get(CAPTIONS_FROM, 0.0)}
    moved = () if change is None else (*change.values,)
    base = -1 if change is None else change.base
    found = Round(values, (with_other_captions(judgement, "tags"),), settings, base, "advice", moved)
    return replace(tuned, rounds=(*tuned.rounds, found), changes=(*tuned.changes, change))


def test_a_lora_that_leaks_gets_the_caption_stages_captions(tmp_path: Path) -> None:
    tuned = after(loaded(tmp_path), None, judged("leaks", 0.3, {"unet_lr": 5e-5}))
    change = next_of(tuned)
    assert isinstance(change, Change) and change.values == {CAPTIONS_FROM: 1.0}
    assert "captions" in moved_text(tuned.rounds, change) and "those of tags" in why_text(change)
    pipeline = pipeline_of(tuned, tuned.settings(change))
    assert pipeline.stages["dataset"].captions_from == Ref("tags")  # type: ignore[attr-defined]
    names = [*pipeline.with_needs(["grid"]).stages]
    assert names.index("tags") < names.index("dataset") < names.index("penny")
    assert "tags" not in tuned.pipeline.with_needs(["grid"]).stages  # without it, the tagger does not run


def test_captions_that_made_it_worse_are_taken_back_whole(tmp_path: Path) -> None:
    tuned = after(loaded(tmp_path), None, judged("leaks", 0.3, {"unet_lr": 5e-5}))
    change = next_of(tuned)
    assert isinstance(change, Change)
    tuned = after(tuned, change, judged("leaks", 0.1, {"unet_lr": 5e-5}))
    change = next_of(tuned)
    assert isinstance(change, Change) and change.base == 0 and change.values == {"unet_lr": 5e-5}


def test_they_stay_in_the_rounds_after_and_are_not_asked_for_twice(tmp_path: Path) -> None:
    tuned = after(loaded(tmp_path), None, judged("leaks", 0.3))
    change = next_of(tuned)
    assert isinstance(change, Change)
    tuned = after(tuned, change, judged("over-trained", 0.5, {"unet_lr": 5e-5}))
    change = next_of(tuned)
    assert isinstance(change, Change) and change.values == {"unet_lr": 5e-5}
    assert pipeline_of(tuned, tuned.settings(change)).stages["dataset"].captions_from == Ref("tags")  # type: ignore[attr-defined]
    still = after(after(loaded(tmp_path), None, judged("leaks", 0.3)), Change({CAPTIONS_FROM: 1.0}, 0, "advice", "", ""),
                  judged("leaks", 0.3))  # fmt: skip
    assert isinstance(next_of(still), End)


def test_no_other_state_changes_captions(tmp_path: Path) -> None:
    assert isinstance(next_of(after(loaded(tmp_path), None, judged("wrong captions", 0.3))), End)


def test_the_pipeline_to_keep_takes_them(tmp_path: Path) -> None:
    tuned = after(loaded(tmp_path), None, judged("leaks", 0.3))
    change = next_of(tuned)
    assert isinstance(change, Change)
    tuned = after(tuned, change, judged("good", 0.8))
    found = next_of(tuned)
    assert isinstance(found, End)
    (tmp_path / "kept.yaml").write_text(pipeline_text(replace(tuned, end=found)), encoding="utf-8")
    kept = loader.load(tmp_path / "kept.yaml")
    assert kept.tune is None and kept.stages["dataset"].captions_from == Ref("tags")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("captions", "dataset", "images", "told"),
    [
        ("tag", "held_out: 0", "photos", "Did you mean 'tags'?"),
        ("penny", "held_out: 0", "photos", "penny makes no captions."),
        ("tags", "captions_from: photos", "photos", "the dataset has captions_from already."),
        ("tags", "held_out: 0", "$grown", "tags needs the dataset that is to take its captions."),
    ],
)
def test_captions_that_cannot_be_taken_are_refused(
    tmp_path: Path, captions: str, dataset: str, images: str, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, captions, dataset, images)
    (problem,) = caught.value.problems
    assert told in str(problem) and "tune.captions" in str(problem)
