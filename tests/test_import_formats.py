"""`lorapipe import` of TOML, kohya_ss' JSON, metadata, OneTrainer's and ai-toolkit's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trainer_configs as configs
from safetensors import safe_open

from lorapipe.cli import main
from lorapipe.config_import.option_table import ROWS
from lorapipe.config_import.translation import import_files
from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.execution.runner import Run
from lorapipe.settings_search import all_settings
from lorapipe.spec import to_dict

DATASET = """\
[general]
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1

[[datasets]]
resolution = 64
batch_size = 3
enable_bucket = true
min_bucket_reso = 64

  [[datasets.subsets]]
  image_dir = "train/2_penny"
  num_repeats = 4
  class_tokens = "penny"

  [[datasets.subsets]]
  image_dir = "reg/1_woman"
  is_reg = true
  shuffle_caption = false
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = configs.project(tmp_path_factory.mktemp("formats"))
    (folder / "dataset.toml").write_text(DATASET, encoding="utf-8")
    (folder / "settings.toml").write_text("seed = 3\n[b]\nlearning_rate = 1e-4\n", encoding="utf-8")
    return folder


def test_a_datasets_file_gives_a_stage_for_each_subset(project: Path) -> None:
    """With the precedence subset, dataset, general, command line."""
    text = configs.command("--dataset_config=dataset.toml", "--keep_tokens=2", "--caption_dropout_rate=0.1",
                           "--learning_rate=1e-4")  # fmt: skip
    found = configs.imported(text, project)
    pipeline: Any = configs.loaded(found, project).stages
    dataset, regularisation, lora = pipeline["dataset"], pipeline["regularisation"], pipeline["lora"]
    assert (dataset.repeats, dataset.class_word, dataset.resolution.size) == (4, "penny", (64, 64))
    assert (dataset.captions.shuffle, dataset.captions.keep_tokens, dataset.captions.dropout) == (True, 1, 0.1)
    assert (regularisation.captions.shuffle, regularisation.captions.keep_tokens) == (False, 0)
    assert lora.batch == 3 and to_dict(lora)["regularisation"] == "$regularisation"
    told = configs.outcomes(found)
    assert told["--dataset_config"] == "translated" and told["--train_data_dir"] == "no effect"
    places = {entry.option.place for entry in found.report.entries if entry.option.written == "num_repeats"}
    assert places == {"dataset.toml:14"}


def test_the_command_line_counts_before_the_configuration_that_it_names(project: Path) -> None:
    (project / "mine.toml").write_text("[a]\nseed = 3\nnetwork_dim = 6\n[b]\nlearning_rate = 1e-4\n", encoding="utf-8")
    found = configs.imported(configs.command("--config_file=mine", "--seed=5"), project)
    lora = configs.stage_of(found, project)
    assert (lora.seed, lora.adapter.rank, lora.unet_lr) == (5, 6, 1e-4)
    entry = next(entry for entry in found.report.entries if entry.option.written == "seed")
    assert entry.outcome.kind == "no effect" and entry.option.place == "mine.toml:2"


def test_a_file_that_is_named_and_not_there_is_asked_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "s.sh").write_text(configs.command("--dataset_config=elsewhere/none.toml"), encoding="utf-8")
    assert main(["import", str(project / "s.sh")]) == 2
    assert "names none.toml, which is not here. Name it too" in capsys.readouterr().err
    (project / "other").mkdir(exist_ok=True)
    (project / "other" / "none.toml").write_text(DATASET, encoding="utf-8")
    assert main(["import", str(project / "s.sh"), str(project / "other" / "none.toml")]) == 0


