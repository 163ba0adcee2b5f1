"""Early stopping: it ends a training whose later steps are worse, says why, keeps every snapshot, and resumes exactly."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from random import Random
from statistics import fmean

import pytest
import tiny
from PIL import Image, ImageDraw

from lorapipe.errors import InputError, Interrupted
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training import check_steps as cost
from lorapipe.training import early_stop
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.check_steps import check_steps
from lorapipe.training.early_stop_rule import PATIENCE, Check, reason_to_stop
from lorapipe.training.interval import Interval
from lorapipe.training_record import TrainingRecord

TOTAL = 40

# ---------------------------------------------------------------------------------------------------------- the rule


def curve(
    fit: list[float], held_out: list[float], drift: list[float], noise: float = 0.004, seed: int = 0
) -> list[Check]:
    """Checks of eight pictures each, whose losses lie around these means."""
    rng = Random(seed)
    apart = [[rng.gauss(0, 0.05) for _ in range(8)] for _ in range(3)]

    def around(mean: float, pictures: list[float]) -> tuple[float, ...]:
        return tuple(mean + each + rng.gauss(0, noise) for each in pictures)

    rows = zip(fit, held_out or [0.0] * len(fit), drift, strict=True)
    return [
        Check(10 * (place + 1), around(f, apart[0]), around(d, apart[2]), around(h, apart[1]) if held_out else ())
        for place, (f, h, d) in enumerate(rows)
    ]


def stop(checks: list[Check]) -> int | None:
    """The step after which a training with these checks stops, as it meets them one by one."""
    return next((checks[n - 1].step for n in range(1, len(checks) + 1) if reason_to_stop(checks[:n])), None)


FALLING = [1 - 0.7 * (1 - 0.9**n) for n in range(1, 21)]
RISING = [1 + 0.02 * n for n in range(1, 21)]


def test_a_held_out_loss_that_turns_up_stops_it_and_one_that_falls_does_not() -> None:
    turns = [1 - 0.05 * n for n in range(1, 6)] + [0.75 + 0.03 * n for n in range(1, 16)]
    at = stop(curve(FALLING, turns, RISING))
    assert at is not None and 10 * (5 + PATIENCE) <= at <= 10 * (7 + PATIENCE)
    assert stop(curve(FALLING, FALLING, RISING)) is None
    level = [max(each, 0.75) for each in FALLING]
    assert stop(curve(FALLING, level, RISING)) is None, "a held-out loss that stays says nothing against later steps"


def test_noise_alone_stops_no_training() -> None:
    """Of forty trainings whose held-out loss stays where it is, while they learn and drift, few are stopped."""
    level = [max(each, 0.75) for each in FALLING]
    stopped = sum(stop(curve(FALLING, level, RISING, noise=0.02, seed=seed)) is not None for seed in range(40))
    assert stopped <= 4
    assert all(stop(curve(FALLING, FALLING, RISING, noise=0.02, seed=seed)) is None for seed in range(10))


def test_a_rise_without_learning_or_drift_is_not_the_trainings() -> None:
    turns = [0.9] * 5 + [0.9 + 0.02 * n for n in range(1, 16)]
    assert stop(curve([1.0] * 20, turns, [1.0] * 20)) is None, "nothing is learnt and nothing drifts"


def test_without_held_out_pictures_it_takes_a_fit_that_stays_and_a_drift_that_goes_on() -> None:
    arrived = [max(each, 0.6) for each in FALLING]
    found = stop(curve(arrived, [], RISING))
    assert found is not None and found >= 10 * (6 + PATIENCE)
    assert stop(curve(FALLING[:8], [], RISING[:8])) is None, "it still learns"
    assert stop(curve(arrived, [], [1.05] * 20, noise=0)) is None, "nothing gets worse"


def test_without_held_out_pictures_it_stops_one_that_diverges() -> None:
    """Figures of four pictures at 4e-3 on the pocket base: the fit is lost, and the drift stays where it has jumped to."""
    fit = [0.58, 0.41, 0.29, 0.24, 1.12, *[13.9] * 15]
    drift = [1.54, 1.78, 2.23, 2.21, 2.05, *[19.9] * 15]
    at = stop(curve(fit, [], drift))
    assert at is not None and at <= 10 * (5 + PATIENCE)
    assert "what was learnt by step 40 is lost again" in (reason_to_stop(curve(fit, [], drift)[: at // 10]) or "")
    dips = [*FALLING[:8], 0.9, *FALLING[9:]]
    assert stop(curve(dips[:14], [], RISING[:14])) is None, "a bad moment from which it recovers"


def test_a_noisy_fit_that_stays_is_not_lost() -> None:
    level = [max(each, 0.6) for each in FALLING]
    stopped = [reason_to_stop(curve(level, [], [1.05] * 20, noise=0.02, seed=seed)) for seed in range(30)]
    assert sum(reason is not None for reason in stopped) <= 2


def test_the_reason_has_the_numbers() -> None:
    turns = [1 - 0.05 * n for n in range(1, 6)] + [0.75 + 0.03 * n for n in range(1, 6)]
    checks = curve(FALLING[:10], turns, RISING[:10], noise=0.0)
    reason = reason_to_stop(checks)
    before, after = (fmean(fmean(check.held_out) for check in some) for some in (checks[3:6], checks[-PATIENCE:]))
    assert reason is not None and "since step 50" in reason
    assert f"on held-out pictures from {before:.3f} to {after:.3f} of the base's" in reason


def test_checks_cost_at_most_a_fifth() -> None:
    for total, pictures in ((1000, 1), (700, 4), (3000, 2), (300, 16)):
        steps = check_steps(total, pictures)
        assert total not in steps and len(steps) <= 20
        assert len(steps) * cost.CHECK_PASSES <= cost.SHARE * cost.BACKWARD * total * pictures


# ------------------------------------------------------------------------------------------------------- a training


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twenty drawings, ten of them held out."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "pictures").mkdir()
    for number in range(20):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((8 + number, 8, 40 + number, 40), fill=tiny.COLOURS[number % 5])
        picture.save(folder / "pictures" / f"{number:02d}.png")
        (folder / "pictures" / f"{number:02d}.txt").write_text(f"penny, {tiny.COLOURS[number % 5]}", encoding="utf-8")
    base = SD15.tiny(folder / "base")
    prepare = Prepare(images=Source(folder / "pictures"), base=base, duplicate_tolerance=0, held_out=0.5)
    return prepare.run(tiny.Bench(folder).context("prepare"))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trainings are looked at as often as large ones."""
    monkeypatch.setattr(cost, "SHARE", 1e3)


