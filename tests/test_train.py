"""The train stage on a tiny base: results, messages, and refused settings."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from lorapipe.errors import InputError, Interrupted, LorapipeError
from lorapipe.models import Activations, Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric, Preview, Progress
from lorapipe.rules import Facts, problems
from lorapipe.spec import Duration, Ref, Source, content, from_dict
from lorapipe.stages import Stage
from lorapipe.stages.train import Train
from lorapipe.training import device, metrics_log
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.interval import Interval
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.optimizers.adamw import AdamW
from lorapipe.training.optimizers.prodigy import Prodigy
from lorapipe.training.schedulers.cosine import Cosine
from lorapipe.training.trainer import Trainer
from lorapipe.training.training_memory import memory
from lorapipe.training.weightings.as_epsilon import AsEpsilon
from lorapipe.training.weightings.none import NoWeighting
from pipelines import pipeline_of


def short(dataset: Dataset, **knobs: Any) -> Train:
    knobs = {"steps": Duration(4), "snapshots": Interval(2), "adapter": LoRA(rank=2), **knobs}
    return Train(dataset=dataset, **knobs)


def run(bench: tiny.Bench, name: str, train: Train) -> Weights:
    return train.run(bench.context(name))


def losses(weights: Weights) -> list[float]:
    return [point.values["loss"] for point in metrics_log.read(weights.log)]


# ------------------------------------------------------------------------------------------------------- what is made


def test_snapshots_are_files_that_other_programs_load(dataset: Dataset, bench: tiny.Bench) -> None:
    weights = run(bench, "made", short(dataset, steps=Duration(6), snapshots=Interval(3)))
    assert [snapshot.step for snapshot in weights.snapshots] == [2, 4, 6]
    assert [snapshot.epoch for snapshot in weights.snapshots] == [1, 1, 2]  # five pictures, one at a time
    first, last = load_file(weights.snapshots[0].path), load_file(weights.snapshots[-1].path)
    assert all(tensor.dtype == torch.float32 for tensor in last.values())
    assert {key.split("_")[1] for key in last} == {"unet", "te"}
    ups = [key for key in last if key.endswith(".lora_up.weight")]
    assert len(ups) > 10
    assert all(last[key].abs().max() > 0 for key in ups)  # every module has learnt something
    assert any(not torch.equal(first[key], last[key]) for key in ups)

    pipeline = pipeline_of(SD15(checkpoint=dataset.base.checkpoint).load("cpu"))
    pipeline.load_lora_weights(str(weights.snapshots[-1].path))  # diffusers, which knows nothing of us


def test_a_longer_training_lowers_the_loss(dataset: Dataset, bench: tiny.Bench) -> None:
    train = short(dataset, steps=Duration(60), snapshots=Interval(1), unet_lr=5e-3, batch=4, weighting=NoWeighting())
    found = losses(run(bench, "longer", train))
    assert len(found) == 60
    assert sum(found[-15:]) < 0.97 * sum(found[:15])


@pytest.mark.parametrize("rate", [0.0, 1e-4])
def test_captions_that_vary_are_trained_on_encoded_beforehand_or_read_anew(
    dataset: Dataset, bench: tiny.Bench, rate: float
) -> None:
    """With a frozen and with a trained text encoder: captions affect the result, deterministically."""
    captions = Captioning(shuffle=True, dropout=0.2, variants=3)
    plain = run(bench, f"said-{rate}", short(dataset, text_encoder_lr=rate))
    varied = [
        run(bench, f"varied-{rate}-{n}", short(dataset, text_encoder_lr=rate, captions=captions)) for n in range(2)
    ]
    assert varied[0].log.read_bytes() == varied[1].log.read_bytes() != plain.log.read_bytes()


def test_lora_plus_lets_up_learn_faster_than_down(dataset: Dataset, bench: tiny.Bench) -> None:
    ups = {}
    for ratio in (1, 4):
        train = short(dataset, adapter=LoRA(rank=2, lora_plus=ratio), unet_lr=1e-3, text_encoder_lr=0.0)
        weights = run(bench, f"plus-{ratio}", train)
        tensors = load_file(weights.snapshots[-1].path)
        ups[ratio] = sum(float(tensor.abs().sum()) for name, tensor in tensors.items() if "lora_up" in name)
    assert ups[4] == pytest.approx(4 * ups[1], rel=0.1)  # Adam's steps are as long as the rate
    line = json.loads(weights.log.read_text(encoding="utf-8").splitlines()[0])
    assert (line["lr/unet"], line["lr/unet ×4"]) == (1e-3, 4e-3)


def test_curves_have_every_step_for_programs_and_for_tensorboard(dataset: Dataset, bench: tiny.Bench) -> None:
    weights = run(bench, "curves", short(dataset, optimizer=Prodigy(), scheduler=Cosine()))
    lines = [json.loads(line) for line in weights.log.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    known = {"step", "loss", "loss/average", "lr/unet", "lr/text_encoder", "d", "d*lr", "gradient_norm"}
    assert set(lines[0]) == known and all(line["gradient_norm"] > 0 for line in lines)
    mean = lines[0]["loss"]
    for line in lines:
        mean += 0.02 * (line["loss"] - mean)
        assert line["loss/average"] == pytest.approx(mean)
    assert [line["lr/unet"] for line in lines] == pytest.approx([Cosine().factor(step, 4, 1) for step in range(4)])
    with (weights.log.parent / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)] == lines
    assert list((weights.log.parent / "tensorboard").glob("events.out.tfevents.*"))
    told = bench.of(Metric)
    assert [event.step for event in told] == [1, 2, 3, 4]
    assert told[0].values == {key: value for key, value in lines[0].items() if key != "step"}
    last = bench.of(Progress)[-1]
    assert (last.step, last.total, last.seconds_left) == (4, 4, 0)
    assert list(last.values) == ["loss", "lr/unet", "lr/text_encoder", "d", "d*lr", "s/it"]


def test_epochs_count_batches_of_every_bucket(dataset: Dataset, bench: tiny.Bench) -> None:
    """Four pictures in one bucket and one in another: batch 2 gives three batches, and accumulation 2 two steps."""
    weights = run(
        bench, "epochs", short(dataset, steps=Duration(2, "epochs"), batch=2, snapshots=Interval(1, "epochs"))
    )
    assert [(snapshot.step, snapshot.epoch) for snapshot in weights.snapshots] == [(3, 1), (6, 2)]
    weights = run(bench, "epochs-2", short(dataset, steps=Duration(2, "epochs"), batch=2, accumulation=2))
    assert weights.snapshots[-1].step == 3


def test_the_same_training_twice_is_the_same_file_and_leaves_the_base_alone(
    dataset: Dataset, bench: tiny.Bench
) -> None:
    """A training does not change the base in memory: a warm one gives the same result as a cold one."""
    files = [run(bench, name, short(dataset)).snapshots[-1].path.read_bytes() for name in ("once", "twice")]
    cold = tiny.Bench(bench.folder)
    files.append(run(cold, "cold", short(dataset)).snapshots[-1].path.read_bytes())
    assert files[0] == files[1] == files[2]
    other = run(bench, "other", short(dataset, seed=1)).snapshots[-1].path.read_bytes()
    assert other != files[0]


def test_a_frozen_text_encoder_is_asked_once_and_gives_the_same_losses(dataset: Dataset, bench: tiny.Bench) -> None:
    """Cached captions equal those of the live text encoder: before the first update the losses agree."""
    frozen = run(bench, "frozen", short(dataset, text_encoder_lr=0.0))
    live = run(bench, "live", short(dataset))
    assert losses(frozen)[0] == pytest.approx(losses(live)[0], rel=1e-5)
    assert {key.split("_")[1] for key in load_file(frozen.snapshots[-1].path)} == {"unet"}


def test_previews_show_progress_and_change_nothing(dataset: Dataset, bench: tiny.Bench) -> None:
    from PIL import Image

    plain = run(bench, "unseen", short(dataset, text_encoder_lr=0.0))
    told = tiny.Bench(bench.folder)
    prompts = ("penny, red", "penny, blue")
    seen = run(told, "seen", short(dataset, text_encoder_lr=0.0, preview_prompts=prompts, previews=Interval(2)))
    assert seen.snapshots[-1].path.read_bytes() == plain.snapshots[-1].path.read_bytes()
    previews = told.of(Preview)
    assert [event.caption for event in previews] == [f"step {step}: {prompt}" for step in (2, 4) for prompt in prompts]
    assert all(Image.open(event.path).size == (64, 64) for event in previews)
    published = sorted(path.name for path in (seen.log.parent / "previews").iterdir())
    assert published == [Path(event.path).name for event in previews]


def test_stopping_while_a_preview_is_painted_loses_no_step(dataset: Dataset, bench: tiny.Bench) -> None:
    train = short(dataset, preview_prompts=("penny",), previews=Interval(2))
    unbroken = run(bench, "patient", train)
    bench.told.clear()
    bench.stopping = lambda: bool(bench.of(Metric))
    with pytest.raises(Interrupted):
        run(bench, "impatient", train)
    made = bench.of(Metric)[-1].step
    assert made == 2  # the first that was told of, just before the preview
    bench.stopping = lambda: False
    bench.told.clear()
    assert run(bench, "impatient", train).snapshots[-1].path.read_bytes() == unbroken.snapshots[-1].path.read_bytes()
    assert [event.step for event in bench.of(Metric)] == [3, 4]


def test_the_record_says_what_was_trained(dataset: Dataset, bench: tiny.Bench) -> None:
    from lorapipe.training_record import TrainingRecord

    record = TrainingRecord.load(run(bench, "record", short(dataset, text_encoder_lr=0.0)).training)
    assert (record.rank, record.alpha, record.steps, record.pictures) == (2, 2, 4, 5)
    assert record.rates == {"unet": 1e-4}
    assert record.tags["images"]["penny"] == 5
    assert record.settings["precision"] == device.dtype("auto", tiny.DEVICE)  # what auto came to


def test_long_captions_are_warned_of(dataset: Dataset, bench: tiny.Bench, tmp_path: Path) -> None:
    manifest = json.loads(dataset.manifest.read_text(encoding="utf-8"))
    manifest["pictures"][0]["caption"] = "a word " * 100
    wordy = tmp_path / "manifest.json"
    wordy.write_text(json.dumps(manifest), encoding="utf-8")
    run(bench, "wordy", short(dataclasses.replace(dataset, manifest=wordy)))
    warnings = [event.text for event in bench.of(Log) if event.level == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("the caption of a picture is probably longer than 75 tokens")


def test_the_text_encoder_alone_can_be_trained(dataset: Dataset, bench: tiny.Bench) -> None:
    weights = run(bench, "text", short(dataset, unet_lr=0.0))
    assert {key.split("_")[1] for key in load_file(weights.snapshots[-1].path)} == {"te"}


def test_gradient_checkpointing_changes_memory_not_results(dataset: Dataset, bench: tiny.Bench) -> None:
    plain = losses(run(bench, "plain", short(dataset)))
    saving = losses(run(bench, "saving", short(dataset, gradient_checkpointing=True)))
    assert saving == pytest.approx(plain, rel=1e-5)


def test_auto_computes_blocks_again_where_the_memory_is_short(
    dataset: Dataset, bench: tiny.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device with little memory, and a base whose activations were measured: some blocks, and the same weights."""
    plain = run(bench, "ample", short(dataset))
    monkeypatch.setattr(SD15, "_activations", lambda base: Activations(kept=2_000_000, recomputed=100_000))
    train = short(dataset)
    whole, least = (
        memory(dataclasses.replace(train, gradient_checkpointing=each), dataset.base, 64**2) for each in ("auto", True)
    )
    assert whole is not None and least is not None
    monkeypatch.setattr(device, "memory_of", lambda name: (whole.total + least.total) / 2)
    ours = run(bench, "short", train)
    [told] = [event.text for event in bench.of(Log) if "computes" in event.text]
    assert re.search(r"auto computes [1-9]\d* of \d\d blocks again, to fit into \d+\.\d GB", told)
    assert losses(ours) == losses(plain)
    assert ours.snapshots[-1].path.read_bytes() == plain.snapshots[-1].path.read_bytes()