GUI = {
    "LoRA_type": "LyCORIS/LoHa", "pretrained_model_name_or_path": "./base", "train_data_dir": "./train", "epoch": 3,
    "max_train_steps": 0, "optimizer": "Prodigy", "optimizer_args": "decouple=True weight_decay=0.01 d_coef=2",
    "learning_rate": 1, "unet_lr": "1.0", "text_encoder_lr": 1, "lr_scheduler": "constant_with_warmup", "lr_warmup": 10,
    "network_dim": "16", "network_alpha": 8, "conv_dim": 4, "conv_alpha": 2, "max_resolution": "64,64", "sdxl": False,
    "xformers": "xformers", "train_batch_size": "2", "caption_extension": ".txt", "factor": -1, "min_snr_gamma": 5,
    "additional_parameters": "--noise_offset=0.05 --flip_aug", "output_name": "gui", "output_dir": "./out", "vae": "",
    "seed": 0, "gradient_checkpointing": True, "full_fp16": False, "model_list": "custom", "flux1_checkbox": False,
    "stop_text_encoder_training": 0, "mixed_precision": "bf16",
}  # fmt: skip


def test_the_guis_names_units_and_free_text_are_read(project: Path) -> None:
    found = configs.imported(json.dumps(GUI, indent=2), project, "gui.json")
    lora = configs.stage_of(found, project)
    assert (lora.adapter.name, lora.adapter.rank, lora.adapter.conv_rank, lora.adapter.preset) == (
        "loha",
        16,
        4,
        "full",
    )
    assert (lora.optimizer.name, lora.optimizer.d_coef, lora.steps.plain(), lora.batch) == ("prodigy", 2, "3 epochs", 2)
    assert lora.scheduler.warmup.plain() == "10 %" and lora.noise.offset == 0.05 and lora.weighting.gamma == 5
    assert configs.stage_of(found, project, "dataset").augment.flip
    assert len(found.report.entries) == len(GUI) + 3 and not found.report.counts["unknown"]
    lines = json.dumps(GUI, indent=2).splitlines()
    assert all(entry.option.written.split()[0] in lines[entry.option.line - 1] for entry in found.report.entries)


@pytest.mark.parametrize("kind", ["Standard", "Kohya LoCon", "LyCORIS/LoKr", "LyCORIS/LoCon", "LoRA-FA", "LyCORIS/iA3"])
def test_kinds_of_the_gui_become_adapters(project: Path, kind: str) -> None:
    expected = {"Standard": "lora", "Kohya LoCon": "locon", "LyCORIS/LoKr": "lokr", "LyCORIS/LoCon": "locon",
                "LoRA-FA": "lora", "LyCORIS/iA3": "ia3"}  # fmt: skip
    found = configs.imported(json.dumps({**GUI, "LoRA_type": kind}), project, "gui.json")
    assert configs.stage_of(found, project).adapter.name == expected[kind]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["{type: lora, rank: 2, alpha: 1}", "{type: lokr, rank: 2, factor: 4}"])