def training(dataset: Dataset, rate: float = 5e-3, **knobs: object) -> Train:
    return Train(
        dataset=dataset,
        adapter=LoRA(rank=4),
        unet_lr=rate,
        text_encoder_lr=0,
        steps=Duration(TOTAL),
        snapshots=Interval(4),
        stop="early",
        batch=2,
        **knobs,  # type: ignore[arg-type]
    )


@pytest.fixture
def seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of evidence, which takes a base that can draw: seven checks are enough."""

    def enough(checks: Sequence[Check]) -> str | None:
        return f"{len(checks)} checks" if len(checks) >= 7 else None

    monkeypatch.setattr(early_stop, "reason_to_stop", enough)


@pytest.fixture
def stopped(pictures: Dataset, often: None, seven: None, bench: tiny.Bench) -> Weights:
    return training(pictures).run(bench.context("whole"))


def test_a_stopped_training_keeps_what_it_has_and_says_why(
    stopped: Weights, pictures: Dataset, bench: tiny.Bench, often: None
) -> None:
    last = stopped.snapshots[-1].step
    assert last == 14
    assert [each.step for each in stopped.snapshots] == [10, last] and all(
        each.path.is_file() for each in stopped.snapshots
    )
    told = json.loads((stopped.training.parent / "early_stop.json").read_text("utf-8"))
    assert told["stopped_at"] == last and told["of"] == TOTAL and len(told["checks"][0]["held_out"]) == 8
    record = TrainingRecord.load(stopped.training)
    assert record.steps == last and record.stopped == told["reason"]
    assert any(told["reason"] in event.text for event in bench.of(Log))
    shown = [event for event in bench.of(Metric) if "check/held_out" in event.values]
    assert [event.step for event in shown] == [check["step"] for check in told["checks"]]

    plain = dataclasses.replace(training(pictures), stop=None).run(bench.context("plain"))
    assert plain.snapshots[-1].step == TOTAL and not (plain.training.parent / "early_stop.json").exists()
    ours, theirs = (
        [json.loads(line) for line in each.log.read_text("utf-8").splitlines()] for each in (stopped, plain)
    )
    assert ours == theirs[:last], "looking at it changes nothing"


def test_a_training_that_learns_is_left_alone(pictures: Dataset, often: None, bench: tiny.Bench) -> None:
    weights = training(pictures).run(bench.context("slow"))
    assert weights.snapshots[-1].step == TOTAL
    assert json.loads((weights.training.parent / "early_stop.json").read_text("utf-8"))["stopped_at"] is None
    assert "stopped" not in json.loads(weights.training.read_text("utf-8"))


def test_it_resumes_to_the_same_end(stopped: Weights, pictures: Dataset, often: None, bench: tiny.Bench) -> None:
    """Stopped by hand on the way, and once more after its last step."""
    last = stopped.snapshots[-1].step
    for after in (last - 3, 2):
        counted = iter(range(10_000))
        bench.stopping = lambda counted=counted, after=after: next(counted) >= after  # type: ignore[misc]
        with pytest.raises(Interrupted):
            training(pictures).run(bench.context("again"))
    bench.stopping = lambda: False
    again = training(pictures).run(bench.context("again"))
    assert [each.step for each in again.snapshots] == [each.step for each in stopped.snapshots]
    for mine, other in zip(again.snapshots, stopped.snapshots, strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()
    for name in ("early_stop.json", "training.json", "metrics.jsonl"):
        assert (again.training.parent / name).read_bytes() == (stopped.training.parent / name).read_bytes()


def test_where_nothing_can_be_measured_it_is_refused(pictures: Dataset, dataset: Dataset, bench: tiny.Bench) -> None:
    with pytest.raises(InputError, match="too few to see a turn in"):
        training(pictures).run(bench.context("short"))
    word = Adapter.registry.get("embedding")(trigger="penny", init="red")  # type: ignore[union-attr]
    told = dataclasses.replace(
        training(dataset), adapter=word, text_encoder_lr=None, unet_lr=None, steps=Duration(3000)
    )
    with pytest.raises(InputError, match="pictures are held out"):
        told.run(bench.context("word"))
