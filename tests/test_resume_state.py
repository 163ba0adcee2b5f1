"""Damage to a resume state is detected and named before any of it is used; the result is the same."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from corpus.disks import DAMAGES, damage, flipped, sector_lost, tail_zeroed, zeroed

from lorapipe.checksum import Damaged, is_whole_png, reading, writing
from lorapipe.errors import Interrupted
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training import metrics_log
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training.resume_state import Checkpoints, Trainable

STEPS = 8


def training(dataset: Dataset) -> Train:
    return Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(STEPS), snapshots=Interval(4))


@pytest.fixture(scope="module")
def unbroken(folder: Path, dataset: Dataset) -> Weights:
    return training(dataset).run(tiny.Bench(folder).context("unbroken"))


@pytest.fixture
def stopped(dataset: Dataset, bench: tiny.Bench, unbroken: Weights, request: pytest.FixtureRequest) -> Path:
    """The resume folder of a training stopped after step 5: snapshots at 2 and 4, checkpoints at 4 and 5."""
    name = request.node.name.translate(str.maketrans("[]/ ", "____"))
    bench.stopping = lambda: len(bench.of(Metric)) >= 4
    context = bench.context(name)
    with pytest.raises(Interrupted):
        training(dataset).run(context)
    bench.stopping = lambda: False
    bench.told.clear()
    return context.resume


def warned(bench: tiny.Bench) -> list[str]:
    return [event.text for event in bench.of(Log) if event.level == "warning"]


def go_on(dataset: Dataset, bench: tiny.Bench, resume: Path, unbroken: Weights) -> list[int]:
    """Resume, which must end in the uninterrupted result; return the steps that it trained."""
    weights = training(dataset).run(bench.context(resume.parent.name))
    assert weights.log.read_bytes() == unbroken.log.read_bytes()
    assert len(weights.snapshots) == len(unbroken.snapshots) == 4
    for mine, other in zip(weights.snapshots, unbroken.snapshots, strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()
    return [event.step for event in bench.of(Metric)]


def checkpoints(resume: Path) -> list[Path]:
    return sorted((resume / "checkpoints").iterdir(), reverse=True)


def test_what_is_whole_is_gone_on_from_without_a_word(
    dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    assert go_on(dataset, bench, stopped, unbroken) == [6, 7, 8] and not warned(bench)


@pytest.mark.parametrize("how", [flipped, sector_lost, tail_zeroed], ids=lambda how: how.__name__)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    how: Any, dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    newest = checkpoints(stopped)[0]
    damage(newest, how)
    assert go_on(dataset, bench, stopped, unbroken) == [5, 6, 7, 8]
    [warning] = warned(bench)
    assert newest.name in warning and "damaged" in warning


@pytest.mark.parametrize("how", [flipped, zeroed, "removed"], ids=["flipped", "zeroed", "removed"])
def test_a_damaged_snapshot_is_made_again(
    how: Any, dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    """The checkpoints at 4 and 5 come after it: there is none before it any more."""
    snapshot = stopped / "snapshots" / "step-000002.safetensors"
    if how == "removed":
        snapshot.unlink()
    else:
        damage(snapshot, how)
    assert go_on(dataset, bench, stopped, unbroken) == [*range(1, 9)]
    *_, last, end = warned(bench)
    assert "snapshots/step-000002.safetensors" in last and "starts again" in end


def test_a_damaged_snapshot_with_a_checkpoint_before_it_costs_what_is_between(
    dataset: Dataset, bench: tiny.Bench, unbroken: Weights
) -> None:
    for told in (2, 3):
        bench.stopping = lambda told=told: len(bench.of(Metric)) >= told
        context = bench.context("between")
        with pytest.raises(Interrupted):
            training(dataset).run(context)
    bench.stopping = lambda: False
    bench.told.clear()
    assert [path.stem for path in checkpoints(context.resume)] == ["step-00000004", "step-00000003"]
    damage(context.resume / "snapshots" / "step-000004.safetensors", flipped)
    assert go_on(dataset, bench, context.resume, unbroken) == [4, 5, 6, 7, 8]
    assert len(warned(bench)) == 1


@pytest.mark.parametrize("how", [flipped, zeroed], ids=lambda how: how.__name__)
def test_the_curve_is_what_the_checkpoint_says(
    how: Any, dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    """The metrics file is for users during a training; resuming does not read it."""
    damage(stopped / "metrics.jsonl", how)
    assert go_on(dataset, bench, stopped, unbroken) == [6, 7, 8]


@pytest.mark.parametrize("name", ["checkpoints/step-00000005.pt", "snapshots/step-000004.safetensors", "metrics.jsonl"])
def test_a_folder_in_the_place_of_a_file_makes_way(
    name: str, dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    (stopped / name).unlink()
    (stopped / name / "deep").mkdir(parents=True)
    go_on(dataset, bench, stopped, unbroken)
    assert all(name.split("/")[1] in text for text in warned(bench)[:1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "step-00000004.pt")
    never: Any = None
    found = Checkpoints(tmp_path).load(never)
    assert found.step == 0 and "named pipe" in found.complaints[0]


def test_nothing_left_to_go_on_from_is_said(
    dataset: Dataset, bench: tiny.Bench, stopped: Path, unbroken: Weights
) -> None:
    for path in checkpoints(stopped):
        damage(path, flipped)
    assert go_on(dataset, bench, stopped, unbroken) == [*range(1, 9)]
    assert "starts again" in warned(bench)[-1]


def test_after_damage_there_are_two_checkpoints_again(dataset: Dataset, bench: tiny.Bench, stopped: Path) -> None:
    """Damaged states do not displace intact ones."""
    damage(checkpoints(stopped)[0], flipped)
    bench.stopping = lambda: len(bench.of(Metric)) >= 1
    with pytest.raises(Interrupted):
        training(dataset).run(bench.context(stopped.parent.name))
    bench.stopping = lambda: False
    for path in checkpoints(stopped):
        with reading(path):
            pass
    assert len(checkpoints(stopped)) == 2


def test_no_damage_at_all_is_overlooked(stopped: Path) -> None:
    """A real checkpoint, damaged in 200 ways, is never used."""
    [newest, other] = checkpoints(stopped)
    other.unlink()
    whole, chance = newest.read_bytes(), random.Random(1)
    never: Any = None  # a trainable that is never asked
    for number in range(200):
        how = (*DAMAGES, flipped, sector_lost)[number % (len(DAMAGES) + 2)]
        newest.write_bytes(how(whole, chance))
        found = Checkpoints(newest.parent).load(never)
        assert found.step == 0 and newest.name in found.complaints[0], how.__name__


def test_every_byte_of_a_small_file_counts(tmp_path: Path) -> None:
    with writing(tmp_path / "file") as file:
        file.write(b"hello ")
        file.write(memoryview(b"world"))
    whole = (tmp_path / "file").read_bytes()
    with reading(tmp_path / "file") as file:
        assert file.read() == b"hello world"
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        (tmp_path / "file").write_bytes(changed)
        with pytest.raises(Damaged), reading(tmp_path / "file"):
            pass


def test_a_checkpoint_of_an_earlier_version_is_refused_in_words(tmp_path: Path) -> None:
    """A checkpoint without a checksum: a plain torch file."""
    torch.save({"version": 1, "step": 4, "parameters": {}}, tmp_path / "step-00000004.pt")
    never: Any = None
    found = Checkpoints(tmp_path).load(never)
    assert found.step == 0 and "no checksum" in found.complaints[0] and "earlier version" in found.complaints[0]


def test_what_kills_have_left_of_checkpoints_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / ".123-abcdef01.part").write_bytes(b"half")
    parameter = torch.nn.Parameter(torch.ones(3))
    trainable = Trainable(
        {"unet": [parameter]}, torch.optim.SGD([parameter]), torch.amp.GradScaler("cpu", enabled=False)
    )
    Checkpoints(folder).save(7, trainable, b'{"step": 7}\n')
    assert [path.name for path in folder.iterdir()] == ["step-00000007.pt"]
    found = Checkpoints(folder).load(trainable)
    assert found.step == 7 and found.curve == b'{"step": 7}\n' and not found.complaints


@pytest.fixture
def drawn(tmp_path: Path) -> Iterator[Path]:
    from PIL import Image

    Image.effect_noise((48, 48), 60).save(tmp_path / "a.png")
    yield tmp_path / "a.png"


def test_a_damaged_picture_of_an_attempt_is_known(drawn: Path) -> None:
    whole, chance = drawn.read_bytes(), random.Random(2)
    assert is_whole_png(drawn)
    for number in range(300):
        drawn.write_bytes(DAMAGES[number % len(DAMAGES)](whole, chance))
        assert not is_whole_png(drawn), DAMAGES[number % len(DAMAGES)].__name__


def test_a_damaged_preview_is_left_out_and_named(dataset: Dataset, bench: tiny.Bench, unbroken: Weights) -> None:
    import dataclasses

    train = dataclasses.replace(training(dataset), preview_prompts=("penny",), previews=Interval(2))
    train.run(bench.context("previews"))
    bench.told.clear()
    [first, second] = sorted((bench.folder / "previews" / "resume" / "previews").iterdir())
    first.unlink()  # not a link into what was published
    first.write_bytes(sector_lost(second.read_bytes(), random.Random(3)))
    weights = train.run(bench.context("previews"))
    assert [path.name for path in (weights.log.parent / "previews").iterdir()] == [second.name]
    assert [first.name in text for text in warned(bench)] == [True]
    assert [point.step for point in metrics_log.read(weights.log)] == [*range(1, 9)]
