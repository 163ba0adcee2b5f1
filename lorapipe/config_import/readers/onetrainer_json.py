"""Configurations of OneTrainer: JSON with nested settings of its optimizer, its models and its concepts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lorapipe.config_import import user_paths
from lorapipe.config_import.configuration import Configuration, Option, Outcome, Subset
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.readers._nested import Entry, is_on, leaves, option, said, to
from lorapipe.config_import.source_file import Path_, SourceFile
from lorapipe.errors import InputError

TYPES: Mapping[str, str] = {
    "STABLE_DIFFUSION_15": "train_network", "STABLE_DIFFUSION_20": "train_network", "STABLE_DIFFUSION_21": "train_network",
    "STABLE_DIFFUSION_20_BASE": "train_network", "STABLE_DIFFUSION_21_BASE": "train_network",
    "STABLE_DIFFUSION_XL_10_BASE": "sdxl_train_network",
}  # fmt: skip
"""`model_type` → script of the same family."""
PRECISIONS = {"FLOAT_16": "fp16", "BFLOAT_16": "bf16", "FLOAT_32": "no", "TFLOAT_32": "no"}
SCHEDULES = {"CONSTANT": "constant", "LINEAR": "linear", "COSINE": "cosine", "COSINE_WITH_RESTARTS": "cosine_with_restarts",
             "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts", "REX": "rex", "ADAFACTOR": "constant"}  # fmt: skip
OPTIMIZERS = {"ADAMW": "AdamW", "ADAMW_8BIT": "AdamW8bit", "ADAFACTOR": "AdaFactor", "PRODIGY": "Prodigy", "LION": "Lion",
              "LION_8BIT": "Lion8bit", "DADAPT_ADAM": "DAdaptAdam", "DADAPT_LION": "DAdaptLion", "CAME": "CAME",
              "DADAPT_SGD": "DAdaptSGD", "ADAM": "AdamW", "ADAM_8BIT": "AdamW8bit", "PRODIGY_PLUS_SCHEDULE_FREE":
              "ProdigyPlusScheduleFree", "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree"}  # fmt: skip
ARGUMENTS = ("weight_decay", "beta1", "beta2", "beta3", "eps", "d0", "d_coef", "decouple", "use_bias_correction",
             "safeguard_warmup", "growth_rate", "relative_step", "scale_parameter", "warmup_init", "clip_threshold",
             "decay_rate", "momentum")  # fmt: skip
PEFT = {"LORA": "networks.lora", "LOHA": "networks.loha", "OFT_2": "networks.oft"}
NOTHING = "there is nothing to set"
WINDOW = "a setting of OneTrainer's window, backups or cloud"
TELLING = {"training_method", "model_type", "base_model_name", "learning_rate_scheduler", "__version"}


def _one_of(table: Mapping[str, str], name: str) -> Entry:
    return to(name, lambda value: table.get(str(value), str(value)))


def _weighting(kind: str) -> Entry:
    return to("", lambda value: Outcome("translated", kind))


TABLE: Mapping[str, Entry] = {
    "base_model_name": to("pretrained_model_name_or_path"), "model_type": said("translated", "base.family"),
    "training_method": said("translated", "adapter"), "output_model_destination": said("translated", "to of export"),
    "output_model_format": said("translated", "files are kohya's .safetensors"),
    "output_dtype": to("save_precision", lambda value: PRECISIONS.get(str(value), str(value)).replace("no", "fp32")),
    "train_dtype": _one_of(PRECISIONS, "mixed_precision"), "weight_dtype": said("translated", "precision"),
    "learning_rate": to("learning_rate"), "learning_rate_scheduler": _one_of(SCHEDULES, "lr_scheduler"),
    "learning_rate_warmup_steps": to("lr_warmup_steps"), "learning_rate_cycles": to("lr_scheduler_num_cycles"),
    "learning_rate_min_factor": to("lr_scheduler_min_lr_ratio"), "epochs": to("max_train_epochs"),
    "learning_rate_scaler": to("", lambda value: Outcome("no effect", "is off") if value == "NONE" else Outcome(
        "refused", "the rate is not scaled by the batch: write the scaled one")),
    "batch_size": to("train_batch_size"), "gradient_accumulation_steps": to("gradient_accumulation_steps"),
    "resolution": to("resolution"), "aspect_ratio_bucketing": to("enable_bucket"), "latent_caching": to("cache_latents"),
    "lora_rank": to("network_dim"), "lora_alpha": to("network_alpha"), "lora_decompose": to("network_args.dora_wd"),
    "dropout_probability": to("network_dropout"), "peft_type": _one_of(PEFT, "network_module"),
    "lora_model_name": to("network_weights"), "clip_grad_norm": to("max_grad_norm"), "masked_training": to("masked_loss"),
    "gradient_checkpointing": to("gradient_checkpointing", is_on), "compile": to("torch_compile"),
    "offset_noise_weight": to("noise_offset"), "perturbation_noise_weight": to("ip_noise_gamma"),
    "loss_weight_fn": said("translated", "weighting"), "loss_weight_strength": said("translated", "weighting"),
    "mse_strength": said("translated", "loss"), "mae_strength": said("translated", "loss"),
    "log_cosh_strength": to("", lambda value: Outcome("refused" if value else "no effect",
                                                      "log-cosh is not offered" if value else "0 is off")),
    "vb_loss_strength": said("no effect", "it is for PixArt"), "huber_strength": said("refused", "set loss: huber instead"),
    "optimizer.optimizer": _one_of(OPTIMIZERS, "optimizer_type"), "seed": to("seed"),
    **{f"optimizer.{name}": to(f"optimizer_args.{name}") for name in ARGUMENTS},
    "unet.train": said("translated", "unet_lr"), "unet.learning_rate": to("unet_lr"),
    "text_encoder.train": said("translated", "text_encoder_lr"), "text_encoder_layer_skip": to("clip_skip", lambda value:
                                                                                               _plus_one(value)),
    "text_encoder.learning_rate": to("text_encoder_lr", lambda value: [value]),
    "text_encoder_2.learning_rate": to("text_encoder_lr2"), "text_encoder_2.train": said("translated", "text_encoder_2_lr"),
    "vae.model_name": to("vae"), "save_every": said("translated", "snapshots"),
    "save_every_unit": said("translated", "snapshots"), "ema": said("refused", "write ema: 0.999 in the train stage"),
    "ema_decay": said("no effect", "ema is refused"), "concept_file_name": said("translated", "the pictures' folders"),
    "min_noising_strength": to("min_timestep", lambda value: _timestep(value)),
    "max_noising_strength": to("max_timestep", lambda value: _timestep(value)),
    "timestep_distribution": to("", lambda value: Outcome("no effect", "timesteps are drawn evenly") if value == "UNIFORM"
                                else Outcome("refused", "timesteps are drawn evenly here")),
    "dataloader_threads": to("max_data_loader_n_workers"), "workspace_dir": said("translated", WINDOW),
    "cache_dir": said("translated", "the cache is .lorapipe's"), "train_device": said("translated", "--device"),
    "temp_device": said("translated", "--device"), "tensorboard": said("translated", NOTHING), "__version": said(
        "translated", "a note, which needs no setting"),
}  # fmt: skip
"""Key → what it is."""
CONCEPT: Mapping[str, Entry] = {
    "path": to("image_dir"), "name": said("translated", "a name of the window"), "balancing": to("num_repeats"),
    "image.enable_random_flip": to("flip_aug"), "text.enable_tag_shuffling": to("shuffle_caption"),
    "text.keep_tags_count": to("keep_tokens"), "text.tag_delimiter": to("caption_separator"),
    "image.enable_crop_jitter": to("random_crop"), "text.caption_dropout": to("caption_dropout_rate"),
    "enabled": said("translated", "concepts that are off are left out"), "seed": said("translated", NOTHING),
    "balancing_strategy": said("translated", "balancing"), "loss_weight": said("refused", "pictures weigh the same here"),
    "text.prompt_source": said("translated", "captions are files beside the pictures"),
    "include_subdirectories": said("translated", "subfolders are always read"),
}  # fmt: skip
OF_WINDOW = re.compile(r"(backup|rolling|cloud|sample|tensorboard|validat|debug|gui|window|train_progress|continue_last|"
                       r"secrets|non_ema|ema_update|only_cache|clear_cache|save_skip|save_filename|prevent_overwrites|"
                       r"multi_gpu|device_indexes|gradient_reduce|layer_offload|activation_offload|async)")  # fmt: skip
OF_OTHERS = re.compile(r"^(prior|effnet|decoder|text_encoder_[34]|transformer|embedding|additional_embeddings|quantization|"
                       r"dynamic_timestep|noising_|timestep_shift|custom_learning|scheduler_params|oft_)")  # fmt: skip


class OnetrainerJson(Reader):
    """A saved configuration, with its concepts in it or in a file beside it."""

    title: ClassVar[str] = "a configuration of OneTrainer"
    place: ClassVar[int] = 22

    def recognises(self, source: SourceFile) -> bool:
        data = source.json
        return data is not None and len(TELLING & data.keys()) >= 2 and "training_method" in data

    def read(self, source: SourceFile) -> Configuration:
        data = source.json or {}
        kind, method = str(data.get("model_type", "STABLE_DIFFUSION_15")), str(data.get("training_method", "LORA"))
        if kind not in TYPES:
            cure = "lorapipe trains SD1.x, SD2 and SDXL; keep this training where it is."
            raise InputError(f"is a training of {kind}.", where=source.name, cure=cure)
        script = TYPES[kind]
        if method != "LORA":
            script = "sdxl_train" if script.startswith("sdxl") else "train_db"
        found = Configuration("OneTrainer", script)
        for path, value in leaves(data):
            if path[:1] != ("concepts",):
                found.options.append(_option(path, value, source))
        _add_concepts(found, data, source)
        found.implied = _implied(data, kind)
        return found


def _option(path: Path_, value: object, source: SourceFile) -> Option:
    lines = source.json_lines
    line = next((lines[path[:place]] for place in range(len(path), 0, -1) if path[:place] in lines), 0)
    found = option(path, value, TABLE, source.name, line)
    written = ".".join(map(str, path))
    if found.outcome is not None and found.outcome.kind == "unknown":
        if OF_WINDOW.search(written):
            found.outcome = Outcome("translated", WINDOW)
        elif OF_OTHERS.search(written):
            found.outcome = Outcome("no effect", "it is for other families of models, or for embeddings beside this")
    return found


def _add_concepts(found: Configuration, data: Mapping[str, object], source: SourceFile) -> None:
    """Add the concepts, which are in the configuration or in the file that it names, if that is here."""
    held, at, concepts = _concepts(found, data, source)
    for place, concept in enumerate(concepts):
        if not isinstance(concept, Mapping):
            continue
        own = list(_concept(concept, held, (*at, place)))
        if concept.get("enabled") is False:
            for each in own:
                each.outcome = Outcome("no effect", "this concept is off")
            found.options += own
        else:
            found.subsets.append(Subset(own))


def _concepts(
    found: Configuration, data: Mapping[str, object], source: SourceFile
) -> tuple[SourceFile, Path_, Sequence[object]]:
    """Return the file of the concepts, their address in it, and the concepts; settle the key that names the file."""
    inside = data.get("concepts")
    named = str(data.get("concept_file_name") or "")
    key = next((each for each in found.options if each.written == "concept_file_name"), None)
    if (isinstance(inside, list) and inside) or not named or key is None:
        return source, ("concepts",), inside if isinstance(inside, list) else []
    file = _file_of(named, source.path.absolute().parent)
    if file is None:
        key.outcome = Outcome("refused", f"{named} is not here: copy it beside {source.name}, and import again")
        return source, (), []
    held = SourceFile(file)
    key.outcome = Outcome("translated", f"{held.name} is read too")
    return held, (), held.json_list


def _file_of(named: str, folder: Path) -> Path | None:
    """Return the file of the concepts: where the configuration says it is, or beside it."""
    beside = folder / re.split(r"[\\/]", named)[-1]
    path = user_paths.found(named, folder) or beside
    return path if path.is_file() else None


def _concept(concept: Mapping[str, object], source: SourceFile, at: Path_) -> Iterator[Option]:
    for path, value in leaves(concept):
        each = option(path, value, CONCEPT, source.name, source.json_lines.get((*at, *path), 0))
        each.written = f"concepts[{at[-1]}].{each.written}"
        if each.name == "num_repeats":
            each.value = _repeats(each.value)
        yield each


def _implied(data: Mapping[str, object], kind: str) -> dict[str, object]:
    """Return OneTrainer's defaults, where they differ from kohya's."""
    implied: dict[str, object] = {
        "caption_extension": ".txt", "learning_rate": 3e-6, "network_dim": 16, "enable_bucket": True, "resolution": "512",
        "caption_lines": "joined", "optimizer_type": "AdamW", "train_data_dir": "./pictures",
    }  # fmt: skip
    if kind.startswith("STABLE_DIFFUSION_2"):
        implied["v2"] = True
    for part, name in (("unet", "network_train_text_encoder_only"), ("text_encoder", "network_train_unet_only")):
        settings = data.get(part)
        if isinstance(settings, Mapping) and settings.get("train") is False:
            implied[name] = True
    return implied | _objective(data) | _saving(data)


def _objective(data: Mapping[str, object]) -> dict[str, object]:
    """Return the weighting and the loss, which several keys say together."""
    implied: dict[str, object] = {}
    weighting = str(data.get("loss_weight_fn", ""))
    if weighting == "MIN_SNR_GAMMA":
        implied["min_snr_gamma"] = float(str(data.get("loss_weight_strength") or 5))
    elif weighting == "DEBIASED_ESTIMATION":
        implied["debiased_estimation_loss"] = True
    if data.get("mae_strength") and not data.get("mse_strength"):
        implied["loss_type"] = "l1"
    return implied


def _saving(data: Mapping[str, object]) -> dict[str, object]:
    """Return the distance of snapshots, and the file."""
    implied: dict[str, object] = {}
    every, unit = data.get("save_every"), str(data.get("save_every_unit", "NEVER"))
    if isinstance(every, int) and every > 0 and unit in ("EPOCH", "STEP"):
        implied["save_every_n_epochs" if unit == "EPOCH" else "save_every_n_steps"] = every
    destination = str(data.get("output_model_destination") or "")
    folder, _, name = destination.replace("\\", "/").rpartition("/")
    return implied | ({"output_name": name, "output_dir": folder or "."} if name else {})


def _timestep(value: object) -> object:
    """Return a share of the noise as a timestep."""
    return round(1000 * value) if isinstance(value, (int, float)) and abs(value) <= 1 else value


def _repeats(value: object) -> object:
    """Return OneTrainer's balancing as a number of repeats."""
    return max(1, round(value)) if isinstance(value, (int, float)) and abs(value) < 1e6 else value


def _plus_one(value: object) -> object:
    """Return kohya's clip skip: OneTrainer counts the layers that are left out."""
    return int(str(value)) + 1 if str(value).isdigit() else value
