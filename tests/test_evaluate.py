"""The evaluate stage on a tiny base: what lies in its folder, what it hands on, and what a stop costs."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tiny
from corpus.disks import damage, flipped
from PIL import Image
from safetensors.torch import load_file

from lorapipe.drawing.sheet import Sheet
from lorapipe.errors import InputError, Interrupted
from lorapipe.evaluation import report_data, verdict
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_plan import BASE, MOST_CAPTIONS, Cell, GridPlan
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.probe import Prober, compared
from lorapipe.evaluation.verdict import State
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Report, Weights
from lorapipe.pipeline.events import Log, Metric, Preview, Progress
from lorapipe.pipeline.references import Ref
from lorapipe.spec import Duration
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.interval import Interval

PROMPTS = ("penny, red", "penny, blue")
STATES = tuple(f"{state}:" for state in get_args(State))


@pytest.fixture(scope="module")
def weights(folder: Path, dataset: Dataset) -> Weights:
    train = Train(
        dataset=dataset, adapter=LoRA(rank=4), steps=Duration(12), snapshots=Interval(3), unet_lr=5e-3, batch=2
    )
    return train.run(tiny.Bench(folder).context("train"))


def small(weights: Weights, **knobs: Any) -> Evaluate:
    knobs = {"prompts": PROMPTS, "strengths": (0.5, 1.0), "part_strengths": (), "steps": 3, **knobs}
    return Evaluate(weights=weights, **knobs)


@pytest.fixture(scope="module")
def judged(folder: Path, weights: Weights) -> tuple[Report, tiny.Bench]:
    bench = tiny.Bench(folder)
    return small(weights).run(bench.context("whole")), bench


@pytest.fixture(scope="module")
def report(judged: tuple[Report, tiny.Bench]) -> Report:
    return judged[0]


def test_it_leaves_a_page_a_grid_and_every_picture(report: Report) -> None:
    out = report.page.parent
    assert report.page.read_text("utf-8").startswith("<!doctype html>")
    with Image.open(report.grid) as grid:
        assert grid.width > 400
    cells = {path.parent.name for path in (out / "pictures").glob("*-*/*.png")}
    assert len(cells - {"cfg-1.5"}) == 1 + 3 * 2  # the base, and three snapshots at two strengths
    assert len(list((out / "pictures").glob("*/*.png"))) == 7 * 6  # the trigger word and two prompts, two pictures
    assert json.loads(report.data.read_text("utf-8"))["prompts"] == ["penny", *PROMPTS]


def test_every_picture_of_a_cell_begins_at_a_noise_of_its_own(tmp_path: Path) -> None:
    """Whatever else is painted: twice as many of each prompt, or fewer prompts, keep the noises that there are."""
    images = ImageStore(tmp_path, ("penny", "penny, asleep", "penny, snow"), 4, 7)
    seeds = {slot: images.noise_seed(slot) for slot in images.slots}
    assert len({*seeds.values()}) == 12
    for other in (images.doubled(), images.of_prompts(2)):
        assert all(other.noise_seed(slot) == seeds[slot] for slot in other.slots if slot in seeds)


def test_what_it_chooses_is_sampled_once_more_at_a_low_cfg(report: Report) -> None:
    """From the same noise and with the same prompts, and the reasons tell of it."""
    (low,) = (report.page.parent / "pictures" / "cfg-1.5").iterdir()
    usual = report.page.parent / "pictures" / low.name
    verdict = json.loads(report.data.read_text("utf-8"))["verdict"]
    assert low.name.startswith(f"{verdict['best']['step']:06d}")
    for file in low.glob("*.png"):
        assert (np.asarray(Image.open(file)) != np.asarray(Image.open(usual / file.name))).any()
    assert len(list(low.glob("*.png"))) == 6
    assert any("At CFG 1.5" in reason for reason in verdict["reasons"])


def test_it_hands_on_one_snapshot_and_a_strength(report: Report, weights: Weights) -> None:
    (best,) = report.best.snapshots
    assert best in weights.snapshots
    assert report.best.strength in (0.5, 1.0)
    data = json.loads(report.data.read_text("utf-8"))
    report_data.DOCUMENT.require(data, "report.json")
    assert data["verdict"]["state"]


def test_more_strength_is_further_from_the_base(report: Report) -> None:
    pictures = report.page.parent / "pictures"

    def cell(name: str) -> np.ndarray:
        files = sorted((pictures / name).glob("*.png"))
        return np.stack([np.asarray(Image.open(file)).astype(float) for file in files])

    half, full = (np.abs(cell(Cell(12, strength, strength).slug) - cell(BASE.slug)).mean() for strength in (0.5, 1.0))
    assert 0 < half < full


def test_it_tells_how_far_it_is_and_what_it_found(judged: tuple[Report, tiny.Bench]) -> None:
    bench = judged[1]
    progress = [event for event in bench.told if isinstance(event, Progress) and event.unit == "pictures"]
    assert progress[-1].step == progress[-1].total == 8 * 6  # and those at a low CFG
    assert {event.step for event in bench.of(Metric)} == {4, 8, 12}
    assert bench.of(Preview)
    assert any(event.text.startswith(STATES) for event in bench.of(Log)), "the log tells the verdict"


def test_a_stop_costs_a_batch_at_most(weights: Weights, bench: tiny.Bench, report: Report) -> None:
    counted = iter(range(1_000))
    bench.stopping = lambda: next(counted) > 10
    with pytest.raises(Interrupted):
        small(weights).run(bench.context("stopped"))
    made = {path: path.stat().st_mtime_ns for path in (bench.folder / "stopped" / "resume").rglob("*.png")}
    assert made
    bench.stopping = lambda: False
    damaged = min(made)
    damage(damaged, flipped)
    again = small(weights).run(bench.context("stopped"))
    after = {path: path.stat().st_mtime_ns for path in (bench.folder / "stopped" / "resume").rglob("*.png")}
    kept = [path for path in made if path.parent != damaged.parent]
    assert kept and all(after[path] == made[path] for path in kept)  # none was sampled again
    assert [damaged.name in event.text for event in bench.of(Log) if "made again" in event.text] == [True]
    assert again.data.read_bytes() == report.data.read_bytes()
    for path in (report.page.parent / "pictures").rglob("*.png"):
        twin = again.page.parent / path.relative_to(report.page.parent)
        assert twin.read_bytes() == path.read_bytes()


def test_its_guidance_is_the_bases_own_unless_given(report: Report, weights: Weights, bench: tiny.Bench) -> None:
    assert "CFG 7" in json.loads(report.data.read_text("utf-8"))["about"]["sampling"]
    pocket = SD15(checkpoint=Checkpoint.parse("pocket", Path()))
    assert (pocket.usual_cfg(), weights.dataset.base.usual_cfg()) == (4, 7)


def test_a_size_that_does_not_fit_is_refused(weights: Weights, bench: tiny.Bench) -> None:
    with pytest.raises(InputError, match="does not fit"):
        small(weights, size=Resolution(68, 64)).run(bench.context("size"))


def test_a_broken_snapshot_is_named(weights: Weights, bench: tiny.Bench, tmp_path: Path) -> None:
    broken = tmp_path / "step.safetensors"
    broken.write_bytes(weights.snapshots[0].path.read_bytes()[:200])
    first = dataclasses.replace(weights.snapshots[0], path=broken)
    with pytest.raises(InputError, match="is not a whole safetensors file"):
        small(dataclasses.replace(weights, snapshots=(first,))).run(bench.context("broken"))


def test_the_best_can_be_trained_further_by_others(report: Report) -> None:
    assert all(tensor.isfinite().all() for tensor in load_file(report.best.snapshots[0].path).values())


def test_where_it_is_not_sure_it_paints_more_and_keeps_what_it_has(
    weights: Weights, bench: tiny.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However sure it is, here it never is: so it doubles its pictures twice, and no more."""
    monkeypatch.setattr(verdict, "SURE", 1.1)
    knobs: dict[str, Any] = {"strengths": (1.0,), "snapshots": 1, "steps": 2, "low_cfg": None, "batch": 3}
    once = small(weights, **knobs).run(bench.context("once"))
    read, probed = counted(monkeypatch, FeatureReader, "_batch"), counted(monkeypatch, Prober, "_losses")
    more = small(weights, surer="auto", **knobs).run(bench.context("surer"))
    assert sum(len(pictures) for (pictures,) in read) == 4 * 2 * 6 + len(training_compared(weights)), (
        "each is looked at once"
    )
    assert len(probed) == 2, "the base and the snapshot are probed once"
    first, after = (
        {path.relative_to(out.page.parent): path.read_bytes() for path in files(out)} for out in (once, more)
    )
    assert len(after) == 4 * len(first) == 4 * 2 * 6
    assert {path: after[path] for path in first} == first, "the pictures of the first round are the same"
    data = json.loads(more.data.read_text("utf-8"))
    assert data["verdict"]["state"] == "not sure" and "8 a prompt, 2 at first" in data["about"]["pictures"]
    assert sum("judged again" in event.text for event in bench.of(Log)) == 2

    late = iter(range(1_000))
    bench.stopping = lambda: next(late) > 20
    with pytest.raises(Interrupted):
        small(weights, surer="auto", **knobs).run(bench.context("broken-off"))
    bench.stopping = lambda: False
    kept = {path: path.stat().st_mtime_ns for path in (bench.folder / "broken-off" / "resume").rglob("*.png")}
    assert len(first) < len(kept) < len(after)
    again = small(weights, surer="auto", **knobs).run(bench.context("broken-off"))
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items()), "none is painted twice"
    assert {path.relative_to(again.page.parent): path.read_bytes() for path in files(again)} == after
    assert again.data.read_bytes() == more.data.read_bytes()


