"""Resuming: after any interruption the same command ends in the same file and metrics, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import tiny
import torch

from lorapipe.checksum import reading, writing
from lorapipe.errors import InputError, Interrupted
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric
from lorapipe.spec import Duration, content
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter
from lorapipe.training.adapters.finetune import Finetune
from lorapipe.training.adapters.hypernetwork import Hypernetwork
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.adapters.peft import Peft
from lorapipe.training.interval import Interval
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adafactor import Adafactor
from lorapipe.training.optimizers.adamw8bit import AdamW8bit
from lorapipe.training.peft_methods.vera import Vera
from lorapipe.training.resume_state import Checkpoints
from lorapipe.training_record import TrainingRecord

STEPS = 16


def training(dataset: Dataset, optimizer: str) -> Train:
    """Train with dropout, so that random numbers in modules are tested too."""
    spec = Optimizer.registry.get(optimizer)()
    adapter = LoRA(rank=2, dropout=0.1)
    return Train(dataset=dataset, optimizer=spec, adapter=adapter, steps=Duration(STEPS), snapshots=Interval(4))


@pytest.fixture(scope="module")
def unbroken(folder: Path, dataset: Dataset) -> Iterator[dict[str, Weights]]:
    """Each optimizer's uninterrupted training, made on first use."""

    class Made(dict[str, Weights]):
        def __missing__(self, optimizer: str) -> Weights:
            context = tiny.Bench(folder).context(f"unbroken-{optimizer}")
            self[optimizer] = training(dataset, optimizer).run(context)
            return self[optimizer]

    yield Made()


def same(ours: Weights, theirs: Weights) -> None:
    assert len(ours.snapshots) == 4
    assert ours.log.read_bytes() == theirs.log.read_bytes()
    for mine, other in zip(ours.snapshots, theirs.snapshots, strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_a_killed_process(
    optimizer: str, folder: Path, dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    """SIGKILL at a random step, without a chance to save."""
    kill_at_random(folder, optimizer)
    same(training(dataset, optimizer).run(bench.context(f"killed-{optimizer}")), unbroken[optimizer])
    assert any("Resumes after step" in event.text for event in bench.of(Log))


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": paths}


def kill_at_random(folder: Path, optimizer: str, last: int = STEPS - 2) -> None:
    target = random.SystemRandom().randint(5, last)
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), optimizer], stdout=subprocess.PIPE, encoding="utf-8", env=environment()
    )
    assert process.stdout is not None
    steps = [0]
    for line in process.stdout:
        steps.append(int(line))
        if steps[-1] >= target:
            process.kill()
            break
    process.wait()
    assert steps[-1] >= target, "the process was to be killed on its way"


@pytest.mark.parametrize("optimizer", Optimizer.registry.names())
def test_a_stopped_training(optimizer: str, dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]) -> None:
    """Stopped twice, every optimizer resumes to the same result."""
    for after in (3, 8):
        stop(bench, dataset, f"stopped-{optimizer}", after, optimizer)
    same(training(dataset, optimizer).run(bench.context(f"stopped-{optimizer}")), unbroken[optimizer])


KINDS = [name for name in Adapter.registry.names() if name != "lora"]  # type: ignore[union-attr]


def of_kind(kind: str, dataset: Dataset, **knobs: Any) -> Train:
    """Train some kind of adapter; an embedding trains a word of the captions."""
    adapter = Adapter.registry.get(kind)  # type: ignore[union-attr]
    learns_word = any(field.name == "trigger" for field in dataclasses.fields(adapter))
    spec = adapter(trigger="penny", vectors=1, replace=True) if learns_word else adapter()
    usual: dict[str, Any] = {"adapter": spec, "steps": Duration(6), "snapshots": Interval(2)}
    return Train(dataset=dataset, **{**usual, **knobs})


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    "lora, dora": ("lora", {"adapter": LoRA(rank=2, dora=True, norms=True, dropout=0.1)}),
    "lokr, dora of outputs": ("lokr", {"adapter": LoKr(rank=2, dora=True, dora_axis="output")}),
    "lora by noise": ("lora", {"adapter": LoRA(rank=4, noise_rank=1)}),
    "vera": ("peft", {"adapter": Peft(method=Vera(rank=16))}),
    "hypernetwork with dropout": ("hypernetwork", {"adapter": Hypernetwork(dropout=0.2, layer_norm=True)}),
    "lora and a word": ("lora", {"embedding": WordEmbedding(trigger="penny", vectors=1, replace=True)}),
    "lora of an average": ("lora", {"ema": 0.9}),
    "finetune of an average": ("finetune", {"ema": 0.9}),
    "finetune in bf16, fused": (
        "finetune",
        {"adapter": Finetune(weights="bf16", fused_backward=True), "precision": "bf16", "ema": 0.9},
    ),
    "finetune of copies": ("finetune", {"precision": "bf16", "accumulation": 2}),
    "finetune in 8 bits": (
        "finetune",
        {
            "adapter": Finetune(weights="bf16", fused_backward=True),
            "precision": "bf16",
            "optimizer": AdamW8bit(),
        },
    ),
    "finetune with adafactor": ("finetune", {"adapter": Finetune(fused_backward=True), "optimizer": Adafactor()}),
}