def test_no_and_automatic_checkpointing_are_the_same_training_to_a_key() -> None:
    def key(**knobs: object) -> object:
        return content(from_dict(Train, {"uses": "train", "dataset": "$dataset", **knobs}), lambda value: None)

    assert key() == key(gradient_checkpointing=False) == key(gradient_checkpointing="auto")
    assert key(gradient_checkpointing=True) == {**key(), "gradient_checkpointing": True}  # type: ignore[dict-item]


def test_deterministic_kernels_are_for_the_training_alone(dataset: Dataset, bench: tiny.Bench) -> None:
    """On a CPU all kernels are: the losses are the same, and every operation of a training has such a kernel."""
    train, seen = short(dataset, deterministic=True), []
    for step in Trainer.build(train, bench.context("deterministic")).steps():
        seen.append((torch.are_deterministic_algorithms_enabled(), float(step.loss)))
    assert all(is_on for is_on, _ in seen)
    assert not torch.are_deterministic_algorithms_enabled()
    assert [loss for _, loss in seen] == losses(run(bench, "usual", short(dataset)))


def test_weights_that_move_away_from_the_optimizer_end_the_training(dataset: Dataset, bench: tiny.Bench) -> None:
    """Another memory format gives 1×1 convolutions of an adapter memory of their own, and nothing else would complain."""
    trainer = Trainer.build(short(dataset, adapter=LoCon(rank=2)), bench.context("moved"))
    steps = trainer.steps()
    next(steps)
    trainer.model.part("unet").to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="moved in memory"):
        next(steps)
    steps.close()  # type: ignore[attr-defined]


