"""Exported files: other programs' readers get the same ΔW and the same pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from lorapipe import formats
from lorapipe.errors import InputError, LorapipeError
from lorapipe.formats import AdapterWeights, ModuleWeights, serialize
from lorapipe.formats.kohya import Kohya
from lorapipe.metadata import hashes
from lorapipe.models import Model
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.delivery_log import DeliveryLog, is_as_exported
from lorapipe.pipeline.ledger import Ledger
from lorapipe.spec import Destination
from lorapipe.stages.export import Export
from lorapipe.training.adapters.locon import LoCon
from lorapipe.training_record import TrainingRecord
from pipelines import pipeline_of

RECORD = TrainingRecord(
    family="sd15", base_model_version="sd_v1", architecture="stable-diffusion-v1", prediction="epsilon",
    base_name="tiny", settings={"adapter": {"type": "locon", "rank": 4, "conv_rank": 2}, "seed": 3},
    rates={"unet": 1e-4, "text_encoder": 5e-5}, rank=4, alpha=2.0, pictures=3, pictures_per_epoch=6,
    batches_per_epoch=3, steps=30, resolution=(64, 64), buckets={"64x64": 3}, tags={"2_penny": {"secret tag": 3}},
    folders={"2_penny": {"n_repeats": 2, "img_count": 3}},
)  # fmt: skip


@pytest.fixture(scope="module")
def learnt(model: Model) -> AdapterWeights:
    """A LoCon with random weights, as after a training."""
    attached = LoCon(rank=4, alpha=2.0, conv_rank=2).attach(model, ("unet", "text_encoder"))
    generator = torch.Generator().manual_seed(0)
    for parameters in attached.parameters().values():
        for parameter in parameters:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    weights = attached.learned()
    attached.detach()
    return weights


Exporter = Callable[..., tuple[Path, Export]]


@pytest.fixture
def export(base: SD15, model: Model, learnt: AdapterWeights, tmp_path: Path) -> Exporter:
    formats.save(learnt, model.kohya_names(), tmp_path / "step-000030.safetensors", Kohya())
    RECORD.save(tmp_path / "training.json")
    dataset = Dataset(manifest=tmp_path / "m.json", base=base, images=tmp_path, contact_sheet=tmp_path / "c.png")
    snapshot = Snapshot(30, 10, tmp_path / "step-000030.safetensors")
    weights = Weights((snapshot,), dataset, tmp_path / "training.json", tmp_path / "log.jsonl")

    def run(**knobs: object) -> tuple[Path, Export]:
        stage = Export(weights=weights, to=Destination(tmp_path / "to" / "penny.safetensors"), **knobs)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        context = Context(out, tmp_path / "resume", tmp_path / "cache", lambda event: None, lambda: False)
        return stage.run(context).path, stage

    return run


def deltas(path: Path) -> dict[str, np.ndarray]:
    """Return ΔW of a kohya file by its published layout, in plain NumPy: an independent implementation."""
    tensors = load_file(path)
    found = {}
    for key in tensors:
        if key.endswith(".lora_down.weight"):
            name = key.removesuffix(".lora_down.weight")
            down, up = tensors[key].astype(np.float64), tensors[f"{name}.lora_up.weight"].astype(np.float64)
            scale = float(tensors[f"{name}.alpha"]) / down.shape[0]
            found[name] = scale * np.tensordot(up.reshape(up.shape[0], -1), down, axes=1)
    return found


def test_an_independent_reader_finds_the_same_update(export: Exporter, model: Model, learnt: AdapterWeights) -> None:
    path, _ = export(dtype="fp32")
    found = deltas(path)
    assert found.keys() == {model.kohya_name(*place) for place in learnt.modules}
    for place, module in learnt.modules.items():
        assert np.abs(found[model.kohya_name(*place)] - module.delta().numpy()).max() < 1e-5


def test_diffusers_paints_the_same_pictures(export: Exporter, model: Model, learnt: AdapterWeights) -> None:
    path, _ = export(dtype="fp32")

    def paint() -> np.ndarray:
        generator = torch.Generator().manual_seed(4)
        pipeline = pipeline_of(model)
        pictures = pipeline("a hat", num_inference_steps=4, guidance_scale=3.0, height=64, width=64,
                            output_type="np", generator=generator).images  # fmt: skip
        return np.asarray(pictures)

    base = paint()
    attached = LoCon(rank=4, alpha=2.0, conv_rank=2).attach(model, ("unet", "text_encoder"))
    attached.load(learnt)
    ours = paint()
    attached.detach()
    pipeline = pipeline_of(model)
    pipeline.load_lora_weights(path)
    theirs = paint()
    pipeline.unload_lora_weights()
    assert np.abs(ours - base).max() > 0.01
    assert np.abs(theirs - ours).max() < 1e-5


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_the_file_has_the_dtype_and_an_exact_alpha(export: Exporter, dtype: str) -> None:
    path, _ = export(dtype=dtype)
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            name = file.get_slice(key).get_dtype()
            assert name == ("F32" if key.endswith(".alpha") else {"fp16": "F16", "bf16": "BF16", "fp32": "F32"}[dtype])


@pytest.mark.parametrize("size", [1e-6, 1e-8])
def test_an_update_too_small_for_fp16_is_saved_all_the_same(
    export: Exporter, model: Model, learnt: AdapterWeights, tmp_path: Path, size: float
) -> None:
    """As after a few steps of prodigy: `up` is nearly zero."""

    def faint(module: ModuleWeights) -> ModuleWeights:
        return ModuleWeights(module.algorithm, {**module.tensors, "up": module.tensors["up"] * size}, module.alpha)

    small = AdapterWeights({place: faint(module) for place, module in learnt.modules.items()})
    formats.save(small, model.kohya_names(), tmp_path / "step-000030.safetensors", Kohya())
    path, _ = export(dtype="fp16")
    found, names = deltas(path), model.kohya_names()
    for name, delta in found.items():
        wanted = small.modules[names[name]].delta().numpy()
        assert np.linalg.norm(delta - wanted) < 4e-3 * np.linalg.norm(wanted)


def test_metadata_tells_what_was_asked_for(export: Exporter) -> None:
    def metadata(privacy: str) -> dict[str, str]:
        path, _ = export(metadata=privacy, title="Penny", trigger="penny", comment="hand-picked")
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata())

    full, private, none = metadata("full"), metadata("private"), metadata("none")
    assert full["ss_network_dim"] == "4" and full["ss_network_alpha"] == "2.0"
    assert full["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert full["modelspec.trigger_phrase"] == "penny" and full["ss_training_comment"] == "hand-picked"
    assert json.loads(full["ss_tag_frequency"]) == {"2_penny": {"secret tag": 3}}
    assert "secret" not in json.dumps(private) and "2_penny" not in json.dumps(private)
    assert private["ss_unet_lr"] == "0.0001" and all(isinstance(value, str) for value in full.values())
    assert not [key for key in none if key.startswith("modelspec") or "lr" in key]
    assert none["ss_base_model_version"] == "sd_v1"


def test_the_hash_is_of_the_files_tensors(export: Exporter) -> None:
    path, _ = export()
    data = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    start = 8 + int.from_bytes(data[:8], "little")
    assert metadata["sshs_model_hash"] == hashlib.sha256(data[start:]).hexdigest()


def test_the_same_weights_give_the_same_bytes(export: Exporter) -> None:
    assert export()[0].read_bytes() == export()[0].read_bytes()


def test_a_file_of_ours_is_known_by_itself_until_somebody_changes_it(export: Exporter, tmp_path: Path) -> None:
    """It is distinguished from other programs' files, and only the project that has written it replaces it."""
    import safetensors.torch

    path, _ = export()
    assert is_as_exported(path)
    stranger = DeliveryLog(Ledger(tmp_path / "stranger"))
    for place in (tmp_path / "downloaded.safetensors", tmp_path / "stranger" / "out.safetensors"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes())
        assert stranger.objection(place) == "a LoRA that lorapipe has made in another project is already there."
        (tmp_path / "new").write_bytes(b"another")
        with pytest.raises(InputError, match="in another project"):
            stranger.put(tmp_path / "new", place, "file of p.yaml")
        assert place.read_bytes() == path.read_bytes()
        stranger.put(tmp_path / "new", place, "file of p.yaml", overwrite=True)
        assert not stranger.objection(place)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = safetensors.torch.load_file(path)
    halved = {key: tensor[: len(tensor) // 2] if tensor.dim() else tensor for key, tensor in tensors.items()}
    told = {**metadata, "ss_training_comment": "dimension is resized from 4 to 2"}
    older = {key: value for key, value in metadata.items() if key != "lorapipe_seal"}
    (tmp_path / "older.safetensors").write_bytes(serialize(tensors, older))
    assert is_as_exported(tmp_path / "older.safetensors")
    changed = {
        "resized": safetensors.torch.save(halved, {**told, **hashes(serialize(halved, {}))}),
        "resized, of an earlier lorapipe": serialize(
            halved, {**older, **hashes(serialize(halved, {})), "ss_network_dim": "2"}
        ),
        "described": serialize(tensors, {**metadata, "modelspec.title": "Mine"}),
        "described, of an earlier lorapipe": serialize(tensors, {**older, "x": ""}).replace(b":", b": ", 1),
        "one number": path.read_bytes()[:-1] + b"\x01",
        "cut": path.read_bytes()[:-40],
        "longer": path.read_bytes() + b"\0",
        "without a mark": export(metadata="none")[0].read_bytes(),
        "nothing": b"",
        "text": b"{}" * 40,
    }
    for what, data in changed.items():
        (tmp_path / "changed.safetensors").write_bytes(data)
        assert not is_as_exported(tmp_path / "changed.safetensors"), what


def test_a_file_that_does_not_say_the_same_is_not_published(export: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Kohya.save

    def forgets_alpha(self: Kohya, *arguments: object) -> dict[str, torch.Tensor]:
        tensors = honest(self, *arguments)  # type: ignore[arg-type]
        return {key: tensor for key, tensor in tensors.items() if not key.endswith("mlp_fc1.alpha")}

    monkeypatch.setattr(Kohya, "save", forgets_alpha)
    with pytest.raises(LorapipeError, match="was not saved exactly"):
        export()


def test_a_module_of_another_model_is_named(model: Model) -> None:
    tensors = {
        "lora_unet_nowhere.lora_down.weight": torch.zeros(1, 4),
        "lora_unet_nowhere.lora_up.weight": torch.zeros(4, 1),
    }
    with pytest.raises(InputError, match="lora_unet_nowhere is not in this base"):
        Kohya().load(tensors, model.kohya_names())


def test_a_missing_alpha_is_the_rank() -> None:
    down, up = torch.ones(2, 3), torch.ones(4, 2)
    loaded = Kohya().load(
        {"lora_unet_x.lora_down.weight": down, "lora_unet_x.lora_up.weight": up}, {"lora_unet_x": ("unet", "x")}
    )
    assert torch.equal(loaded.modules["unet", "x"].delta(), torch.full((4, 3), 2.0))


def test_the_tucker_form_is_its_product() -> None:
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 5, 1, 1, generator=generator), torch.randn(7, 2, 1, 1, generator=generator)
    mid = torch.randn(2, 2, 3, 3, generator=generator)
    x = torch.randn(1, 5, 8, 8, generator=generator)
    delta = ModuleWeights("lora", {"down": down, "up": up, "mid": mid}, 1.0).delta()
    conv = torch.nn.functional.conv2d
    assert torch.allclose(conv(x, delta, padding=1), 0.5 * conv(conv(conv(x, down), mid, padding=1), up), atol=1e-4)
