"""SDXL: two text encoders, what the network is told of shapes, and two dialects of names."""

from __future__ import annotations

import functools
from pathlib import Path

import ldm_layout
import pytest
import tiny
import torch

from lorapipe.errors import InputError
from lorapipe.formats import AdapterWeights
from lorapipe.formats.kohya import Kohya
from lorapipe.metadata import kohya_metadata
from lorapipe.models import Checkpoint
from lorapipe.models._parts import Parts
from lorapipe.models._sdxl_model import SDXLModel
from lorapipe.models._weight_files import SingleFile
from lorapipe.models.sdxl import CONFIGURATION, SDXL
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training_record import TrainingRecord
from pipelines import pipeline_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SDXL:
    return SDXL.tiny(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def model(base: SDXL) -> SDXLModel:
    loaded = base.load("cpu")
    assert isinstance(loaded, SDXLModel)
    return loaded


@pytest.fixture(scope="module")
def full() -> SDXLModel:
    return SDXLModel(Parts(SingleFile(Path("none.safetensors"), CONFIGURATION)), "cpu", "fp32")


def single_file(model: SDXLModel, path: Path, **more: torch.Tensor) -> Path:
    from safetensors.torch import save_file

    texts = ldm_layout.clip(model.part("text_encoder"), "conditioner.embedders.0.transformer.")
    texts |= ldm_layout.open_clip(model.part("text_encoder_2"), "conditioner.embedders.1.model.")
    save_file({**ldm_layout.checkpoint(model.part("unet"), model.part("vae"), texts), **more}, path)
    return path


def learnt(model: SDXLModel) -> AdapterWeights:
    attached = LoRA(rank=2).attach(model, model.trainable)
    for parameters in attached.parameters().values():
        for place, parameter in enumerate(parameters):
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(place))
    found = attached.learned()
    attached.detach()
    return found


def test_names_are_those_of_the_original_code(full: SDXLModel) -> None:
    """Against the layout of the single file, which is written apart from our table."""
    attentions = (True, True, False)
    for path in (ref.path for ref in full.modules("unet")):
        original = ldm_layout.unet_key(f"{path}.weight", 3, 2, attentions.__getitem__).removesuffix(".weight")
        assert full.kohya_name("unet", path) == f"lora_unet_{original.replace('.', '_')}"


def test_a_single_file_is_the_same_model_as_the_folder(base: SDXL, model: SDXLModel, tmp_path: Path) -> None:
    """But for rounding: kernels differ with the alignment of tensors, which are mapped from where they lie in a file."""
    near = functools.partial(torch.allclose, atol=1e-5)
    file = single_file(model, tmp_path / "sdxl.safetensors")
    other = SDXL(checkpoint=Checkpoint(file), config=Source(base.checkpoint.path)).load("cpu")
    latents, steps = torch.ones(1, 4, 16, 16), torch.tensor([500])
    with torch.no_grad():
        condition, again = model.encode_text(["a hat"]), other.encode_text(["a hat"])
        assert all(near(condition[name], again[name]) for name in condition)
        assert near(other.predict(latents, steps, condition), model.predict(latents, steps, condition))