def test_our_own_export_imports_to_the_pipeline_it_came_from(project: Path, adapter: str) -> None:
    (project / "own.yaml").write_text(
        "stages:\n  dataset: {uses: prepare, images: train, base: {family: sd15, checkpoint: base}, resolution: 64}\n"
        f"  lora: {{uses: train, dataset: $dataset, adapter: {adapter}, steps: 3, unet_lr: 3e-4, text_encoder_lr: 0,\n"
        "         captions: {shuffle: true, keep_tokens: 1}, scheduler: {type: cosine, warmup: 1 steps}, seed: 7,\n"
        "         clip_skip: 2,\n"
        "         noise: {offset: 0.05}, weighting: {type: debiased}, max_grad_norm: 0.5}\n"
        "  file: {uses: export, weights: $lora, to: out/own.safetensors}\n", encoding="utf-8")  # fmt: skip
    before = loader.load(project / "own.yaml")
    for _ in Run(before, on="inline"):
        pass
    found = import_files([project / "out" / "own.safetensors"], project)
    again = configs.loaded_text(
        found.pipeline.replace("./pictures", "./train").replace("./base.safetensors", "./base"), project
    )
    was, now = (
        to_dict(next(stage for stage in each.stages.values() if "steps" in to_dict(stage))) for each in (before, again)
    )
    changed = {name for name in was if was[name] != now[name]}
    assert changed <= {"precision", "snapshots", "gradient_checkpointing"}  # as it was resolved
    assert sum(found.report.counts.values()) == len(_metadata(project / "out" / "own.safetensors"))


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def test_kohyas_metadata_gives_the_training(project: Path) -> None:
    metadata = {
        "ss_network_module": "networks.lora", "ss_network_dim": "32", "ss_network_alpha": "16", "ss_unet_lr": "0.0001",
        "ss_text_encoder_lr": "[5e-05, 5e-05]", "ss_learning_rate": "0.001", "ss_max_train_steps": "500",
        "ss_num_epochs": "7",
        "ss_optimizer": "prodigyopt.prodigy.Prodigy(decouple=True,betas=(0.9, 0.99))", "ss_lr_scheduler": "constant",
        "ss_base_model_version": "sd_v1", "ss_sd_model_name": "base", "ss_batch_size_per_device": "4", "ss_seed": "5",
        "ss_resolution": "(64, 64)", "ss_mixed_precision": "no", "ss_min_snr_gamma": "5.0", "ss_network_dropout": "None",
        "ss_dataset_dirs": '{"2_penny": {"n_repeats": 2, "img_count": 5}}', "modelspec.title": "x", "odd": "1",
    }  # fmt: skip
    found = import_files([configs.with_metadata(project / "theirs.safetensors", metadata)], project)
    text = found.pipeline.replace("./pictures", "./train")
    lora: Any = configs.loaded_text(text, project).stages["lora"]
    assert (lora.adapter.rank, lora.adapter.alpha, lora.steps.count, lora.batch, lora.seed) == (32, 16, 500, 4, 5)
    assert (lora.optimizer.name, lora.optimizer.beta2, lora.optimizer.d_coef) == ("prodigy", 0.99, 1)  # the library's
    assert {entry.option.written for entry in found.report.entries if entry.outcome.kind == "unknown"} == {"odd"}
    assert any("2_penny (5 × 2)" in remark for remark in found.report.remarks)


