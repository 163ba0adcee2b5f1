"""`lorapipe inspect --pipeline`: the pipeline that would train a file, from its metadata or its tensors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file

from lorapipe.cli import main
from lorapipe.inspection.training_pipeline import FileFacts, TrainingPipeline, pipeline_of
from lorapipe.metadata import kohya_metadata
from lorapipe.pipeline import loader
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.spec import to_dict
from lorapipe.training.adapters import Adapter
from lorapipe.training.optimizers import Optimizer
from lorapipe.training_record import TrainingRecord

KOHYAS = {
    "ss_output_name": "Penny v2", "ss_sd_model_name": "C:\\models\\animefull.safetensors",
    "ss_base_model_version": "sd_v1", "ss_network_module": "networks.lora", "ss_network_dim": "32",
    "ss_network_alpha": "16", "ss_network_args": '{"conv_dim": "4", "conv_alpha": "1"}', "ss_unet_lr": "0.0001",
    "ss_text_encoder_lr": "5e-05", "ss_learning_rate": "0.001", "ss_lr_scheduler": "cosine_with_restarts",
    "ss_lr_warmup_steps": "50", "ss_max_train_steps": "1200", "ss_min_snr_gamma": "None", "ss_clip_skip": "2",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.8, 0.95))",
    "ss_noise_offset": "0.1", "ss_adaptive_noise_scale": "None", "ss_resolution": "(512, 768)",
    "ss_min_bucket_reso": "256", "ss_max_bucket_reso": "1024", "ss_enable_bucket": "True", "ss_flip_aug": "True",
    "ss_shuffle_caption": "True", "ss_keep_tokens": "1", "ss_caption_dropout_rate": "0.05", "ss_seed": "42",
    "ss_dataset_dirs": '{"10_penny": {"n_repeats": 10, "img_count": 20}}', "ss_mixed_precision": "fp16",
    "ss_batch_size_per_device": "2", "ss_gradient_accumulation_steps": "4", "ss_max_token_length": "225",
    "ss_multires_noise_discount": "0.3", "ss_max_grad_norm": "1.0", "ss_loss_type": "huber",
    "ss_huber_schedule": "constant", "ss_huber_c": "0.2", "ss_huber_scale": "1.0", "ss_v2": "False",
    "ss_gradient_checkpointing": "True", "ss_full_fp16": "False", "ss_ip_noise_gamma": "0.05",
    "modelspec.trigger_phrase": "penny",
}  # fmt: skip
"""The metadata of a LoCon of sd-scripts, as its `train_network.py` writes it."""


def loaded(found: TrainingPipeline, folder: Path) -> Pipeline:
    """Load the pipeline as a user would who has set its paths."""
    if not (folder / "pictures").exists():
        tiny.draw(folder / "pictures")
    text = found.as_text().replace("./animefull.safetensors", "pocket").replace("./base.safetensors", "pocket")
    (folder / "again.yaml").write_text(text, encoding="utf-8")
    return loader.load(folder / "again.yaml")


def test_what_sd_scripts_wrote_becomes_the_same_settings_here(tmp_path: Path) -> None:
    found = pipeline_of(KOHYAS)
    assert not [line for line in found.remarks if "Not translated" in line]
    stages = loaded(found, tmp_path).stages
    train: Any = stages["penny_v2"]
    adapter = train.adapter
    assert (adapter.name, adapter.rank, adapter.alpha, adapter.conv_rank, adapter.conv_alpha) == ("locon", 32, 16, 4, 1)
    optimizer = train.optimizer
    assert (optimizer.name, optimizer.weight_decay, optimizer.beta1, optimizer.beta2) == ("adamw8bit", 0.1, 0.8, 0.95)
    assert (train.unet_lr, train.text_encoder_lr, train.steps.count, train.batch) == (1e-4, 5e-5, 1200, 2)
    assert (train.accumulation, train.clip_skip, train.max_tokens, train.seed) == (4, 2, 225, 42)
    assert (train.scheduler.name, train.scheduler.warmup.count) == ("cosine_with_restarts", 50)
    assert train.weighting.name == "none" and train.precision == "fp16" and train.gradient_checkpointing
    assert (train.loss.name, train.loss.schedule, train.loss.c) == ("huber", "constant", 0.2)
    assert (train.noise.offset, train.noise.perturbation, train.noise.multires_iterations) == (0.1, 0.05, 0)
    assert (train.captions.shuffle, train.captions.keep_tokens, train.captions.dropout) == (True, 1, 0.05)
    prepare: Any = stages["dataset"]
    assert prepare.resolution.size == (512, 768) and prepare.augment.flip and prepare.base.name == "sd15"
    assert (prepare.min_bucket_reso, prepare.max_bucket_reso) == (256, 1024)
    assert any("10_penny (20 pictures, 10 repeats)" in line for line in found.remarks)
    assert any("C:/models/animefull.safetensors" in line for line in found.remarks)
    export: Any = stages["file"]
    assert export.trigger == "penny"


CONTRACT: Any = Adapter
KINDS = [
    name for name in CONTRACT.registry.names() if isinstance(getattr(CONTRACT.registry.get(name), "algorithm", 0), str)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_ours_without_our_own_metadata_names_its_adapter(kind: str, tmp_path: Path) -> None:
    """By the fields of kohya's alone, as other programs see them."""
    metadata = kohya_metadata(record(kind), "again", 30, 3, "private", (CONTRACT.registry.get(kind).algorithm,))
    assert "lorapipe_settings" not in metadata
    train: Any = loaded(pipeline_of(metadata, FileFacts("again")), tmp_path).stages["again"]
    assert train.adapter.name == kind
    assert getattr(train.adapter, "rank", 4) == 4