def test_a_choice_with_true_and_false_is_written_as_in_a_document(tmp_path: Path) -> None:
    told = {"uses": "train", "dataset": "$dataset", "gradient_checkpointing": "yes"}
    with pytest.raises(InputError, match=r'"yes" is not one of auto, true, false\.'):
        from_dict(Train, told, tmp_path)


def test_compile_is_refused_in_words(tmp_path: Path) -> None:
    told = {"uses": "train", "dataset": "$dataset", "compile": True}
    with pytest.raises(InputError, match=r"compile is no longer there.*graphs: auto"):
        from_dict(Train, told, tmp_path)
    assert from_dict(Train, {**told, "compile": False}, tmp_path) == from_dict(
        Train, {"uses": "train", "dataset": "$dataset"}, tmp_path
    )


def test_half_precision_holds_the_base_not_what_is_learnt(dataset: Dataset, bench: tiny.Bench) -> None:
    weights = run(bench, "half", short(dataset, precision="bf16"))
    assert all(tensor.dtype == torch.float32 for tensor in load_file(weights.snapshots[-1].path).values())
    exact = losses(run(bench, "exact", short(dataset, precision="fp32")))
    assert losses(weights) == pytest.approx(exact, rel=0.05)
    assert losses(weights) != exact


def test_an_emptied_cache_is_filled_again(dataset: Dataset, bench: tiny.Bench, tmp_path: Path) -> None:
    elsewhere = tiny.Bench(tmp_path)
    weights = run(elsewhere, "again", short(dataset))
    assert losses(weights) == losses(run(bench, "as before", short(dataset)))
    assert any("pictures encoded that were missing from the cache" in event.text for event in elsewhere.of(Log))