@pytest.fixture(scope="module")
def killer(folder: Path, dataset: Dataset) -> Iterator[subprocess.Popen[str]]:
    """A process that trains a form and kills it at a random step, for each name that it is given; it tells the steps."""
    process = [sys.executable, __file__, str(folder), "killer"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8", "bufsize": 1}
    with subprocess.Popen(process, env=environment(), **pipes) as started:
        yield started
        assert started.stdin is not None
        started.stdin.close()


def of_form(form: str, dataset: Dataset) -> Train:
    kind, knobs = FORMS[form]
    return of_kind(kind, dataset, **knobs, steps=Duration(STEPS), snapshots=Interval(4))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("form", FORMS)
def test_every_kind_goes_on_where_it_was_killed(
    form: str, dataset: Dataset, bench: tiny.Bench, killer: subprocess.Popen[str]
) -> None:
    """With no chance to save anything: the same weights and metrics, bit for bit."""
    assert killer.stdin is not None and killer.stdout is not None
    print(form, file=killer.stdin, flush=True)
    assert 5 <= int(killer.stdout.readline()) < STEPS - 1
    whole = of_form(form, dataset).run(bench.context(f"whole-{form}"))
    bench.told.clear()
    again = of_form(form, dataset).run(bench.context(f"killed-{form}"))
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    assert 0 < len(bench.of(Metric)) < STEPS
    assert len(again.snapshots) == 4 and again.log.read_bytes() == whole.log.read_bytes()
    for mine, other in zip(again.snapshots, whole.snapshots, strict=True):
        assert mine.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "another training's"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: str, dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    name = f"damaged-{damage[:4]}"
    stop(bench, dataset, name, after=8)
    newest = sorted((bench.folder / name / "resume" / "checkpoints").glob("*.pt"))[-1]
    if damage == "another training's":
        with reading(newest) as file:
            state = torch.load(file, weights_only=True)
        state["parameters"] = {"unet": [torch.zeros(3)]}
        with writing(newest) as file:
            torch.save(state, file)
    else:
        data = newest.read_bytes()
        newest.write_bytes({"truncated": data[: len(data) // 2], "garbage": os.urandom(500), "empty": b""}[damage])
    bench.told.clear()
    same(training(dataset, "adamw").run(bench.context(name)), unbroken["adamw"])
    logs = bench.of(Log)
    assert [event.level for event in logs if newest.name in event.text] == ["warning"]
    assert any("Resumes after step 8" in event.text for event in logs)


def test_no_garbage_is_ever_more_than_a_complaint(tmp_path: Path) -> None:
    """Truncated pickles and zip files, and noise: what a power failure may leave."""
    source = random.Random(0)
    trainable: Any = None  # never asked
    for number in range(600):
        begin = (b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x02}q\x00(")[number % 4]
        (tmp_path / "step-00000004.pt").write_bytes(begin + source.randbytes(source.randint(0, 60)))
        found = Checkpoints(tmp_path).load(trainable)
        assert found.step == 0 and found.complaints[0].startswith("The checkpoint step-00000004.pt")


def test_no_checkpoint_can_be_read_at_all(dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]) -> None:
    stop(bench, dataset, "hopeless", after=8)
    for path in (bench.folder / "hopeless" / "resume" / "checkpoints").iterdir():
        path.write_bytes(b"PK\x03\x04")
    same(training(dataset, "adamw").run(bench.context("hopeless")), unbroken["adamw"])


def test_what_a_killed_process_leaves_half_written(
    dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    """A truncated line of metrics, lines of steps after the checkpoint, files not yet renamed."""
    stop(bench, dataset, "half", after=8)
    resume = bench.folder / "half" / "resume"
    log = resume / "metrics.jsonl"
    extra = json.dumps({"step": 12, "loss": 123.0})
    log.write_text(log.read_text(encoding="utf-8") + f'{extra}\n{{"step": 13, "lo', encoding="utf-8")
    (resume / "checkpoints" / "step-00000012.part").write_bytes(b"half")
    (resume / "snapshots" / "step-000012.part").write_bytes(b"half")
    weights = training(dataset, "adamw").run(bench.context("half"))
    same(weights, unbroken["adamw"])
    assert not list(weights.log.parent.rglob("*.part"))


def test_killed_between_the_last_step_and_the_end(
    dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    """All steps are done but the result is not published: nothing is trained again."""
    train = training(dataset, "adamw")
    train.run(bench.context("finished"))
    bench.told.clear()
    same(train.run(bench.context("finished")), unbroken["adamw"])
    assert not bench.of(Metric)


def stop(bench: tiny.Bench, dataset: Dataset, name: str, after: int, optimizer: str = "adamw") -> None:
    """Interrupt a training like the engine, when it reports step `after`; it saves and stops after the next."""
    bench.stopping = lambda: len(bench.of(Metric)) >= after
    context = bench.context(name)
    with pytest.raises(Interrupted):
        training(dataset, optimizer).run(context)
    bench.stopping = lambda: False


def kill_training(form: str, folder: Path, dataset: Dataset) -> int:
    """Train in a process that begins as this one is, kill it at a random step, and return that."""
    reading, writing_end = os.pipe()
    if not (child := os.fork()):
        with os.fdopen(writing_end, "w") as pipe:
            train(of_form(form, dataset), f"killed-{form}", folder, pipe)
        os._exit(0)
    os.close(writing_end)
    target, step = random.SystemRandom().randint(5, STEPS - 2), 0
    with os.fdopen(reading) as pipe:
        for line in pipe:
            if (step := int(line)) >= target:
                os.kill(child, signal.SIGKILL)
                break
    os.waitpid(child, 0)
    return step


def train(spec: Train, name: str, folder: Path, out: TextIO) -> None:
    """Train, and tell each step that is made."""

    def tell(event: object) -> None:
        if isinstance(event, Metric):
            print(event.step, flush=True, file=out)

    spec.run(tiny.Bench(folder).context(name, tell))


if __name__ == "__main__":  # the process that is to be killed, or that kills others
    root, chosen = Path(sys.argv[1]), sys.argv[2]
    prepared = tiny.dataset(root)
    if chosen == "killer":
        base: Any = prepared.base
        for part in (model := base.load("cpu")).trainable:  # what is imported here is not imported for each of them
            model.part(part)
        for line in sys.stdin:
            print(kill_training(line.strip(), root, prepared), flush=True)
    else:
        train(training(prepared, chosen), f"killed-{chosen}", root, sys.stdout)


# ------------------------------------------------------------------------------------------- a shorter training's state


@pytest.mark.parametrize("optimizer", ["adamw", "prodigy"])
def test_a_longer_training_goes_on_from_a_shorter_one(
    optimizer: str, dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    """Two that end before, between snapshots, and then the whole: the same files as in one go."""
    spec, before = training(dataset, optimizer), None
    for until in (3, 10):
        shorter = dataclasses.replace(spec, until=Duration(until), resume_from=before)
        before = shorter.run(bench.context(f"until-{until}-{optimizer}"))
        assert [each.step for each in before.snapshots] == [*range(4, until, 4), until]
        assert TrainingRecord.load(before.training).steps == until
    whole = dataclasses.replace(spec, resume_from=before).run(bench.context(f"whole-{optimizer}"))
    same(whole, unbroken[optimizer])
    assert whole.training.read_bytes() == unbroken[optimizer].training.read_bytes()
    assert {each.name for each in whole.snapshots[0].path.parent.iterdir()} == {
        each.path.name for each in whole.snapshots
    }
    steps = [event.step for event in bench.of(Metric) if "loss" in event.values]
    assert steps[:STEPS] == [*range(1, STEPS + 1)]  # no step is trained twice


def test_the_first_snapshots_of_a_shorter_training_are_the_whole_ones(
    dataset: Dataset, bench: tiny.Bench, unbroken: dict[str, Weights]
) -> None:
    """Its schedule is that of the whole, and so is what its files say of it."""
    shorter = dataclasses.replace(training(dataset, "adamw"), until=Duration(8)).run(bench.context("until-8"))
    for mine, whole in zip(shorter.snapshots, unbroken["adamw"].snapshots, strict=False):
        assert mine.path.read_bytes() == whole.path.read_bytes()
    assert [each.step for each in shorter.snapshots] == [4, 8]


def test_another_training_is_no_beginning(dataset: Dataset, bench: tiny.Bench) -> None:
    spec = training(dataset, "adamw")
    other = dataclasses.replace(spec, unet_lr=3e-4, until=Duration(3)).run(bench.context("other"))
    with pytest.raises(InputError, match="its unet_lr differs"):
        dataclasses.replace(spec, resume_from=other).run(bench.context("whole-of-other"))
    with pytest.raises(InputError, match="kept no state"):
        dataclasses.replace(spec, resume_from=dataclasses.replace(other, state=None)).run(bench.context("stateless"))


def test_how_a_training_was_begun_is_no_part_of_its_identity(dataset: Dataset, bench: tiny.Bench) -> None:
    spec = training(dataset, "adamw")
    assert content(spec, str) == content(dataclasses.replace(spec, resume_from=Weights(())), str)
    assert content(spec, str) != content(dataclasses.replace(spec, until=Duration(3)), str)
    found = [*dataclasses.replace(spec, until=Duration(STEPS + 1)).problems()]
    assert any("more than the training has" in each.what for each in found)