def record(kind: str, **settings: object) -> TrainingRecord:
    cls = CONTRACT.registry.get(kind)
    sizes = {"rank": 4, "alpha": 2.0, "conv_rank": 2}
    known = {field.name for field in dataclasses.fields(cls)}
    adapter = to_dict(cls(**{name: value for name, value in sizes.items() if name in known}))
    options: dict[str, object] = {
        "adapter": adapter,
        "seed": 7,
        "batch": 2,
        "max_tokens": 75,
        "clip_skip": 1,
        **settings,
    }
    return TrainingRecord(
        family="sd15", base_model_version="sd_v1", architecture="stable-diffusion-v1", prediction="epsilon",
        base_name="pocket", settings=options, rates={"unet": 1e-4, "text_encoder": 5e-5}, rank=4, alpha=2.0, pictures=3,
        pictures_per_epoch=6, batches_per_epoch=3, steps=30, resolution=(64, 64), folders={"a": {"n_repeats": 1}},
    )  # fmt: skip


def test_our_own_metadata_gives_every_setting_back(tmp_path: Path) -> None:
    settings = {
        "steps": "30 steps", "text_encoder_lr": 0.0, "stop": "early", "ema": 0.99, "precision": "fp32",
        "captions": {"shuffle": True, "tag_dropout": 0.25}, "weighting": {"type": "soft_min_snr", "gamma": 3.0},
    }  # fmt: skip
    metadata = kohya_metadata(record("lokr", **settings), "again", 30, 3, "full", ("lokr",))
    train: Any = loaded(pipeline_of(metadata), tmp_path).stages["again"]
    assert (train.adapter.name, train.adapter.rank, train.adapter.alpha) == ("lokr", 4, 2)
    assert (train.text_encoder_lr, train.stop, train.ema) == (0, "early", 0.99)
    assert (train.captions.shuffle, train.captions.tag_dropout) == (True, 0.25)
    assert (train.weighting.name, train.weighting.gamma, train.seed) == ("soft_min_snr", 3, 7)