def test_a_training_goes_on_from_a_file(dataset: Dataset, bench: tiny.Bench) -> None:
    first = run(bench, "first", short(dataset, steps=Duration(20), unet_lr=1e-2)).snapshots[-1].path
    train = short(dataset, steps=Duration(1), snapshots=Interval(1), start_from=Source(first), unet_lr=1e-9)
    second = run(bench, "second", train)
    assert str(bench.folder) not in second.training.read_text(encoding="utf-8")
    before, after = load_file(first), load_file(second.snapshots[-1].path)
    key = next(key for key in before if key.startswith("lora_unet") and "lora_up" in key)
    assert before[key].abs().max() > 0 and torch.allclose(before[key], after[key], atol=1e-6)
    stronger = dataclasses.replace(train, adapter=LoRA(rank=2, alpha=1))  # the same update at another scale
    halved = load_file(run(bench, "stronger", stronger).snapshots[-1].path)
    assert torch.allclose(2 * before[key], halved[key], atol=1e-6)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"adapter": LoRA(rank=3)}, "has rank 2 in the file and 3 in the adapter"),
        ({"text_encoder_lr": 0.0}, "only the file has text_encoder"),
        ({"adapter": LoCon(rank=2)}, "only the adapter has unet"),
    ],
)
def test_a_file_of_another_adapter_is_refused(
    dataset: Dataset, bench: tiny.Bench, knobs: dict[str, Any], words: str
) -> None:
    file = run(bench, "file", short(dataset, steps=Duration(1))).snapshots[-1].path
    with pytest.raises(InputError, match=words):
        run(bench, "refused", short(dataset, start_from=Source(file), **knobs))
    with pytest.raises(InputError, match="is not a whole safetensors file"):
        run(bench, "refused", short(dataset, start_from=Source(dataset.manifest)))


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_stopping_saves_and_going_on_ends_in_the_same_place(dataset: Dataset, bench: tiny.Bench) -> None:
    train = short(dataset, steps=Duration(8))
    unbroken = run(bench, "unbroken", train)
    bench.stopping = lambda: len(bench.of(Metric)) >= 3
    bench.told.clear()
    with pytest.raises(Interrupted, match=r"after step \d of 8"):
        run(bench, "broken", train)
    bench.stopping = lambda: False
    broken = run(bench, "broken", train)
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    for ours, theirs in zip(broken.snapshots, unbroken.snapshots, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()
    assert broken.log.read_bytes() == unbroken.log.read_bytes()


def test_a_training_that_blows_up_stops_and_says_why(dataset: Dataset, bench: tiny.Bench) -> None:
    train = short(dataset, steps=Duration(40), optimizer=AdamW(), unet_lr=10.0, snapshots=Interval(1))
    with pytest.raises(LorapipeError, match="has diverged") as error:
        run(bench, "explosive", train)
    assert "learning rates" in str(error.value)
    assert len(bench.of(Metric)) < 40
    first = int(re.search(r"since step (\d+)", str(error.value))[1])  # type: ignore[index]
    for last in (first, first + 1):  # it is noticed too where too few steps are left to be patient
        ends_so = dataclasses.replace(train, steps=Duration(last))
        with pytest.raises(LorapipeError, match="the training has diverged"):
            run(bench, f"explosive in {last}", ends_so)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_base_that_answers_with_no_numbers_is_not_called_a_training_gone_wrong(
    dataset: Dataset, bench: tiny.Bench, tmp_path: Path, steps: int
) -> None:
    broken = shutil.copytree(dataset.base.checkpoint.path, tmp_path / "broken")  # type: ignore[attr-defined]
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.weight"][:] = 3e38  # a number, but what it gives is none
    save_file(tensors, file)
    base = dataclasses.replace(dataset.base, checkpoint=Checkpoint(broken))  # type: ignore[type-var]
    with pytest.raises(LorapipeError, match="the base itself predicts NaN") as error:
        run(bench, f"base {steps}", short(dataclasses.replace(dataset, base=base), steps=Duration(steps)))
    assert "rates" not in str(error.value)


def test_a_file_that_cannot_be_begun_with_is_named_before_anything_runs(
    dataset: Dataset, bench: tiny.Bench, tmp_path: Path
) -> None:
    tensors = load_file(run(bench, "to spoil", short(dataset, steps=Duration(1))).snapshots[-1].path)
    key = next(key for key in tensors if "lora_down" in key)
    module = key.partition(".")[0]
    conv = next(key for key in tensors if tensors[key].dim() == 2 and "lora_down" in key)
    for name, change, words in [
        ("DoRA of PEFT", {f"{module}.lora_magnitude_vector": torch.ones(8)}, "is a DoRA of PEFT"),
        ("DoRA", {f"{module}.dora_scale": torch.ones(8, 1)}, "dora_scale in the file and"),
        ("NaN", {key: tensors[key] * float("nan")}, "holds what is no number"),
        ("shape", {conv: tensors[conv][:, :4].clone()}, "Is it of another base model"),
        ("rank 0", {key: tensors[key][:0].clone()}, "ranks do not fit"),
    ]:
        save_file({**tensors, **change}, tmp_path / f"{name}.safetensors")
        train = short(dataset, steps=Duration(1), start_from=Source(tmp_path / f"{name}.safetensors"))
        known = [f"{problem.path} {problem.what}" for problem in train.problems()]
        assert bool(known) == (name == "DoRA of PEFT") and all("start_from" in each and words in each for each in known)
        with pytest.raises(InputError, match=words):
            run(bench, f"spoiled {name}", train)


def test_running_out_of_memory_names_the_cures(dataset: Dataset, bench: tiny.Bench) -> None:
    """The allocator really fails: no machine has the memory for such a batch."""
    from lorapipe.training.device import memory_explained

    with pytest.raises(LorapipeError, match="out of memory") as error, memory_explained():
        torch.empty(2**52, dtype=torch.float32)
    assert "gradient_checkpointing" in str(error.value)


def test_other_errors_keep_their_own_words() -> None:
    from lorapipe.training.device import memory_explained

    with pytest.raises(RuntimeError, match="shapes"), memory_explained():
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_a_weighting_for_other_predictions_is_refused(dataset: Dataset, bench: tiny.Bench) -> None:
    with pytest.raises(InputError, match="this one predicts epsilon"):
        run(bench, "as-epsilon", short(dataset, weighting=AsEpsilon()))


def test_fp16_is_refused_on_a_cpu(dataset: Dataset, bench: tiny.Bench) -> None:
    with pytest.raises(InputError, match="fp16"):
        short(dataset, precision="fp16").run(dataclasses.replace(bench.context("fp16"), device="cpu"))


# --------------------------------------------------------------------------------------------------- what is refused


def complaints(**knobs: Any) -> list[str]:
    try:
        from_dict(Stage, {"uses": "train", "dataset": "$dataset", **knobs})
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_defaults_are_fine_for_every_optimizer() -> None:
    assert complaints() == []
    for optimizer in Optimizer.registry.names():
        assert complaints(optimizer=optimizer) == []
    assert complaints(optimizer="prodigy", unet_lr=1.0, text_encoder_lr=0) == []
    assert complaints(optimizer="prodigy", unet_lr=0.5, text_encoder_lr=0.5) == []


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"optimizer": "prodigy", "unet_lr": 1e-4, "text_encoder_lr": 1e-4}, "finds its own step size"),
        ({"optimizer": "prodigy", "text_encoder_lr": 0.5}, "cannot give them different rates"),
        ({"unet_lr": 1.0}, "uses the rate unchanged"),
        ({"unet_lr": 0, "text_encoder_lr": 0}, "nothing would be trained"),
        ({"optimizer": "adafactor", "scheduler": "cosine"}, "has its own rate and schedule"),
        ({"optimizer": "adafactor", "unet_lr": 0.5, "text_encoder_lr": 0.5}, "would change nothing"),
        ({"optimizer": "prodigy", "scheduler": "constant_with_warmup"}, "mislead prodigy"),
        ({"optimizer": "prodigy", "adapter": {"type": "lora", "lora_plus": 4}}, "adapter asks for several"),
        ({"optimizer": "schedule_free_adamw", "scale_weight_norms": 1}, "keeps its own average"),
        ({"optimizer": {"type": "library", "use": "os.system"}}, "has no optimizer 'os.system'"),
        ({"optimizer": {"type": "adamw", "arguments": {"weight_decay": 0}}}, "is among the arguments"),
        ({"noise": {"offset_random": True}}, "which is 0"),
        ({"scheduler": {"type": "cosine", "warmup": "100 %"}}, "would leave nothing"),
        ({"max_tokens": 77}, "75, 150, 225"),
        ({"snapshots": "often"}, "every 100 steps"),
        ({"batch": 0}, "below the minimum 1"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(knobs: dict[str, Any], words: str) -> None:
    found = complaints(**knobs)
    assert found
    assert all(words in text for text in found)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({}, []),
        ({"optimizer": "prodigy", "scheduler": "constant"}, []),
        ({"optimizer": "prodigy", "scheduler": "cosine"}, ["lowers what it has found"]),
        ({"optimizer": "prodigy", "unet_lr": 0.05, "text_encoder_lr": 0.05}, ["unet_lr 0.05", "text_encoder_lr 0.05"]),
        ({"optimizer": "prodigy", "scheduler": "cosine", "allow": ["schedule_falls"]}, []),
        ({"optimizer": "schedule_free_adamw", "scheduler": "linear"}, ["lowers the rate too"]),
        ({"optimizer": "dadapt_adam"}, ["alpha 1"]),
        ({"optimizer": "dadapt_adam", "adapter": {"type": "lora", "alpha": 1}}, []),
        ({"optimizer": "sgd_nesterov", "steps": 1000}, ["learns very slowly"]),
        ({"optimizer": "sgd_nesterov", "steps": 5000}, []),
        ({"unet_lr": 1e-5}, ["above the denoiser's"]),
        ({"steps": 100, "scheduler": {"type": "cosine", "warmup": 100}}, ["never reached"]),
        ({"steps": "2 epochs", "scheduler": {"type": "cosine", "warmup": "2 epochs"}}, ["never reached"]),
        ({"steps": "2 epochs", "scheduler": {"type": "cosine", "warmup": 30}}, ["never reached"]),
        ({"steps": 100, "scheduler": {"type": "cosine", "warmup": "50 %"}}, []),
        ({"optimizer": "adafactor", "steps": 3000}, []),
    ],
)
def test_what_is_seldom_meant_is_told(knobs: dict[str, Any], words: list[str]) -> None:
    train = from_dict(Stage, {"uses": "train", "dataset": "$dataset", **knobs})
    assert isinstance(train, Train)
    facts = Facts(total=train.steps.count if train.steps.unit == "steps" else 20, per_epoch=10)
    found = [each.sentence for each in problems(train, facts)]
    assert len(found) == len(words), found
    assert all(word in text for word, text in zip(words, found, strict=True)), found


