"""Stages run concurrently if they can, one at a time on a device, and a lost worker is replaced."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from outcomes import ends

from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Failed, Finished, Log, Started
from lorapipe.pipeline.execution.devices import parse_devices, real_name, stage_locks
from lorapipe.pipeline.execution.runner import Run, open_pool
from lorapipe.pipeline.pipeline import Pipeline


def pipeline(folder: Path, stages: str) -> Pipeline:
    folder.mkdir(exist_ok=True)
    (folder / "p.yaml").write_text(f"stages:\n{stages}", encoding="utf-8")
    return loader.load(folder / "p.yaml")


def made(folder: Path, stage: str) -> list[str]:
    """Return the text in a stage's only file."""
    [file] = (folder / "outputs" / stage).iterdir()
    return file.read_text("utf-8").split()


MEET = "  {name}: {{uses: meet, place: here, sign: {name}, others: {others}}}\n"


def test_stages_that_do_not_need_each_other_run_side_by_side(toys: None, tmp_path: Path) -> None:
    together = pipeline(tmp_path, MEET.format(name="one", others=1) + MEET.format(name="two", others=1))
    assert ends(Run(together)) == {"one": "finished", "two": "finished"}
    assert made(tmp_path, "one")[0] != made(tmp_path, "two")[0]  # two processes


def test_no_more_run_than_there_is_room_for(toys: None, tmp_path: Path) -> None:
    three = "".join(MEET.format(name=name, others=2).replace("}\n", ", patience: 0.5}\n") for name in ("a", "b", "c"))
    events = list(Run(pipeline(tmp_path, three), on={"type": "local", "side_jobs": 2}))
    assert any(isinstance(event, Failed) for event in events)  # two of them waited for the third until one gave up


def test_one_device_is_used_by_one_stage_at_a_time_and_two_by_two(toys: None, tmp_path: Path) -> None:
    both = "".join(f"  {name}: {{uses: train_alone, sign: {name}, seconds: 0.4}}\n" for name in ("a", "b"))
    run_all(pipeline(tmp_path / "one", both))
    assert apart(tmp_path / "one", tmp_path / "one")
    meet = "".join(MEET.format(name=name, others=1).replace("meet,", "meet_on_device,") for name in ("a", "b"))
    run_all(pipeline(tmp_path / "two", meet), devices=("cuda:0", "cuda:1"))  # each ends only when both are running
    assert {made(tmp_path / "two", name)[1] for name in "ab"} == {"cuda:0", "cuda:1"}


def run_all(what: Pipeline, **where: object) -> None:
    assert set(ends(Run(what, **where)).values()) == {"finished"}


def apart(first: Path, second: Path) -> bool:
    """Return whether one of the two stages had ended before the other began."""
    a, b = made(first, "a"), made(second, "b")
    return float(a[1]) <= float(b[0]) or float(b[1]) <= float(a[0])


