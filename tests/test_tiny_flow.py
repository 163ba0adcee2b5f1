"""A flow-matching transformer is trained, previewed, judged and exported; and what would be wrong in silence is not.

Each test after the first ones is of something that depends on what a model says of itself, and that a check by name
(`unet`, `text_encoder…`, four channels) gets wrong without an error.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import families
import pytest
import tiny
import torch
from families.tiny_flow import TinyFlow
from safetensors.torch import load_file, save_file
from test_verdict import parts_apart, results, scores

from lorapipe import formats
from lorapipe.errors import InputError
from lorapipe.evaluation.grid_plan import Cell
from lorapipe.evaluation.verdict import judge
from lorapipe.metadata import kohya_metadata, untrained_metadata
from lorapipe.models import Checkpoint, TextReading
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Preview
from lorapipe.spec import Destination, Duration, Ref, Source
from lorapipe.stages._training_settings import advised_options
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.export import Export
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.conditions import text_encoder_digest
from lorapipe.training.data.cache import Cache
from lorapipe.training.interval import Interval
from lorapipe.training.loop import MicroBatch, Objective
from lorapipe.training.losses import Loss
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.weightings import Weighting
from lorapipe.training_record import TrainingRecord

families.register()
STEPS = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flow")


@pytest.fixture(scope="module")
def flow(place: Path) -> TinyFlow:
    return TinyFlow.tiny(place / "base")


@pytest.fixture(scope="module")
def pictures(place: Path, flow: TinyFlow) -> Dataset:
    prepare = Prepare(images=Source(tiny.draw(place / "pictures")), base=flow, duplicate_tolerance=0)
    return prepare.run(tiny.Bench(place).context("prepare"))


@pytest.fixture(scope="module")
def told(place: Path) -> tiny.Bench:
    return tiny.Bench(place)


@pytest.fixture(scope="module")
def weights(pictures: Dataset, told: tiny.Bench) -> Weights:
    train = Train(
        dataset=pictures, adapter=LoRA(rank=4), steps=Duration(STEPS), snapshots=Interval(2), batch=4, unet_lr=1e-2,
        text_encoder_lr=1e-3, preview_prompts=("penny, red",), previews=Interval(1),
    )  # fmt: skip
    return train.run(told.context("train"))


def test_it_learns(weights: Weights) -> None:
    assert weights.log is not None
    losses = [json.loads(line)["loss"] for line in weights.log.read_text("utf-8").splitlines()]
    assert len(losses) == STEPS
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_it_is_previewed(weights: Weights, told: tiny.Bench) -> None:
    assert [event for event in told.told if isinstance(event, Preview)]
    assert not [event for event in told.told if isinstance(event, Log) and "no preview" in event.text]


def test_it_is_judged_and_exported(weights: Weights, told: tiny.Bench, tmp_path: Path) -> None:
    evaluate = Evaluate(weights=weights, prompts=("penny, red",), strengths=(1.0,), steps=3, pictures=1)
    report = evaluate.run(told.context("evaluate"))
    assert report.page.is_file()
    data = json.loads(report.data.read_text("utf-8"))
    assert data["verdict"]["state"]
    export = Export(weights=report.best, to=Destination(tmp_path / "penny.safetensors"))
    names = [key.partition(".")[0] for key in load_file(export.run(told.context("export")).path)]
    assert any(name.startswith("lora_unet_transformer_blocks") for name in names)
    assert any(name.startswith("lora_te1_") for name in names)


def test_snapshots_are_in_the_format_that_the_adapter_asks_for(
    pictures: Dataset, flow: TinyFlow, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoRA, "snapshot_format", "diffusers")
    train = Train(dataset=pictures, adapter=LoRA(rank=2), steps=Duration(1), text_encoder_lr=0)
    path = train.run(tiny.Bench(place).context("diffusers")).snapshots[-1].path
    assert all(key.startswith("transformer.transformer_blocks.") for key in load_file(path))
    model = flow.load("cpu")
    assert len(formats.open(path, model.kohya_names()).modules) == len(model.targets("transformer"))


# ------------------------------------------------------------------------------------------ what would be wrong in silence


def digest(base: TinyFlow, cache: Path) -> str:
    return text_encoder_digest(base, base.load("cpu"), "fp32", Cache(cache))


def copy_of(base: TinyFlow, folder: Path) -> TinyFlow:
    shutil.copytree(base.checkpoint.path, folder)
    return TinyFlow(checkpoint=Checkpoint(folder))


def test_captions_are_cached_by_the_frozen_encoder_too(flow: TinyFlow, tmp_path: Path) -> None:
    other = copy_of(flow, tmp_path / "other")
    assert digest(other, tmp_path / "cache") == digest(flow, tmp_path / "cache")
    file = tmp_path / "other" / "t5" / "model.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    assert digest(other, tmp_path / "cache") != digest(flow, tmp_path / "cache")


def test_the_models_own_settings_are_part_of_the_key(flow: TinyFlow, tmp_path: Path) -> None:
    other = copy_of(flow, tmp_path / "other")
    for name, decides in (("transformer", False), ("t5", True)):
        file = tmp_path / "other" / name / "config.json"
        file.write_text(file.read_text("utf-8") + "\n", encoding="utf-8")
        assert (digest(other, tmp_path / "cache") != digest(flow, tmp_path / "cache")) == decides


@pytest.mark.parametrize("previews", [(), ("red",)])
def test_every_encoder_leaves_the_memory_once_captions_are_encoded(
    pictures: Dataset, place: Path, previews: tuple[str, ...]
) -> None:
    bench = tiny.Bench(place)
    train = Train(
        dataset=pictures, adapter=LoRA(rank=2), steps=Duration(1), text_encoder_lr=0, preview_prompts=previews
    )
    train.run(bench.context("frozen"))
    assert set(bench.model_cache._value._parts) == {"transformer"}


def test_blocks_have_ranks_of_their_own_or_are_refused(flow: TinyFlow) -> None:
    model = flow.load("cpu")
    attached = LoRA(block_ranks=(1, 2, 0)).attach(model, ["transformer"])
    ranks = {path.split(".")[1]: module.rank for (_, path), module in attached.learned().modules.items()}
    attached.detach()
    assert ranks == {"0": 1, "1": 2}
    with pytest.raises(InputError, match="blocks of this base are 3"):
        LoRA(block_ranks=(4,) * 25).attach(model, ["transformer"])


def test_lora_plus_goes_by_role(flow: TinyFlow) -> None:
    model = flow.load("cpu")
    attached = LoRA(rank=2, lora_plus=16, lora_plus_text_encoder=2).attach(model, model.trainable)
    factors = attached.rate_factors()
    found = {part: {factors[id(each)] for each in parameters} for part, parameters in attached.parameters().items()}
    attached.detach()
    assert found == {"transformer": {1, 16}, "text_encoder": {1, 2}}


def test_rates_go_by_role(pictures: Dataset, flow: TinyFlow) -> None:
    train = Train(dataset=pictures, adapter=LoRA())
    usual = train.optimizer.usual_rate
    assert train.rates(flow.roles) == {"transformer": usual("denoiser"), "text_encoder": usual("text_encoder")}
    given = Train(dataset=pictures, adapter=LoRA(), unet_lr=3e-4, text_encoder_lr=0)
    assert given.rates(flow.roles) == {"transformer": 3e-4}


def test_latents_are_shifted_back_before_they_are_decoded(flow: TinyFlow) -> None:
    model = flow.load("cpu")
    vae = model.part("vae")
    zero = torch.zeros(1, *model.latent_shape((64, 64)))
    with torch.no_grad():
        expected = vae.decode(zero + vae.config.shift_factor).sample
        assert torch.allclose(model.decode(zero), expected, atol=1e-5)
        assert not torch.allclose(model.decode(zero), vae.decode(zero).sample, atol=1e-3)


def test_metadata_have_the_denoisers_rate(weights: Weights) -> None:
    assert weights.training is not None
    metadata = kohya_metadata(TrainingRecord.load(weights.training), "penny", STEPS, 1, "full")
    assert (metadata["ss_unet_lr"], metadata["ss_text_encoder_lr"]) == ("0.01", "0.001")
    assert metadata["ss_base_model_version"] == "tiny_flow"
    assert metadata["ss_network_module"] == "networks.lora_tiny_flow", "networks.lora would look for a U-Net"


def test_files_of_no_training_name_the_familys_module_too(weights: Weights, flow: TinyFlow) -> None:
    learned = formats.open(weights.snapshots[-1].path, flow.load("cpu").kohya_names())
    told = untrained_metadata(TinyFlow, "tiny_flow", learned, "none")
    assert told["ss_network_module"] == "networks.lora_tiny_flow"


def test_advice_changes_the_rate_of_the_part_that_it_is_for(weights: Weights, flow: TinyFlow) -> None:
    """The denoiser is better at half its strength, so half its rate is advised; the option must reach the transformer."""
    assert weights.training is not None
    apart = parts_apart() | {Cell(240, 0.5, 1.0): scores(0.95, 0.98)}
    values = advised_options(flow, TrainingRecord.load(weights.training))
    verdict = judge(results([(0.4, 1.0), (0.6, 0.9), (0.85, 0.8)], apart=apart, knobs=values))
    patch = verdict.advice[0].patch
    assert patch, "half the rate"
    rates = {name: value for name, value in values.items() if name.endswith("_lr")} | dict(patch)
    train = Train(dataset=Ref("prepare"), adapter=LoRA(), **rates)  # type: ignore[arg-type]
    assert train.rates(flow.roles) == {"transformer": 0.005, "text_encoder": 0.001}


def test_the_loss_is_that_of_the_velocity(flow: TinyFlow) -> None:
    """ε − x₀ at x_σ = (1 − σ)·x₀ + σ·ε (Esser et al. 2024, eq. 12 and 13), written out here."""
    model, options = flow.load("cpu"), NoiseOptions()
    clean = torch.randn(3, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    condition = model.encode_text(["red", "a hat", "snow"])
    objective = Objective(model, Loss.default("mse")(), Weighting.default("none")(), options.draw, seed=5)
    noise, t, _ = options.draw(5, 2, range(3), clean, model.diffusion)
    sigma = (t / 1000).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        found = objective(2, range(3), MicroBatch(clean, lambda: condition))
        prediction = model.predict((1 - sigma) * clean + sigma * noise, t, condition)
    velocity, v = noise - clean, (1 - sigma) * noise - sigma * clean
    assert torch.allclose(found, (prediction - velocity).square().flatten(1).mean(1), rtol=1e-4)
    assert not torch.allclose(found, (prediction - v).square().flatten(1).mean(1), rtol=1e-2)


def test_the_cache_is_foretold_by_the_channels_there_are(flow: TinyFlow, base: object, pictures: Dataset) -> None:
    images = Source(pictures.images)
    four, sixteen = (Prepare(images=images, base=each).forecast().cache for each in (base, flow))  # type: ignore[arg-type]
    assert sixteen == 4 * four


def test_what_it_cannot_do_is_refused(flow: TinyFlow) -> None:
    assert not list(flow.objections(TextReading(max_tokens=225)))
    assert [problem.path for problem in flow.objections(TextReading(clip_skip=2, weighted=True))] == [
        ("clip_skip",), ("captions", "weighted"),
    ]  # fmt: skip
