"""Data-parallel training: two CPU processes share each batch."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from lorapipe.errors import InputError, Interrupted, LorapipeError
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log
from lorapipe.pipeline.execution.devices import device_locks, parse_devices
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training import metrics_log
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.data_parallel import DataParallel
from lorapipe.training.interval import Interval
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training.trainer import Trainer


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tiny.Bench:
    return tiny.Bench(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def dataset(bench: tiny.Bench) -> Dataset:
    return tiny.dataset(bench.folder)


def trained(bench: tiny.Bench, name: str, train: Train, device: str) -> Weights:
    return train.run(dataclasses.replace(bench.context(name), device=device))


def losses(weights: Weights) -> list[float]:
    return [point.values["loss"] for point in metrics_log.read(weights.log)]


@pytest.mark.parametrize("text_encoder_lr", [0.0, 1.0])
def test_two_processes_are_one_with_the_same_batch(bench: tiny.Bench, dataset: Dataset, text_encoder_lr: float) -> None:
    """Batches of 3, 1 and 1 pictures: uneven shards, and steps in which one process has no sample."""
    train = Train(
        dataset=dataset, adapter=LoRA(rank=2), optimizer=Prodigy(), steps=Duration(8), snapshots=Interval(1), batch=3,
        text_encoder_lr=text_encoder_lr,
    )  # fmt: skip
    one = trained(bench, f"one-{text_encoder_lr}", train, "cpu")
    two = trained(bench, f"two-{text_encoder_lr}", train, "cpu+cpu")
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    first, second = (load_file(weights.snapshots[-1].path) for weights in (one, two))
    for key, tensor in first.items():
        assert torch.allclose(second[key], tensor, rtol=1e-3, atol=1e-5), key
    assert not torch.distributed.is_initialized()
    assert any("Training on 2 devices" in event.text for event in bench.of(Log))


def test_a_stopped_team_goes_on_alone_where_it_was(bench: tiny.Bench, dataset: Dataset) -> None:
    train = Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(8), snapshots=Interval(2), batch=2)
    whole = trained(bench, "whole", train, "cpu")
    steps = Trainer.build(train, dataclasses.replace(bench.context("broken"), device="cpu+cpu")).steps()
    for _ in range(5):
        next(steps)
    steps.close()  # after the snapshot of step 4, which is a checkpoint
    assert losses(trained(bench, "broken", train, "cpu")) == pytest.approx(losses(whole), rel=1e-4)


def test_a_killed_member_is_an_error_and_leaves_nothing_behind(bench: tiny.Bench, dataset: Dataset) -> None:
    train = Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(2000), snapshots=Interval(1), batch=2)
    steps = Trainer.build(train, dataclasses.replace(bench.context("killed"), device="cpu+cpu")).steps()
    next(steps)
    (child,) = [child for child in multiprocessing.active_children() if "Spawn" in type(child).__name__]
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    with pytest.raises((RuntimeError, LorapipeError)):
        for _ in steps:
            pass
    assert not child.is_alive()
    assert not torch.distributed.is_initialized()
    assert not any(parameter.requires_grad for parameter in bench.model_cache._value.part("unet").parameters())


def befalls(what: Callable[[BaseProcess], None]) -> None:
    """Do something to the next child process while rank 0 waits for it."""

    def watch() -> None:
        while True:
            for child in multiprocessing.active_children():
                if "Spawn" in type(child).__name__:
                    return what(child)
            time.sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_a_member_that_dies_before_it_is_there_is_not_waited_for(bench: tiny.Bench, dataset: Dataset) -> None:
    train = Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(20), batch=2)
    befalls(lambda child: os.kill(child.pid or 0, signal.SIGKILL))
    began = time.process_time()
    with pytest.raises(LorapipeError, match=r"the process on cpu was killed\. The usual cause is lack of memory"):
        trained(bench, "never there", train, "cpu+cpu")
    assert time.process_time() - began < 30 and not torch.distributed.is_initialized()


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_a_member_that_hangs_keeps_nobody_who_wants_to_stop(bench: tiny.Bench, dataset: Dataset) -> None:
    train = Train(dataset=dataset, adapter=LoRA(rank=2), steps=Duration(20), batch=2)
    hanging = []
    befalls(lambda child: (os.kill(child.pid or 0, signal.SIGSTOP), hanging.append(child)))
    context = dataclasses.replace(bench.context("hangs"), device="cpu+cpu", stopping=lambda: bool(hanging))
    with pytest.raises(Interrupted):
        train.run(context)
    assert hanging and not hanging[0].is_alive()


def test_samples_are_dealt_out_once_each() -> None:
    shares = [list(DataParallel(place, 3).shard(range(7))) for place in range(3)]
    assert sorted(sample for share in shares for sample in share) == list(range(7)) and shares[0] == [0, 3, 6]
    assert list(DataParallel(2, 3).shard(range(2))) == []


def test_a_device_may_consist_of_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert parse_devices("cuda:1+cuda:0, cpu") == ("cuda:1+cuda:0", "cpu")
    assert [path.stem for path in device_locks("cuda:1+cuda:0")] == ["gpu-0", "gpu-1"]
    with pytest.raises(InputError):
        parse_devices("cuda:0+auto")