def test_every_optimizer_is_found_by_the_class_that_sd_scripts_name(tmp_path: Path) -> None:
    contract: Any = Optimizer
    for name in contract.registry.names():
        told = str(contract.registry.get(name).implementation).replace(":", ".")
        if name == "library":
            continue
        train = pipeline_of({"ss_output_name": "a", "ss_optimizer": f"{told}(weight_decay=0.5)"}).stages["a"]
        found = train.get("optimizer", {"type": "adamw"})
        assert (found if isinstance(found, str) else found["type"]) == name  # type: ignore[index]


def test_a_dataset_config_becomes_a_stage_for_each_folder(tmp_path: Path) -> None:
    datasets = [
        {"resolution": [512, 512], "subsets": [{"num_repeats": 10, "class_tokens": "penny"}, {"is_reg": True}]},
        {"resolution": [768, 768], "subsets": [{"num_repeats": 1, "flip_aug": True}]},
    ]  # fmt: skip
    found = pipeline_of({"ss_output_name": "a", "ss_datasets": json.dumps(datasets)})
    assert [*found.stages] == ["dataset", "dataset_2", "regularisation", "a", "file"]
    assert found.stages["dataset"]["repeats"] == 10 and found.stages["dataset_2"]["resolution"] == 768
    assert found.stages["a"]["more_datasets"] == ["$dataset_2"]
    (tmp_path / "regularisation").mkdir()
    assert loaded(found, tmp_path).stages


def test_without_metadata_the_tensors_tell_kind_size_and_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {
        f"{name}.lora_down.weight": torch.ones(8, 2048), f"{name}.lora_up.weight": torch.ones(640, 8),
        f"{name}.alpha": torch.tensor(4.0),
    }  # fmt: skip
    save_file(tensors, tmp_path / "Style 3.safetensors")
    assert main(["inspect", str(tmp_path / "Style 3.safetensors"), "--pipeline"]) == 0
    text = capsys.readouterr().out
    assert "family: sdxl" in text and "text_encoder_lr: 0" in text and "{type: lora, rank: 8, alpha: 4}" in text
    assert main(["inspect", str(tmp_path / "Style 3.safetensors"), "--pipeline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"]["style_3"]["adapter"]["rank"] == 8


def test_a_word_alone_is_a_training_of_that_word() -> None:
    found = pipeline_of({}, FileFacts("penny", "sd15", words={"penny": 3}))
    assert found.stages["penny"]["adapter"] == {"type": "embedding", "trigger": "penny", "vectors": 3}


def test_only_adapters_have_a_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"first_stage_model.encoder.conv_in.weight": torch.ones(4)}, tmp_path / "vae.safetensors")
    assert main(["inspect", str(tmp_path / "vae.safetensors"), "--pipeline"]) == 2
    assert "Name a LoRA's" in capsys.readouterr().err


@pytest.mark.parametrize(
    "odd",
    [{"ss_network_dim": "many"}, {"ss_network_args": "[1"}, {"ss_resolution": "?"}, {"ss_optimizer": "(("},
     {"ss_datasets": '[1, {"subsets": 3}]'}, {"ss_dataset_dirs": '{"a": 3}'}, {"ss_unet_lr": "inf"},
     {"lorapipe_settings": "{}"}, {"lorapipe_settings": "[["}, {"ss_max_train_steps": "-4"}],
)  # fmt: skip
def test_damaged_metadata_is_no_obstacle(odd: dict[str, str]) -> None:
    assert pipeline_of({"ss_output_name": "a", **odd}).stages["a"]


def test_the_default_settings_leave_nothing_to_write() -> None:
    defaults = {"adapter": {"type": "lora", "rank": 16, "alpha": 0.0}, "seed": 0, "batch": 1}
    metadata = {"ss_output_name": "a", "lorapipe_settings": json.dumps(defaults)}
    assert pipeline_of(metadata).stages["a"] == {"uses": "train", "dataset": "$dataset"}
