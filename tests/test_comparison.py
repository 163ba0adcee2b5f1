"""The comparison of a sweep: its ranking, what mattered, its page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from lorapipe.evaluation.comparison import Comparison, Entry, compared
from lorapipe.evaluation.comparison_page import page
from lorapipe.evaluation.selection import Scores, merit_error
from lorapipe.pipeline import loader
from lorapipe.pipeline.execution.runner import Run

SWEEP = """\
stages:
  text: {uses: words, folder: texts}
  penny:
    uses: learn
    text: $text
    matrix: {unet_lr: {from: 1e-5, to: 1e-3, log: true}, room.rank: [4, 8, 16], sample: 12}
  grid: {uses: grade, matrix: $penny, weights: $penny}
  best: {uses: compare, reports: $grid}
"""


def entry(place: int, merit: float, error: float = 0.02, **settings: float | str) -> Entry:
    return Entry(
        place, settings, "good", 1.0, 100, merit, 1.0, merit, error, ("a toy",), Path("pictures"), Path("report.html")
    )  # fmt: skip


def effects(found: Comparison) -> dict[str, tuple[float, bool]]:
    return {each.setting: (each.share, each.matters) for each in found.effects}


def test_the_highest_merit_is_first_and_equals_are_counted() -> None:
    found = compared([entry(0, 0.50, rate=1.0), entry(1, 0.71, rate=2.0), entry(2, 0.70, rate=3.0)])
    assert [each.place for each in found.ranking] == [1, 2, 0] and found.equal == 2
    assert found.headline == "The best is rate 2; 1 more cannot be told from it."


def test_what_was_left_out_comes_after_what_went_on() -> None:
    """A halved matrix: a cell that was left out after 40 steps is no worse for its merit at 40 than others at 240."""
    rates = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    merits = [0.3, 0.5, 0.7, 0.69, 0.35, 0.72]  # 8 and 4 went on; 32 was best after 40 steps of those that did not
    entries = [
        entry(place, *each, rate=rates[place]) for place, each in enumerate(zip(merits, [0.02] * 6, strict=True))
    ]
    left = [replace(each, left_at=None if each.settings["rate"] in (4.0, 8.0) else 40) for each in entries]
    found = compared(left)
    assert [each.settings["rate"] for each in found.ranking] == [4.0, 8.0, 32.0, 2.0, 16.0, 1.0]
    assert found.equal == 2 and found.headline.startswith("The best is rate 4;")
    html = page(found, 2)
    assert "left out at step" in html and "come after those that went on" in html
    assert "left out at step" not in page(compared(entries), 2)


def test_a_setting_whose_best_lies_between_others_is_found() -> None:
    """The merit falls on both sides of a rate of 1e-4, in the logarithm; the rank does nothing."""
    rng = Random(0)
    rates = [10 ** (-5 + 2 * (place + 0.5) / 12) for place in range(12)]
    entries = [
        entry(
            place, 0.8 - math.log(rate / 1e-4) ** 2 / 20 + rng.gauss(0, 0.02), unet_lr=rate, rank=rng.choice([4.0, 8.0])
        )
        for place, rate in enumerate(rates)
    ]
    found = effects(compared(entries))
    assert found["unet_lr"][0] > 0.8 and found["unet_lr"][1]
    assert found["rank"][0] < 0.5 and not found["rank"][1]
    assert [*found] == ["unet_lr", "rank"]


def test_a_setting_that_is_no_number_can_matter() -> None:
    rng = Random(1)
    kinds = ["adamw", "lion", "adamw", "lion", "adamw", "lion", "adamw", "lion"]
    merits = [(0.7 if kind == "lion" else 0.4) + rng.gauss(0, 0.03) for kind in kinds]
    entries = [
        entry(place, merit, optimizer=kind) for place, (kind, merit) in enumerate(zip(kinds, merits, strict=True))
    ]
    share, matters = effects(compared(entries))["optimizer"]
    assert share > 0.8 and matters


def test_noise_does_not_matter() -> None:
    """Of forty comparisons whose merits are drawn by lot, about a tenth find something."""
    found = 0
    for seed in range(40):
        rng = Random(seed)
        found += effects(compared([entry(place, rng.random(), rate=rng.random()) for place in range(10)]))["rate"][1]
    assert found <= 10


def test_of_few_trainings_nothing_is_said() -> None:
    found = effects(compared([entry(0, 0.1, rate=1.0), entry(1, 0.9, rate=2.0)]))
    assert found == {"rate": (0.0, False)}


def test_the_error_of_a_merit_is_that_of_its_pictures() -> None:
    """For a mean of identity alone the jackknife is the standard error of the mean."""
    shown = (0.2, 0.4, 0.6, 0.8)
    assert merit_error(Scores(shown)) == pytest.approx(math.sqrt(sum((each - 0.5) ** 2 for each in shown) / 3 / 4))
    assert merit_error(Scores((0.5,))) == 0


def test_a_sweep_ends_in_one_page(project: Path) -> None:
    (project / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    pipeline = loader.load(project / "sweep.yaml")
    assert len(pipeline.stages) == 1 + 12 + 12 + 1
    artifact = Run(pipeline, on="inline", devices=["cpu"]).finish()["best"]
    data = json.loads(artifact.data.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    merits = [each["merit"] for each in data["ranking"]]
    assert merits == sorted(merits, reverse=True) and len(merits) == 12
    page = artifact.page.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert "The best is" in page and "가장 좋은 것" in page and "What mattered" in page