AI_TOOLKIT = """\
job: extension
config:
  name: mine
  process:
    - type: sd_trainer
      training_folder: out
      trigger_word: penny
      network: {type: lora, linear: 8, linear_alpha: 4}
      save: {dtype: float16, save_every: 50}
      datasets:
        - folder_path: ./train
          caption_ext: txt
          caption_dropout_rate: 0.05
          resolution: [64, 128]
      train: {batch_size: 2, steps: 100, lr: 1e-4, optimizer: adamw8bit, train_text_encoder: false, dtype: bf16, surprise: 1}
      model: {name_or_path: ./base}
"""
ONETRAINER = {
    "__version": 6, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "./base",
    "output_model_destination": "out/ot.safetensors", "learning_rate": 3e-4, "learning_rate_scheduler": "COSINE",
    "epochs": 3, "batch_size": 2, "train_dtype": "BFLOAT_16", "lora_rank": 8, "lora_alpha": 1.0, "resolution": "64",
    "optimizer": {"optimizer": "ADAMW", "weight_decay": 0.02}, "unet": {"train": True}, "text_encoder": {"train": False},
    "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 4.0, "text_encoder_layer_skip": 1, "surprise": 1,
    "concepts": [{"path": "./train", "balancing": 2.0, "text": {"enable_tag_shuffling": True, "keep_tags_count": 1}}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [("a.yaml", AI_TOOLKIT), ("o.json", json.dumps(ONETRAINER, indent=1))])
def test_other_trainers_are_read_as_far_as_they_map(project: Path, name: str, text: str) -> None:
    found = configs.imported(text, project, name)
    assert found.report.problems == []
    lora = configs.stage_of(found, project)
    assert (lora.adapter.rank, lora.batch, lora.text_encoder_lr, lora.precision) == (8, 2, 0, "bf16")
    assert lora.unet_lr == (1e-4 if name == "a.yaml" else 3e-4)
    unknown = [entry for entry in found.report.entries if entry.outcome.kind == "unknown"]
    assert [entry.option.written.rpartition(".")[2] for entry in unknown] == ["surprise"]
    assert sum(found.report.counts.values()) == len(found.report.entries)
    if name == "o.json":
        assert (lora.weighting.gamma, lora.clip_skip, lora.captions.keep_tokens) == (4, 2, 1)


@pytest.mark.parametrize("place", ["concepts.json", "training_concepts/concepts.json", r"C:\trainer\concepts.json"])
def test_onetrainers_concepts_are_read_from_the_file_that_it_names(tmp_path: Path, place: str) -> None:
    """Where it says, or beside it; a concept that is off is counted too."""
    concepts = [{"path": "./photos", "balancing": 3.0}, {"path": "./others", "enabled": False}]
    named = {**ONETRAINER, "concepts": [], "concept_file_name": place}
    lost = configs.imported(json.dumps(named, indent=1), tmp_path, "o.json")
    assert configs.outcomes(lost)["concept_file_name"] == "refused"
    file = tmp_path / (place if ":" not in place else "concepts.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(concepts, indent=1), encoding="utf-8")
    found = configs.imported(json.dumps(named, indent=1), tmp_path, "o.json")
    assert "images: ./photos " in found.pipeline and "others" not in found.pipeline and "repeats: 3" in found.pipeline
    outcomes = {entry.option.written: (entry.outcome.kind, entry.option.place) for entry in found.report.entries}
    assert outcomes["concepts[0].path"] == ("used", "concepts.json:3")
    assert outcomes["concepts[1].path"] == ("no effect", "concepts.json:7")
    assert outcomes["concept_file_name"][0] == "translated"
    assert sum(found.report.counts.values()) == len(found.report.entries)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.sh", configs.command(script="flux_train_network.py")),
        ("f.json", json.dumps({**GUI, "LoRA_type": "Flux1"})),
        ("f.yaml", AI_TOOLKIT.replace("model: {", "model: {is_flux: true, ")),
        ("o.json", json.dumps({**ONETRAINER, "model_type": "FLUX_DEV_1"})),
    ],
)
def test_families_that_are_not_trained_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=r"is a training of (FLUX|flux)"):
        configs.imported(text, tmp_path, name)


def test_the_pages_example_is_what_import_makes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "import.md").read_text(encoding="utf-8")
    script, pipeline = (page.partition(f"```{language}\n")[2].partition("```")[0] for language in ("bash", "yaml"))
    configs.pictures(tmp_path / "photos" / "10_penny", {str(number): (8, 8) for number in range(6)})
    found = configs.imported(script, tmp_path)
    assert found.pipeline.partition("\n")[2] == pipeline.partition("\n")[2]  # the first line has the version


# ----------------------------------------------------------------------------------------------------------- the table


TRAINING = ("prepare", "train", "evaluate", "export")
"""Stages that do what sd-scripts' training does; others do what its tools do."""


def test_every_flag_that_a_setting_knows_is_in_the_table() -> None:
    of_training = [match for match in all_settings() if match.kind != "stage" or match.owner in TRAINING]
    flags = {flag for match in of_training for flag in match.knob.param.kohya}
    inside = {name.partition(".")[2] for name in ROWS if "." in name}
    assert flags - inside - ROWS.keys() <= {"network_args", "optimizer_args", "lr_scheduler_args", "caption_extention"}


def test_every_place_in_the_table_is_a_setting() -> None:
    paths = {f"{match.owner}.{match.path}" for match in all_settings() if match.kind == "stage"}
    places = {row.path.replace("file.", "export.") for row in ROWS.values() if row.path}
    assert places <= paths


