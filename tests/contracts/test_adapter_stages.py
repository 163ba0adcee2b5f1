"""Contract tests of all registered adapters from training to file: every stage and program works with each of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from corpus.drops import photographs
from PIL import Image
from safetensors import safe_open

from lorapipe import formats
from lorapipe.errors import Interrupted
from lorapipe.formats import Format
from lorapipe.inspection import inspect
from lorapipe.models import Model
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.pipeline.events import Log, Metric, Preview
from lorapipe.spec import Destination, Duration, Source
from lorapipe.stages.evaluate import Evaluate
from lorapipe.stages.export import Export
from lorapipe.stages.train import Train
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.adapters import Adapter
from lorapipe.training.interval import Interval
from lorapipe.training.peft_methods import Method
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings

assert Adapter.registry is not None and Format.registry is not None and Method.registry is not None
NAMES = Adapter.registry.names()
SETTINGS: dict[str, dict[str, Any]] = {
    "embedding": {"trigger": "penny", "vectors": 1, "replace": True},
    "finetune": {"include": ("attn2",)},
    "peft": {"method": Method.registry.get("oft")(block_size=4)},  # type: ignore[call-arg]
}
"""Settings without which an adapter cannot train, or is slow; all others train with their defaults."""
EXPORTED: dict[str, dict[str, Any]] = {
    "finetune": {"convert": "checkpoint", "dtype": "fp32"},
    "hypernetwork": {"format": Format.registry.get("a1111")(), "dtype": "fp32"},
    "peft": {"format": Format.registry.get("peft")(), "dtype": "fp32"},
}
"""Settings of the file that other programs load; for all others the defaults of `export` are right."""


def train(name: str, dataset: Dataset, **more: Any) -> Train:
    kind = Adapter.registry.get(name)  # type: ignore[union-attr]
    rates = {} if "embedding" in kind.trains else {"unet_lr": 1e-2, "text_encoder_lr": 0.0}
    return dataclasses.replace(
        Train(dataset=dataset, adapter=kind(**SETTINGS.get(name, {})), steps=Duration(4), snapshots=Interval(2)),
        **{**rates, **more},
    )


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def told() -> list[Any]:
    return []


@pytest.fixture(scope="module")
def trained(name: str, dataset: Dataset, folder: Path, told: list[Any]) -> Weights:
    told.clear()
    spec = train(name, dataset, previews=Interval(1), preview_prompts=("penny",))
    return spec.run(tiny.Bench(folder, told=told).context(f"{name} whole"))


def answer(model: Model) -> torch.Tensor:
    noise = torch.randn(1, *model.latent_shape((64, 64)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(
            noise.to(tiny.DEVICE), torch.tensor([500], device=tiny.DEVICE), model.encode_text(["penny"])
        ).cpu()


def with_file(model: Model, path: Path, strength: float = 1.0) -> torch.Tensor:
    """The prediction with a file of weights, whose kind is known from the file alone."""
    weights = formats.open(path, model.kohya_names())
    attached = WeightsAdapter(weights).attach(model, weights.parts)
    attached.set_strength(dict.fromkeys(model.trainable, strength))
    found = answer(model)
    attached.detach()
    return found


def test_a_preview_is_painted_and_a_killed_training_ends_as_an_unbroken_one(
    name: str, dataset: Dataset, trained: Weights, bench: tiny.Bench, told: list[Any]
) -> None:
    (preview,) = [event for event in told if isinstance(event, Preview)]
    assert Image.open(preview.path).size == (64, 64)
    spec = train(name, dataset)
    bench.stopping = lambda: len(bench.of(Metric)) >= 1
    with pytest.raises(Interrupted):
        spec.run(bench.context(f"{name} killed"))
    bench.stopping = lambda: False
    resumed = spec.run(bench.context(f"{name} killed"))
    assert any("Resumes after step" in event.text for event in bench.of(Log))
    assert resumed.snapshots[-1].path.read_bytes() == trained.snapshots[-1].path.read_bytes()
    assert resumed.log.read_bytes() == trained.log.read_bytes()


def test_a_snapshot_changes_predictions_as_its_strength_says_and_a_training_starts_from_it(
    name: str, dataset: Dataset, trained: Weights, bench: tiny.Bench, model: Model
) -> None:
    file, base = trained.snapshots[-1].path, answer(model)
    whole = with_file(model, file)
    assert not torch.equal(whole, base)
    if name != "embedding":  # a word has no strength
        assert torch.equal(with_file(model, file, 0.0), base)
        assert not torch.equal(with_file(model, file, 0.5), whole)
    rate = "embedding_lr" if name == "embedding" else "unet_lr"
    again = train(name, dataset, start_from=Source(file), steps=Duration(1), **{rate: 1e-9})
    second = again.run(bench.context(f"{name} again")).snapshots[-1].path
    assert float((with_file(model, second) - whole).norm()) <= 0.02 * float((whole - base).norm())


def test_it_is_judged_exported_and_known_by_its_file(
    name: str, trained: Weights, bench: tiny.Bench, model: Model, tmp_path: Path
) -> None:
    judge = Evaluate(
        weights=trained, prompts=("penny, red",), strengths=(1.0,), low_cfg=None, steps=2, snapshots=1, pictures=1
    )
    report = judge.run(bench.context(f"{name} judged"))
    pictures = {path.read_bytes() for path in (report.page.parent / "pictures").rglob("*.png")}
    assert len(pictures) == 2 * 2, "of two prompts the base and the snapshot"
    settings = EXPORTED.get(name, {})
    ending = settings["format"].ending if "format" in settings else ".safetensors"
    to = Destination(tmp_path / f"penny{ending}")
    made = Export(weights=report.best, to=to, **settings).run(bench.context(f"{name} exported"))
    path = getattr(made, "path", tmp_path / f"penny{ending}")
    found = inspect(path)
    assert found.is_right, found.report.problems
    if settings.get("convert") != "checkpoint":
        base, learned = answer(model), with_file(model, trained.snapshots[-1].path)
        assert float((with_file(model, path) - learned).norm()) <= 0.02 * float((learned - base).norm())
    if ending == ".safetensors":
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata()
        assert metadata["modelspec.architecture"].startswith("stable-diffusion-v1")
        if "convert" not in settings:
            assert metadata["ss_steps"] == "4" and ("ss_network_module" in metadata) == (name != "embedding")


def test_a_folder_in_an_inbox_may_ask_for_it(name: str, tmp_path: Path) -> None:
    """The pipeline that `watch` writes for a folder whose own settings name the adapter."""
    dropped, outputs, kind = photographs(tmp_path / "penny"), tmp_path / "out", Adapter.registry.get(name)  # type: ignore[union-attr]
    own: dict[str, Any] = {"lora": {"adapter": {"type": name}}}
    if name == "embedding":
        own["lora"]["adapter"]["trigger"] = "penny"
    rates = {"unet_lr": "denoiser", "text_encoder_lr": "text_encoder"}
    own["lora"] |= {rate: None for rate, role in rates.items() if role not in kind.trains}
    if "format" in (settings := EXPORTED.get(name, {})):
        made: Format = settings["format"]
        own["file"] = {"to": str(outputs / f"penny{made.ending}"), "format": made.name}
    (dropped / "lorapipe.yaml").write_text(yaml.safe_dump({"stages": own}), encoding="utf-8")
    inbox = InboxPipeline(None, (), WatchSettings(least=3))
    stages = write(inbox, DroppedFolder(dropped, "penny", outputs, "penny")).stages
    assert stages["lora"].adapter.name == name  # type: ignore[attr-defined]