def test_the_signs_of_v_prediction_in_a_file(model: SDXLModel, tmp_path: Path) -> None:
    file = single_file(model, tmp_path / "v.safetensors", v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    loaded = SDXL(checkpoint=Checkpoint(file)).load("cpu")
    assert loaded.diffusion.prediction == "v_prediction" and loaded.diffusion.alphas_cumprod[-1] == 0
    told = SDXL(checkpoint=Checkpoint(file), zero_terminal_snr=False).load("cpu")
    assert told.diffusion.prediction == "v_prediction" and told.diffusion.alphas_cumprod[-1] > 0


def test_captions_are_read_as_diffusers_reads_them(model: SDXLModel) -> None:
    pipeline = pipeline_of(model)
    with torch.no_grad():
        hidden, _, pooled, _ = pipeline.encode_prompt("a red hat", device="cpu", do_classifier_free_guidance=False)
        ours = model.encode_text(["a red hat"])
    assert torch.allclose(ours["hidden"], hidden, atol=1e-5)
    assert torch.allclose(ours["pooled"], pooled, atol=1e-5)


def test_the_network_is_told_how_a_picture_was_cut(model: SDXLModel) -> None:
    told = model.size_conditioning(original=(1000, 600), crop=(16, 0), size=(64, 48))["time_ids"]
    assert told.tolist() == [[600, 1000, 0, 16, 48, 64]]
    latents, steps = torch.ones(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        condition = model.encode_text(["a hat"])
        whole = model.size_conditioning((64, 64), (0, 0), (64, 64))
        plain = model.predict(latents, steps, condition)
        assert not torch.equal(plain, model.predict(latents, steps, {**condition, "time_ids": told}))
        size = 2 ** (len(model.source.config("vae")["block_out_channels"]) - 1) * 8
        whole = model.size_conditioning((size, size), (0, 0), (size, size))
        assert torch.equal(plain, model.predict(latents, steps, {**condition, **whole}))


def test_both_dialects_are_read_and_kohyas_is_written(model: SDXLModel) -> None:
    adapter, names = learnt(model), model.kohya_names()
    written = Kohya().save(adapter, names)
    assert any(key.startswith("lora_unet_input_blocks_") for key in written)
    assert not any("down_blocks" in key for key in written)
    other = {f"lora_unet_{path.replace('.', '_')}": (part, path) for part, path in adapter.modules if part == "unet"}
    diffusers = Kohya().save(AdapterWeights({p: m for p, m in adapter.modules.items() if p[0] == "unet"}), other)
    assert any("down_blocks" in key for key in diffusers)
    read = Kohya().load(diffusers, names)
    assert all(torch.equal(read.modules[place].delta(), adapter.modules[place].delta()) for place in read.modules)


def test_diffusers_applies_the_file_as_we_do(model: SDXLModel) -> None:
    adapter = learnt(model)
    latents, steps, caption = torch.ones(1, 4, 8, 8), torch.tensor([500]), ["a hat"]
    with torch.no_grad():
        attached = LoRA(rank=2).attach(model, model.trainable)
        attached.load(adapter)
        condition = model.encode_text(caption)
        ours = model.predict(latents, steps, condition)
        attached.detach()
        pipeline = pipeline_of(model)
        pipeline.load_lora_weights(Kohya().save(adapter, model.kohya_names()))
        theirs_read = model.encode_text(caption)
        theirs = model.predict(latents, steps, theirs_read)
        pipeline.unload_lora_weights()
    assert torch.allclose(condition["pooled"], theirs_read["pooled"], atol=1e-4)
    assert torch.allclose(condition["hidden"], theirs_read["hidden"], atol=1e-4)
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_it_trains_all_three_parts_with_rates_of_their_own(base: SDXL, tmp_path: Path) -> None:
    bench = tiny.Bench(tmp_path)
    images = tiny.draw(tmp_path / "pictures")
    prepared = Prepare(images=Source(images), base=base, duplicate_tolerance=0).run(bench.context("prepare"))
    train = Train(
        dataset=prepared, adapter=LoRA(rank=2), steps=Duration(3), snapshots=Interval(1), batch=2,
        text_encoder_lr=1e-5, text_encoder_2_lr=2e-5,
    )  # fmt: skip
    weights = train.run(bench.context("train"))
    record = TrainingRecord.load(weights.training)
    assert record.rates == {"unet": 1e-4, "text_encoder": 1e-5, "text_encoder_2": 2e-5}
    told = kohya_metadata(record, "", 3, 1, "full")
    assert (told["ss_base_model_version"], told["ss_text_encoder_lr"]) == ("sdxl_base_v1-0", "[1e-05, 2e-05]")
    from safetensors.torch import load_file

    ups = {key: tensor for key, tensor in load_file(weights.snapshots[-1].path).items() if "lora_up" in key}
    for prefix in ("lora_unet_", "lora_te1_", "lora_te2_"):
        assert any(float(tensor.abs().max()) > 0 for key, tensor in ups.items() if key.startswith(prefix))
    with pytest.raises(InputError, match="last layer but one"):
        Train(dataset=prepared, clip_skip=2).run(bench.context("skip"))
