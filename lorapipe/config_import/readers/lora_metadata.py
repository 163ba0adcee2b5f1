"""The metadata of a trained `.safetensors`: sd-scripts' `ss_*` (`train_network.py`), or lorapipe's own settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from lorapipe.config_import.configuration import Configuration, Option, Outcome, Remark, Subset
from lorapipe.config_import.option_table import ROWS
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.source_file import SourceFile
from lorapipe.errors import InputError

OWN = "lorapipe_settings"
NAMES: Mapping[str, str] = {
    "batch_size_per_device": "train_batch_size", "debiased_estimation": "debiased_estimation_loss",
    "sd_model_name": "pretrained_model_name_or_path", "vae_name": "vae",
}  # fmt: skip
"""Field without `ss_` → option, where they differ."""
FACTS: Mapping[str, str] = {
    "num_epochs": "ss_max_train_steps says how long it was", "epoch": "of this file", "steps": "of this file",
    "dataset_dirs": "the names of the folders", "reg_dataset_dirs": "the names of the folders",
    "total_batch_size": "the batch times the devices", "base_model_version": "base.family",
    **dict.fromkeys(("session_id", "training_started_at", "training_finished_at", "num_train_images", "num_reg_images",
                     "num_validation_images", "num_batches_per_epoch", "sd_scripts_commit_hash", "sd_model_hash",
                     "new_sd_model_hash", "vae_hash", "new_vae_hash", "tag_frequency", "bucket_info", "highvram",
                     "text_encoder_2_lr"), "a fact of that run, which needs no setting"),
}  # fmt: skip
"""Field without `ss_` that is no option → what is said of it."""
NOTHING = ("", "None", "null", "{}", "[]")
INSIDE = ("num_repeats", "keep_tokens", "flip_aug", "color_aug", "random_crop", "shuffle_caption", "class_tokens", "is_reg",
          "image_dir", "caption_dropout_rate", "caption_tag_dropout_rate", "caption_prefix", "caption_suffix", "alpha_mask",
          "face_crop_aug_range", "token_warmup_min", "token_warmup_step", "keep_tokens_separator", "secondary_separator",
          "enable_wildcard", "caption_separator", "caption_dropout_every_n_epochs")  # fmt: skip
OF_DATASET = (
    "resolution",
    "enable_bucket",
    "min_bucket_reso",
    "max_bucket_reso",
    "bucket_no_upscale",
    "batch_size_per_device",
)
OPTIMIZER = re.compile(r"([\w.]+)(?:\((.*)\))?", re.DOTALL)
ARGUMENT = re.compile(r"(\w+)\s*=\s*(\([^()]*\)|\[[^\[\]]*\]|[^,]+)")
FAMILIES = (("sdxl", "sdxl_train_network"), ("flux", "flux_train_network"), ("sd3", "sd3_train_network"))
"""Beginning of `ss_base_model_version` → script."""


class LoraMetadata(Reader):
    """A file of tensors with metadata about its training."""

    title: ClassVar[str] = "a trained file with metadata"
    place: ClassVar[int] = 10

    def recognises(self, source: SourceFile) -> bool:
        return source.kind == "safetensors"

    def read(self, source: SourceFile) -> Configuration:
        metadata = source.metadata
        if not any(key.startswith("ss_") for key in metadata) and OWN not in metadata:
            raise InputError(*_without(source), where=source.name, cure=_cure(source))
        trainer = "lorapipe" if OWN in metadata else "kohya's sd-scripts"
        found = Configuration(trainer, _script(metadata))
        if OWN in metadata:
            found.settings = metadata
            found.options = [_own(key, value, source) for key, value in metadata.items()]
            return found
        for key, value in metadata.items():
            found.options += _options(key, value, source.name)
        found.implied = _implied(metadata)
        found.subsets = list(_subsets(metadata.get("ss_datasets", ""), source.name))
        found.remarks += _folders(metadata, source.name)
        return found


def _without(source: SourceFile) -> tuple[str]:
    if any(key.startswith(("model.diffusion_model.", "first_stage_model.", "unet.")) for key in source.tensors):
        return ("is a checkpoint, not a configuration of a training.",)
    return ("holds no metadata about its training.",)


def _cure(source: SourceFile) -> str:
    if "checkpoint" in _without(source)[0]:
        return "Name it as checkpoint of a base, in a pipeline."
    return f"`lorapipe inspect {source.name} --pipeline` writes what its tensors tell."


def _script(metadata: Mapping[str, str]) -> str:
    version = metadata.get("ss_base_model_version", "").lower()
    return next((script for start, script in FAMILIES if version.startswith(start)), "train_network")


def _own(key: str, value: str, source: SourceFile) -> Option:
    """Return a field of a file that lorapipe has made: its settings say everything."""
    text = "every setting of the training" if key == OWN else f"{OWN} says it exactly"
    kind = Outcome("used" if key == OWN else "translated", text)
    return Option(key, value, key, source.name, outcome=kind)


def _implied(metadata: Mapping[str, str]) -> dict[str, object]:
    """Return what files never say: the places of the pictures, and the endings of captions."""
    found: dict[str, object] = {"caption_extension": ".txt", "train_data_dir": "./pictures"}
    if metadata.get("ss_reg_dataset_dirs", "{}") not in NOTHING:
        found["reg_data_dir"] = "./regularisation"
    version = metadata.get("ss_base_model_version", "").lower()
    if version.startswith("sd_v2"):
        found["v2"] = True
    if version.endswith("_v") or metadata.get("modelspec.prediction_type", "") in ("v", "v_prediction"):
        found["v_parameterization"] = True
    return found


def _options(key: str, value: str, file: str) -> Iterator[Option]:
    """Yield the options that a field says."""
    name = NAMES.get(key.removeprefix("ss_"), key.removeprefix("ss_"))
    if value in NOTHING:
        yield Option(key, value, key, file, outcome=Outcome("no effect", "is empty"))
    elif key == "ss_optimizer":
        yield from _optimizer(value, file)
    elif key == "ss_network_args":
        yield from _network_args(value, file)
    elif name in FACTS or key == "ss_datasets":
        yield Option(key, value, key, file, outcome=Outcome("translated", FACTS.get(name, "a stage for each subset")))
    elif key.startswith("ss_") and name in ROWS:
        yield Option(name, value, key, file)
    elif key.startswith(("modelspec.", "sshs_")):
        yield Option(key, value, key, file, outcome=Outcome("translated", "a description of the file"))
    else:
        yield Option(key, value, key, file, outcome=Outcome("unknown", "no field of sd-scripts'"))


def _optimizer(value: str, file: str) -> Iterator[Option]:
    """Yield `bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))` as type and arguments."""
    found = OPTIMIZER.fullmatch(value.strip())
    yield Option("optimizer_type", found[1] if found else value, "ss_optimizer", file)
    for argument in ARGUMENT.finditer((found[2] or "") if found else ""):
        name = f"optimizer_args.{argument[1]}"
        yield Option(name, argument[2].strip(), f"ss_optimizer {argument[1]}", file)


def _network_args(value: str, file: str) -> Iterator[Option]:
    given = _json(value)
    if not isinstance(given, dict):
        yield Option("ss_network_args", value, "ss_network_args", file, outcome=Outcome("unknown", "is no JSON object"))
        return
    for name, each in given.items():
        yield Option(f"network_args.{name}", str(each), f"ss_network_args {name}", file)


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _subsets(text: str, file: str) -> Iterator[Subset]:
    """Yield the subsets of `ss_datasets`."""
    datasets = _json(text)
    for place, dataset in enumerate(datasets if isinstance(datasets, list) else []):
        if not isinstance(dataset, dict):
            continue
        at = f"ss_datasets[{place}]"
        shared = [Option(DATASET_NAMES.get(name, name), dataset[name], f"{at}.{name}", file)
                  for name in OF_DATASET if dataset.get(name) is not None]  # fmt: skip
        subsets = dataset.get("subsets")
        for number, subset in enumerate(subsets if isinstance(subsets, list) else []):
            if isinstance(subset, dict):
                where = f"{at}.subsets[{number}]"
                yield Subset([Option(name, subset[name], f"{where}.{name}", file)
                              for name in INSIDE if subset.get(name) is not None], shared)  # fmt: skip


DATASET_NAMES = {"batch_size_per_device": "batch_size"}


def _folders(metadata: Mapping[str, str], file: str) -> Iterator[Remark]:
    """Yield the names of the folders of pictures, which a file knows, but not their places."""
    for key, what in (("ss_dataset_dirs", "pictures"), ("ss_reg_dataset_dirs", "regularisation pictures")):
        told = _json(metadata.get(key, ""))
        if isinstance(told, dict) and told:
            parts = [f"{name} ({each.get('img_count', '?')} × {each.get('n_repeats', '?')})"
                     for name, each in list(told.items())[:8] if isinstance(each, dict)]  # fmt: skip
            yield Remark(f"its {what} were in {', '.join(parts)}: name the folder that holds them", file)