def counted(monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> list[tuple[Any, ...]]:
    """What a method is called with from now on; it does what it did."""
    calls: list[tuple[Any, ...]] = []
    does = getattr(of, name)

    def counting(self: object, *given: Any) -> Any:
        calls.append(given)
        return does(self, *given)

    monkeypatch.setattr(of, name, counting)
    return calls


def training_compared(weights: Weights) -> list[Any]:
    """The training pictures that pictures are compared with."""
    assert weights.dataset is not None
    return compared(Manifest.load(weights.dataset.manifest))


def test_each_part_alone_is_sampled_at_other_strengths(weights: Weights, bench: tiny.Bench) -> None:
    knobs: dict[str, Any] = {"snapshots": 1, "steps": 2, "low_cfg": None, "pictures": 1, "prompts": tuple("abcde")}
    found = small(weights, strengths=(0.7,), part_strengths=(0.5, 1.5), **knobs).run(bench.context("apart"))
    data = json.loads(found.data.read_text("utf-8"))
    apart = {(each["strength"], each["text_encoder"]): each for each in data["apart"]}
    assert {*apart} == {(1, 1), (0.5, 1), (1.5, 1), (1, 0.5), (1, 1.5)} and data["apart_prompts"] == 4
    assert {(each["strength"], each["text_encoder"]) for each in data["cells"]} == {(0, 0), (0.7, 0.7)}
    folders = {path.name: len([*path.glob("*.png")]) for path in (found.page.parent / "pictures").iterdir()}
    assert folders == {"000000-0-0": 6, "000012-0.7-0.7": 6} | {
        f"000012-{ours:g}-{theirs:g}": 4 for ours, theirs in apart
    }, "of the first four prompts alone"
    progress = [event for event in bench.told if isinstance(event, Progress) and event.unit == "pictures"]
    assert progress[-1].step == progress[-1].total == 2 * 6 + 5 * 4
    page = unescape(found.page.read_text("utf-8"))
    section = page[page.index("Parts apart") :]
    for (ours, theirs), scored in apart.items():
        title = "both 1" if ours == theirs else f"U-Net {ours:g}" if theirs == 1 else f"text encoder {theirs:g}"
        row = re.search(rf"<tr><th[^>]*>(?:<span[^>]*>)?{title}<.*?</tr>", section)
        assert row and f"<td>{round(100 * scored['identity'])} %</td>" in row[0]


def test_a_part_is_not_sampled_beyond_a_strength_that_makes_it_worse(weights: Weights, bench: tiny.Bench) -> None:
    knobs: dict[str, Any] = {"snapshots": 1, "steps": 2, "low_cfg": None, "strengths": (1.0,)}
    found = small(weights, part_strengths=(0.0, 0.5, 1.5, 2.0), **knobs).run(bench.context("ways"))
    apart = {Cell(each["step"], each["strength"], each["text_encoder"]): each["merit"] for each in cells_apart(found)}
    for way in GridPlan((12,), (1.0,), (0.0, 0.5, 1.5, 2.0)).part_ways(12):
        near, far = way
        assert (far in apart) == (apart[near] >= apart[Cell(12, 1.0, 1.0)])
    progress = [event for event in bench.told if isinstance(event, Progress) and event.unit == "pictures"]
    assert progress[-1].step == progress[-1].total == len([*(found.page.parent / "pictures").rglob("*.png")])


def cells_apart(report: Report) -> list[dict[str, Any]]:
    """The cells of a report with the parts apart."""
    return list(json.loads(report.data.read_text("utf-8"))["apart"])


def test_a_training_of_one_part_is_not_taken_apart(folder: Path, dataset: Dataset) -> None:
    train = Train(dataset=dataset, adapter=LoRA(rank=4), steps=Duration(4), text_encoder_lr=0, batch=2)
    bench = tiny.Bench(folder)
    alone = train.run(bench.context("denoiser-only"))
    knobs: dict[str, Any] = {"snapshots": 1, "steps": 1, "low_cfg": None, "part_strengths": (0.5,), "pictures": 1}
    assert cells_apart(small(alone, **knobs).run(bench.context("one-part"))) == []


def test_the_plan_counts_parts_only_where_both_are_trained(dataset: Dataset) -> None:
    both = Train(dataset=dataset)
    of_one = dataclasses.replace(both, text_encoder_lr=0)
    stage = small(Ref("train"), part_strengths=(0.5, 2.0))  # type: ignore[arg-type]
    counts = [stage.demand({"train": each}, 0).painted for each in (both, of_one)]
    assert counts == [6 * (1 + 12 + 1) + 6 * 4 + MOST_CAPTIONS, 6 * (1 + 12 + 1) + MOST_CAPTIONS]


def files(report: Report) -> list[Path]:
    return [*report.page.parent.glob("pictures/*/*.png")]


def test_the_plan_says_what_being_surer_may_cost(weights: Weights) -> None:
    (never,), (auto,) = (small(weights, surer=surer).outlook({}) for surer in ("never", "auto"))
    # the base, six snapshots × two strengths, one at a low CFG: of these four times as many; and sixteen captions
    assert never == "at most 100 pictures of 3 steps"
    assert auto == f"{never}; where that leaves it unsure, up to 352 (surer: auto)"


def test_page_grid_log_and_json_never_contradict_each_other(judged: tuple[Report, tiny.Bench]) -> None:
    report, bench = judged
    data = json.loads(report.data.read_text("utf-8"))
    verdict, page = data["verdict"], unescape(report.page.read_text("utf-8"))
    said = [verdict["headline"], *verdict["reasons"], *(advice["what"] for advice in verdict["advice"])]
    assert all(text in page for text in said)
    assert f'-state"><span lang="en">{verdict["state"]}</span>' in page
    log = " ".join([f"{verdict['state']}:", verdict["headline"], *verdict["reasons"]])
    assert [event.text for event in bench.of(Log) if event.text.startswith(STATES)] == [log]

    best = Cell(**verdict["best"])
    assert (report.best.snapshots[0].step, report.best.strength) == (best.step, best.strength)
    (row,) = re.findall(r'<tr class="best">(.*?)</tr>', page)
    assert f">{best}<" in row
    (cell,) = [each for each in data["cells"] if Cell(*(each[key] for key in verdict["best"])) == best]
    assert re.findall(r"<td>(.*?)</td>", row)[0] == f"{round(100 * cell['identity'])} %"
    for advice in verdict["advice"]:
        assert all(f"{knob.split('.')[-1]}: {value:g}" in page for knob, value in advice["patch"].items())
    with Image.open(report.grid) as grid:
        sheet = Sheet()
        sheet.text(36, 36, verdict["headline"], 27)  # where the grid has its title
        area = (36, 36, min(sheet.right, grid.width), 66)
        drawn = sheet.drawn((max(sheet.right, grid.width), 80))
        assert grid.convert("RGB").crop(area).tobytes() == drawn.convert("RGB").crop(area).tobytes()
