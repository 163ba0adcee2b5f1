"""Configurations of ai-toolkit: YAML with one process of the kind `sd_trainer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from lorapipe.config_import.configuration import Configuration, Option, Outcome, Remark, Subset
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.readers._nested import Entry, is_on, leaves, option, said, to
from lorapipe.config_import.source_file import Path_, SourceFile
from lorapipe.errors import InputError

ALWAYS = "it is always so here"
NO_SETTING = "there is nothing to set"
OTHERS = "it is for other families of models than SD1.x, SD2 and SDXL"


def _network(value: object) -> object:
    kinds = {"lora": "networks.lora", "locon": "networks.lora", "lokr": "lycoris.kohya", "lycoris": "lycoris.kohya"}
    return kinds.get(str(value).lower(), str(value))


def _dropout(value: object) -> object:
    return value or Outcome("no effect", "is off")


def _switch(text: str) -> Entry:
    return to(
        "", lambda value: Outcome("translated" if is_on(value) else "no effect", text if is_on(value) else "is off")
    )


PROCESS: Mapping[str, Entry] = {
    "type": said("translated", "a train stage"), "device": said("translated", "--device of `lorapipe run`"),
    "training_folder": to("output_dir"), "performance_log_every": said("translated", NO_SETTING),
    "trigger_word": to("caption_prefix"), "network.type": to("network_module", _network),
    "network.linear": to("network_dim"), "network.linear_alpha": to("network_alpha"), "network.rank": to("network_dim"),
    "network.alpha": to("network_alpha"), "network.conv": to("network_args.conv_dim"),
    "network.conv_alpha": to("network_args.conv_alpha"), "network.lokr_factor": to("network_args.factor"),
    "network.lokr_full_rank": to("network_args.full_matrix"), "network.dropout": to("network_dropout", _dropout),
    "save.dtype": to("save_precision", lambda value: {"float16": "fp16", "bfloat16": "bf16"}.get(str(value), value)),
    "save.save_every": to("save_every_n_steps"), "save.save_format": said("translated", "files are kohya's .safetensors"),
    "save.max_step_saves_to_keep": to("save_last_n_steps"), "save.push_to_hub": _switch("nothing is uploaded"),
    "train.batch_size": to("train_batch_size"), "train.steps": to("max_train_steps"),
    "train.gradient_accumulation_steps": to("gradient_accumulation_steps"),
    "train.gradient_accumulation": to("gradient_accumulation_steps"), "train.lr": to("learning_rate"),
    "train.unet_lr": to("unet_lr"), "train.text_encoder_lr": to("text_encoder_lr", lambda value: [value]),
    "train.train_unet": to("", lambda value: _trained(value, "unet_lr: 0")),
    "train.train_text_encoder": to("", lambda value: _trained(value, "text_encoder_lr: 0")),
    "train.gradient_checkpointing": to("gradient_checkpointing"), "train.optimizer": to("optimizer_type"),
    "train.lr_scheduler": to("lr_scheduler"), "train.max_grad_norm": to("max_grad_norm"), "train.seed": to("seed"),
    "train.noise_scheduler": said("translated", "the base's own noise schedule is used"),
    "train.noise_offset": to("noise_offset"), "train.min_snr_gamma": to("min_snr_gamma"),
    "train.snr_gamma": to("min_snr_gamma"), "train.loss_type": to("loss_type", lambda value: {"mse": "l2", "mae": "l1"}.get(
        str(value), value)), "train.dtype": to("mixed_precision", lambda value: {"float32": "no", "fp32": "no"}.get(
            str(value), value)), "train.xformers": to("xformers"), "train.sdp": to("sdpa"),
    "train.skip_first_sample": said("translated", "previews begin after the first steps"),
    "train.disable_sampling": said("translated", "without prompts there are no previews"),
    "train.cache_text_embeddings": to("cache_text_encoder_outputs"),
    "train.content_or_style": said("refused", "timesteps are drawn evenly here"),
    "train.timestep_type": said("refused", "timesteps are drawn evenly here"),
    "train.prior_loss_weight": to("prior_loss_weight"), "train.reg_weight": to("prior_loss_weight"),
    "train.linear_timesteps": said("refused", "timesteps are drawn evenly here"),
    "model.name_or_path": to("pretrained_model_name_or_path"), "model.is_xl": said("translated", "base.family"),
    "model.is_v2": to("v2"), "model.is_v_pred": to("v_parameterization"), "model.vae_path": to("vae"),
    "model.arch": said("translated", "base.family"), "model.quantize": to("fp8_base"), "model.low_vram": to("lowram"),
    "model.is_flux": said("no effect", OTHERS), "model.quantize_te": said("refused", "text encoders are not quantised"),
    "sample.sampler": said("translated", NO_SETTING), "sample.sample_every": to("sample_every_n_steps"),
    "sample.prompts": to("sample_prompts", lambda value: "\n".join(map(str, value)) if isinstance(value, list) else value),
    **{f"sample.{name}": said("translated", "previews are the base's own size, guidance and steps")
       for name in ("width", "height", "neg", "seed", "walk_seed", "guidance_scale", "sample_steps", "guidance_rescale")},
    "train.ema_config.use_ema": said("translated", "ema"), "train.ema_config.ema_decay": said("translated", "ema"),
    "logging.log_every": said("translated", NO_SETTING), "logging.use_ui_logger": said("translated", NO_SETTING),
    "performance_log": said("translated", NO_SETTING), "sqlite_db_path": said("translated", NO_SETTING),
}  # fmt: skip
"""Key of the process → what it is."""
DATASET: Mapping[str, Entry] = {
    "folder_path": to("image_dir"), "dataset_path": to("image_dir"), "caption_ext": to("caption_extension"),
    "caption_dropout_rate": to("caption_dropout_rate"), "shuffle_tokens": to("shuffle_caption"),
    "token_dropout_rate": to("caption_tag_dropout_rate"), "keep_tokens": to("keep_tokens"), "is_reg": to("is_reg"),
    "num_repeats": to("num_repeats"), "flip_x": to("flip_aug"), "random_crop": to("random_crop"),
    "default_caption": to("class_tokens"), "alpha_mask": to("alpha_mask"), "mask_path": to("conditioning_data_dir"),
    "cache_latents_to_disk": to("cache_latents_to_disk"), "cache_latents": to("cache_latents"),
    "resolution": to("resolution", lambda value: value[0] if isinstance(value, list) and value else value),
    "flip_y": said("refused", "pictures are mirrored left to right alone"), "buckets": to("enable_bucket"),
    "bucket_tolerance": to("bucket_reso_steps"), "network_weight": to("network_multiplier"),
}  # fmt: skip
"""Key of a dataset → what it is."""


def _trained(value: object, text: str) -> Outcome:
    return Outcome("no effect" if is_on(value) else "translated", "is trained" if is_on(value) else text)


class AiToolkitYaml(Reader):
    """A job with one training of a LoRA."""

    title: ClassVar[str] = "a configuration of ai-toolkit"
    place: ClassVar[int] = 25

    def recognises(self, source: SourceFile) -> bool:
        is_yaml = source.is_text and source.suffix in (".yaml", ".yml", ".json")
        return is_yaml and "process" in source.text and "config" in source.text and bool(_process(source.yaml()[0]))

    def read(self, source: SourceFile) -> Configuration:
        data, lines = source.yaml()
        process = _process(data)
        model = _mapping(process.get("model"))
        found = Configuration("ai-toolkit", _script(model, source.name))
        at: Path_ = ("config", "process", 0)
        for path, value in leaves(data):
            line = next((lines[path[:place]] for place in range(len(path), 0, -1) if path[:place] in lines), 0)
            if path[:3] == at and path[3:4] != ("datasets",):
                found.options.append(option(path, value, PROCESS, source.name, line, prefix=3))
            elif path[:3] != at:
                found.options.append(_outside(path, value, source.name, line))
        found.subsets = list(_subsets(process, lines, source.name, found))
        found.implied = _implied(data, process)
        return found


def _process(data: object) -> Mapping[str, object]:
    """Return the first process of a job; empty if the data is no job."""
    steps = _mapping(_mapping(data).get("config")).get("process")
    first = steps[0] if isinstance(steps, list) and steps else None
    return _mapping(first) if "datasets" in _mapping(first) or "model" in _mapping(first) else {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _script(model: Mapping[str, object], name: str) -> str:
    arch = str(model.get("arch", "")).lower()
    if is_on(model.get("is_xl", "")) or arch in ("sdxl", "xl"):
        return "sdxl_train_network"
    for kind in ("is_flux", "is_v3", "is_lumina2", "is_auraflow", "is_pixart"):
        if is_on(model.get(kind, "")):
            arch = kind.removeprefix("is_")
    if arch and arch not in ("sd1", "sd15", "sd2", "sd", "ssd"):
        cure = "lorapipe trains SD1.x, SD2 and SDXL; keep this training where it is."
        raise InputError(f"is a training of {arch}.", where=name, cure=cure)
    return "train_network"


def _outside(path: Path_, value: object, file: str, line: int) -> Option:
    """Return a key outside the process."""
    if path == ("config", "name"):
        return Option("output_name", value, "config.name", file, line)
    if path[:2] == ("config", "process"):
        text = Outcome("refused", "only the first process is imported")
    else:
        text = Outcome("translated", "a note, which needs no setting")
    return Option(str(path[-1]), value, ".".join(map(str, path)), file, line, outcome=text)


def _subsets(
    process: Mapping[str, object], lines: Mapping[Path_, int], file: str, found: Configuration
) -> Iterator[Subset]:
    """Yield the datasets; one with several resolutions is used at the first."""
    datasets = process.get("datasets")
    for place, dataset in enumerate(datasets if isinstance(datasets, list) else []):
        at: Path_ = ("config", "process", 0, "datasets", place)
        own = []
        for path, value in leaves(_mapping(dataset)):
            line = lines.get((*at, *path[:1]), 0)
            each = option(path, value, DATASET, file, line)
            each.written = f"datasets[{place}].{each.written}"
            own.append(each)
        sizes = _mapping(dataset).get("resolution")
        if isinstance(sizes, Sequence) and not isinstance(sizes, str) and len(sizes) > 1:
            found.remarks.append(Remark(f"dataset {place + 1} is used at {len(sizes)} resolutions; here at the first alone: "
                                        "more_datasets takes another prepare stage for each", file))  # fmt: skip
        yield Subset(own)


def _implied(data: object, process: Mapping[str, object]) -> dict[str, object]:
    """Return ai-toolkit's defaults, where they differ from kohya's."""
    train, network = _mapping(process.get("train")), _mapping(process.get("network"))
    rank = network.get("linear", network.get("rank", 4))
    implied: dict[str, object] = {
        "caption_extension": ".txt", "enable_bucket": True, "learning_rate": 1e-4, "resolution": 512,
        "caption_lines": "joined", "network_alpha": float(rank) if isinstance(rank, (int, float)) else 1.0,
        "optimizer_type": "adamw", "mixed_precision": "bf16",
    }  # fmt: skip
    if str(network.get("type", "")).lower() == "lokr":
        implied["network_args.algo"] = "lokr"
    if not is_on(train.get("train_text_encoder", False)):
        implied["network_train_unet_only"] = True
    if "train_unet" in train and not is_on(train["train_unet"]):
        implied["network_train_text_encoder_only"] = True
    for name, value in _mapping(train.get("optimizer_params")).items():
        implied[f"optimizer_args.{name}"] = value
    return implied