USUAL = {
    "resolution": "64", "network_module": "networks.lora", "network_args.algo": "locon", "optimizer_type": "Prodigy",
    "learning_rate": "1e-4", "unet_lr": "1e-4", "text_encoder_lr": "1e-4", "text_encoder_lr2": "1e-4", "loss_type": "huber",
    "text_encoder_lr1": "1e-4", "learning_rate_te": "1e-4", "learning_rate_te1": "1e-4", "learning_rate_te2": "1e-4",
    "pretrained_model_name_or_path": "./base", "vae": "./base", "train_data_dir": "./train", "reg_data_dir": "./reg",
    "lr_scheduler": "cosine", "face_crop_aug_range": "2.0,4.0", "max_token_length": "150", "huber_schedule": "constant",
    "max_bucket_reso": "1024", "bucket_reso_steps": "64", "caption_extension": ".txt", "save_precision": "fp16",
    "conditioning_data_dir": "./train", "network_args.rank_dropout": "0.1",
    "network_args.module_dropout": "0.1", "network_args.dropout": "0.1",
    "network_args.preset": "attn-mlp", "network_args.train_on_input": "True",
    "caption_separator": ",", "min_bucket_reso": "64", "network_args.block_dims": ",".join(["2"] * 9),
    "network_args.conv_block_dims": ",".join(["2"] * 9), "network_args.include_patterns": "attn2", "clip_skip": "2",
    "network_args.exclude_patterns": "ff", "network_args.network_reg_dims": "attn2=4", "dataset_config": "dataset.toml",
    "network_args.block_lr": ",".join(["1"] * 9), "network_args.loraplus_lr_ratio": "4", "max_timestep": "900",
    "network_args.loraplus_unet_lr_ratio": "4", "network_args.loraplus_text_encoder_lr_ratio": "4",
    "config_file": "settings.toml", "lr_scheduler_type": "CosineAnnealingLR", "network_weights": "./theirs.safetensors",
    "network_args.block_alphas": ",".join(["1"] * 9), "network_args.conv_block_alphas": ",".join(["1"] * 9),
}  # fmt: skip
NEEDS: dict[str, tuple[str, ...]] = {
    "network_args.block_alphas": ("--network_args", f"block_dims={','.join(['2'] * 9)}"),
}
ELSEWHERE = {"batch_size", "image_dir", "is_reg", "sdxl", "fused_backward_pass", "token_string", "init_word", "weights",
             "num_vectors_per_token"}  # fmt: skip
"""Options of a dataset's file, and of other scripts."""
UNFIT = {
    "v2",
    "network_weights",
    "network_args.down_lr_weight",
    "network_args.mid_lr_weight",
    "network_args.up_lr_weight",
}
"""Options that the project's tiny base, with fewer blocks than SD1.x, does not fit."""


@pytest.mark.parametrize("name", [name for name in ROWS if not name.endswith(".*") and name not in ELSEWHERE])
def test_every_option_of_the_table_gets_an_outcome_and_a_valid_pipeline(project: Path, name: str) -> None:
    """Alone, with a usual value: the pipeline passes check, and nothing is left unsaid."""
    row, prefix, inner = ROWS[name], *name.partition(".")[::2]
    value = USUAL.get(name) or {"whole": "2", "number": "0.5", "text": "1", "list": "0.5"}.get(row.type, "")
    flag = f"--{prefix} {inner}={value}" if inner else f"--{name}={value}" if value else f"--{name}"
    needs = NEEDS.get(name, ())
    found = configs.imported(configs.command(*needs, flag), project)
    entries = [entry for entry in found.report.entries if entry.option.name == name]
    assert (
        entries and entries[-1].outcome.kind != "unknown" and "another kind of training" not in entries[-1].outcome.text
    )
    assert name in UNFIT or not found.report.problems, name