def test_two_projects_take_turns_on_a_device(toys: None, tmp_path: Path) -> None:
    first = Run(pipeline(tmp_path / "first", "  a: {uses: train_alone, seconds: 4}\n"), devices=("cuda:0",))
    while not isinstance(next(first), Started):
        pass
    second = Run(pipeline(tmp_path / "second", "  b: {uses: train_alone, seconds: 0}\n"), devices=("cuda:0",))
    events = [next(second)]
    while not isinstance(events[-1], Log):
        events.append(next(second))
    who = f"({tmp_path / 'first'})".replace("(", "(a in ")
    assert who in events[-1].text and "uses the same device" in events[-1].text
    assert "--device chooses another device" in events[-1].text
    assert ends(first) == {"a": "finished"} and ends(second) == {"b": "finished"}
    assert apart(tmp_path / "first", tmp_path / "second")


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu+cpu"])
def test_what_does_not_train_shares_the_cpu_with_a_training_and_with_its_like(
    toys: None, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pipeline ends while the training of the first one holds the lock of the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    first = Run(pipeline(tmp_path / "first", "  a: {uses: train_alone, seconds: 600}\n"), devices=("cpu",))
    while not isinstance(next(first), Started):
        pass
    meet = MEET.format(name="one", others=1).replace("meet,", "meet_on_device,")
    again = meet.replace("one", "two").replace("here", (tmp_path / "second" / "here").as_posix())
    second = Run(pipeline(tmp_path / "second", meet), devices=(device,))
    while not isinstance(next(second), Started):
        pass
    assert ends(Run(pipeline(tmp_path / "third", again), devices=(device,))) == {"two": "finished"}
    assert ends(second) == {"one": "finished"}
    first.close()


def test_two_trainings_on_the_cpu_take_turns_whatever_it_is_called(
    toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    first = Run(pipeline(tmp_path / "first", "  a: {uses: train_alone, seconds: 600}\n"), devices=("auto",))
    while not isinstance(next(first), Started):
        pass
    second = Run(pipeline(tmp_path / "second", "  b: {uses: train_alone, seconds: 0}\n"), devices=("cpu",))
    told = next(event for event in second if isinstance(event, (Log, Started)))
    assert isinstance(told, Log) and "which uses the same device, cpu." in told.text
    first.close()
    assert ends(second) == {"b": "finished"}


def test_on_a_gpu_whatever_computes_takes_turns(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for trains in (True, False):
        assert [path.stem for path in stage_locks("cuda:1", trains)] == ["gpu-1"]
        assert [path.stem for path in stage_locks("cuda:1+cuda:0", trains)] == ["gpu-0", "gpu-1"]
    assert [path.stem for path in stage_locks("cpu", True)] == ["cpu"] and stage_locks("cpu", False) == ()


def test_a_device_is_known_by_its_real_name() -> None:
    assert real_name("auto", None) == real_name("cuda", None) == real_name("cuda:0", "0,1") == "gpu-0"
    assert real_name("cuda:0", "1") == real_name("cuda:1", None) == "gpu-1"
    assert real_name("cuda", "GPU-8932f937/x") == "gpu-GPU-8932f937-x"
    assert real_name("cpu", "1") == "cpu"
    assert parse_devices("cuda:0, cuda:1,cuda:0") == ("cuda:0", "cuda:1")
    with pytest.raises(InputError, match="'gpu' is not a device"):
        parse_devices("cuda:0,gpu")


def test_a_warm_worker_is_handed_on_and_left_as_it_was_found(toys: None, tmp_path: Path) -> None:
    with closing(open_pool()) as pool:
        for name in ("a", "b"):  # two pipelines of one command
            stages = f"  {name}: {{uses: train_alone, sign: {name}, disturb: true}}\n"
            assert set(ends(Run(pipeline(tmp_path / name, stages), pool=pool)).values()) == {"finished"}
    a, b = made(tmp_path / "a", "a")[2:], made(tmp_path / "b", "b")[2:]
    assert a == b and a[2:] == ["True", "torch.float32", "False"]


def test_what_needs_no_device_takes_the_warm_worker_when_no_training_waits(toys: None, tmp_path: Path) -> None:
    stages = "  a: {uses: train_alone}\n  b: {uses: trouble, how: noise, text: $a}\n"
    run_all(pipeline(tmp_path, stages))
    [pid] = {made(tmp_path, "a")[2]}
    log = next(iter((tmp_path / ".lorapipe" / "store").glob("*/out/t.txt"))).parents[1] / "log.txt"
    assert log.exists() and pid
    locks = {path.read_text().strip() for path in (tmp_path / ".lorapipe" / "locks").glob("*.attempt")}
    assert locks == {pid}


def test_a_lost_worker_costs_one_more_try(toys: None, tmp_path: Path) -> None:
    events = list(Run(pipeline(tmp_path, "  a: {uses: trouble, how: die once}\n")))
    assert ends(events) == {"a": "finished"}
    [warning] = [event.text for event in events if isinstance(event, Log)]
    assert warning == "the worker process ended unexpectedly (status 3); it is started again"


def test_a_stage_that_always_loses_its_worker_fails(toys: None, tmp_path: Path) -> None:
    events = list(Run(pipeline(tmp_path, "  a: {uses: trouble, how: die}\n  b: {uses: trouble, how: noise}\n")))
    assert ends(events) == {"a": "failed", "b": "finished"}
    assert sum(isinstance(event, Started) for event in events if event.stage == "a") == 2


def test_two_names_of_one_thing_make_it_once(toys: None, tmp_path: Path) -> None:
    twice = "".join(f"  {name}: {{uses: trouble, how: noise}}\n" for name in ("a", "b"))
    events = list(Run(pipeline(tmp_path, twice)))
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert sorted(ends(events).values()) == ["finished", "reused"]


def test_a_long_chain_is_worked_off(toys: None, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    stages = "  s0: {uses: words, folder: texts}\n"
    stages += "".join(f"  s{n}: {{uses: trouble, how: noise, text: $s{n - 1}}}\n" for n in range(1, 60))
    chain = pipeline(tmp_path, stages)
    began = time.monotonic()
    assert len(ends(Run(chain, on="inline"))) == 60
    assert set(ends(Run(chain, on="inline")).values()) == {"reused"}
    assert time.monotonic() - began < 60