def test_warnings_are_told_before_the_first_step(dataset: Dataset, bench: tiny.Bench) -> None:
    run(bench, "warned", short(dataset, optimizer=Prodigy(), scheduler=Cosine()))
    told = [type(event).__name__ for event in bench.told if isinstance(event, (Log, Metric))]
    assert "lowers what it has found" in bench.of(Log)[-1].text and told.index("Log") < told.index("Metric")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (4, [3, 5, 8, 10]),
        (20, list(range(1, 11))),
        ("every 4 steps", [4, 8, 10]),
        ("2 epochs", [5, 10]),
        ("every 1 epoch", [3, 5, 8, 10]),
        ("every 99 epochs", [10]),
    ],
)
def test_rhythms_end_with_the_end(text: object, steps: list[int]) -> None:
    rhythm = Interval.parse(text, Path())
    assert sorted(rhythm.steps(10, 2.5)) == steps
    assert Interval.parse(rhythm.plain(), Path()) == rhythm


def test_a_stage_reads_back_what_it_writes() -> None:
    train = from_dict(Stage, {"uses": "train", "dataset": "$dataset", "snapshots": "every 2 epochs", "steps": 300})
    assert isinstance(train, Train)
    assert train.dataset == Ref("dataset")
    assert train.snapshots == Interval(2, "epochs")
