"""Which tag controls nothing, on the pocket base: one past the end of what is read, beside tags that work."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import tiny

from lorapipe.evaluation.report_data import DOCUMENT
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pocket import subject_penny
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES
from lorapipe.spec import Duration, Source
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.interval import Interval

UNREAD = "a small yellow duck with a blue scarf that stands in a quiet place and looks at nothing, " * 6
"""Far more than the 75 tokens that are read."""


def test_a_tag_that_is_never_read_is_named_and_tags_that_work_are_not(tmp_path: Path) -> None:
    """The pictures in a room are captioned with a word of their own, behind a long sentence."""
    rng, photos = Random(0), tmp_path / "photos"
    photos.mkdir()
    for number in range(27):
        scene = ATTRIBUTES["background"][number % 9]
        subject_penny.draw(subject_penny.pose(rng, scene), Pen()).save(photos / f"{number:02d}.png")
        word = f"{UNREAD}vornal" if scene == "room" else scene
        (photos / f"{number:02d}.txt").write_text(f"penny, {word}", encoding="utf-8")
    bench = tiny.Bench(tmp_path)
    base = SD15(checkpoint=Checkpoint.parse("pocket", Path()))
    dataset = Prepare(images=Source(photos), base=base, duplicate_tolerance=0, held_out=0).run(bench.context("prepare"))
    weights = Train(
        dataset=dataset, adapter=LoCon(rank=8), steps=Duration(50), unet_lr=3e-3, text_encoder_lr=1e-3, batch=4,
        snapshots=Interval(1, "times"),
    ).run(bench.context("train"))  # fmt: skip
    report = Evaluate(
        weights=weights, prompts=("penny, vornal", "penny, meadow", "penny, snow"), pictures=4, strengths=(1.0,),
        part_strengths=(), steps=6, cfg=2, low_cfg=None,
    ).run(bench.context("evaluate"))  # fmt: skip
    data = json.loads(report.data.read_text("utf-8"))
    DOCUMENT.require(data, "report.json")
    assert data["idle_tags"] == ["vornal"]
    (best,) = [each for each in data["cells"] if each["step"]]
    assert {*best["tags"]} == {"vornal", "meadow", "snow"} and best["tags"]["snow"]["effect"] > 0.4
    said = "The tag vornal changes nothing in the pictures, though 3 captions have it."
    assert [each["what"].startswith(said) for each in data["verdict"]["advice"]].count(True) == 1
    page = report.page.read_text("utf-8")
    assert said in page and "vornal 태그가 캡션 3개에 있지만 그림을 전혀 바꾸지 않습니다." in page
