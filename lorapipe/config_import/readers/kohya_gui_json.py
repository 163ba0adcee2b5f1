"""Configurations of kohya_ss, the GUI: JSON with its own names for some options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import ClassVar

from lorapipe.config_import.command_line import full_name
from lorapipe.config_import.configuration import Configuration, Option, Outcome, Remark
from lorapipe.config_import.option_table import ALIASES, LAUNCHER, ROWS
from lorapipe.config_import.readers import Reader
from lorapipe.config_import.source_file import SourceFile

NAMES: Mapping[str, str] = {
    "epoch": "max_train_epochs", "optimizer": "optimizer_type", "max_resolution": "resolution",
    "lr_warmup": "lr_warmup_steps", "LoRA_type": "network_module",
    "conv_dim": "network_args.conv_dim", "conv_alpha": "network_args.conv_alpha", "block_dims": "network_args.block_dims",
    "block_alphas": "network_args.block_alphas", "conv_block_dims": "network_args.conv_block_dims",
    "conv_block_alphas": "network_args.conv_block_alphas", "down_lr_weight": "network_args.down_lr_weight",
    "mid_lr_weight": "network_args.mid_lr_weight", "up_lr_weight": "network_args.up_lr_weight",
    "block_lr_zero_threshold": "network_args.block_lr_zero_threshold", "rank_dropout": "network_args.rank_dropout",
    "module_dropout": "network_args.module_dropout", "factor": "network_args.factor",
    "decompose_both": "network_args.decompose_both", "use_tucker": "network_args.use_tucker",
    "use_cp": "network_args.use_cp", "full_matrix": "network_args.full_matrix",
    "dora_wd": "network_args.dora_wd", "LyCORIS_preset": "network_args.preset", "train_norm": "network_args.train_norm",
    "constrain": "network_args.constraint", "constraint": "network_args.constraint", "rescaled": "network_args.rescaled",
    "unit": "network_args.unit", "use_scalar": "network_args.use_scalar", "bypass_mode": "network_args.bypass_mode",
    "train_on_input": "network_args.train_on_input", "loraplus_lr_ratio": "network_args.loraplus_lr_ratio",
    "loraplus_unet_lr_ratio": "network_args.loraplus_unet_lr_ratio", "lora_network_weights": "network_weights",
    "loraplus_text_encoder_lr_ratio": "network_args.loraplus_text_encoder_lr_ratio",
    "num_cpu_threads_per_process": f"{LAUNCHER}num_cpu_threads_per_process", "num_processes": f"{LAUNCHER}num_processes",
    "num_machines": f"{LAUNCHER}num_machines", "multi_gpu": f"{LAUNCHER}multi_gpu", "gpu_ids": f"{LAUNCHER}gpu_ids",
    "main_process_port": f"{LAUNCHER}main_process_port", "extra_accelerate_launch_args": f"{LAUNCHER}extra_args",
}  # fmt: skip
"""Name in the GUI → kohya's, where they differ."""
NETWORKS: Mapping[str, tuple[str, str]] = {
    "Standard": ("networks.lora", ""), "Kohya LoCon": ("networks.lora", ""), "Kohya DyLoRA": ("networks.dylora", ""),
    "LoRA-FA": ("networks.lora_fa", ""), "Kohya LoHa": ("networks.loha", ""), "Kohya LoKr": ("networks.lokr", ""),
    "LyCORIS/LoCon": ("lycoris.kohya", "locon"), "LyCORIS/LoHa": ("lycoris.kohya", "loha"),
    "LyCORIS/LoKr": ("lycoris.kohya", "lokr"), "LyCORIS/iA3": ("lycoris.kohya", "ia3"),
    "LyCORIS/GLoRA": ("lycoris.kohya", "glora"), "LyCORIS/Diag-OFT": ("lycoris.kohya", "diag-oft"),
    "LyCORIS/BOFT": ("lycoris.kohya", "boft"), "LyCORIS/DyLoRA": ("lycoris.kohya", "dylora"),
    "LyCORIS/Native Fine-Tuning": ("lycoris.kohya", "full"), "Flux1": ("networks.lora_flux", ""),
}  # fmt: skip
"""`LoRA_type` → module and LyCORIS' algorithm."""
OF_OTHERS = ("flux", "sd3", "lumina", "hunyuan", "t5", "clip_", "discrete_flow", "guidance", "timestep_")
OF_LYCORIS = ("factor", "decompose_both", "use_tucker", "use_cp", "dora_wd", "LyCORIS_preset", "train_norm", "constrain",
              "rescaled", "use_scalar", "bypass_mode", "train_on_input", "full_matrix", "rank_dropout_scale")  # fmt: skip
OF_LOCON = ("conv_dim", "conv_alpha", "conv_block_dims", "conv_block_alphas")
CONVOLUTIONAL = ("LyCORIS", "LoCon", "LoHa", "LoKr", "DyLoRA")
IDLE: Mapping[str, str] = {
    "model_list": "a list of the GUI's", "enable_all_linear": "it is for FLUX",
    "noise_offset_type": "a choice of the GUI's: the values count",
    **dict.fromkeys(("dynamo_mode", "dynamo_use_dynamic", "dynamo_use_fullgraph"), "a step is a CUDA graph instead"),
}  # fmt: skip
ZERO_IS_UNSET = ("max_train_steps", "save_every_n_steps", "save_last_n_steps", "save_last_n_steps_state",
                 "sample_every_n_steps", "sample_every_n_epochs", "max_train_epochs", "min_timestep", "vae_batch_size",
                 "conv_dim",
                 "network_dropout", "rank_dropout", "module_dropout", "stop_text_encoder_training", "max_token_length",
                 "save_last_n_epochs", "save_last_n_epochs_state", "loraplus_lr_ratio", "loraplus_unet_lr_ratio",
                 "loraplus_text_encoder_lr_ratio", "caption_dropout_every_n_epochs", "lr_scheduler_num_cycles")  # fmt: skip
TELLING = {
    "LoRA_type",
    "epoch",
    "pretrained_model_name_or_path",
    "train_data_dir",
    "network_dim",
    "optimizer",
    "max_resolution",
}


class KohyaGuiJson(Reader):
    """A saved configuration of the GUI."""

    title: ClassVar[str] = "a configuration of kohya_ss, the GUI"
    place: ClassVar[int] = 20

    def recognises(self, source: SourceFile) -> bool:
        data = source.json
        return data is not None and len(TELLING & data.keys()) >= 3 and "class_type" not in source.text[:2000]

    def read(self, source: SourceFile) -> Configuration:
        data = source.json or {}
        script = f"{'sdxl_' if _is_on(data.get('sdxl')) else ''}train_network"
        if _is_on(data.get("flux1_checkbox")) or "flux" in str(data.get("LoRA_type", "")).lower():
            script = "flux_train_network"
        if _is_on(data.get("sd3_checkbox")):
            script = "sd3_train_network"
        if "LoRA_type" not in data:
            script = f"{'sdxl_train' if _is_on(data.get('sdxl')) else 'train_db'}"
        found = Configuration("kohya_ss", script)
        for name, value in data.items():
            found.options += _options(source, name, value, data, found)
        if module := NETWORKS.get(str(data.get("LoRA_type", ""))):
            found.implied = {"network_module": module[0], **({"network_args.algo": module[1]} if module[1] else {})}
        return found


def _is_on(value: object) -> bool:
    return str(value).lower() in ("true", "1", "yes")


def _options(
    source: SourceFile, name: str, value: object, data: Mapping[str, object], found: Configuration
) -> list[Option]:
    """Return the options that a key of the GUI's gives: one, or those of a free text."""
    line = source.json_lines.get((name,), 0)
    if name == "additional_parameters" and isinstance(value, str) and value.strip():
        return _free_text(value, source.name, line, found)
    option = Option(NAMES.get(name) or name, value, name, source.name, line)
    option.outcome = _outcome(name, value, data)
    if option.outcome is None:
        _translate(option, name, value)
    return [option]


def _outcome(name: str, value: object, data: Mapping[str, object]) -> Outcome | None:
    """Return what becomes of a key that is no option of kohya's, or that the GUI does not pass on."""
    kind = str(data.get("LoRA_type", "Standard"))
    if name == "LoRA_type":
        module = NETWORKS.get(kind)
        known = ", ".join(NETWORKS)
        return Outcome("translated", " ".join(module).strip()) if module else Outcome("unknown", f"known: {known}")
    if (reason := _unset(name, value) or _left_out(name, kind)) or not _is_kohyas(NAMES.get(name) or name):
        return Outcome("no effect", reason or IDLE.get(name) or "a key of the GUI's own, which it passes to no script")
    return None


def _unset(name: str, value: object) -> str:
    """Say why the GUI passes nothing on for a value; empty if it does."""
    if value is None or value in ("", "None", []):
        return "is empty"
    if name in ZERO_IS_UNSET and str(value) in ("0", "0.0"):
        return "0 is unset in the GUI"
    return "is off" if value is False else ""


def _left_out(name: str, kind: str) -> str:
    """Say why the GUI passes nothing on for a kind of network; empty if it does."""
    if name.startswith(OF_OTHERS) and not _is_kohyas(NAMES.get(name) or name):
        return "it is for other families of models"
    is_of_lycoris = name in OF_LYCORIS and "LyCORIS" not in kind
    is_of_locon = name in OF_LOCON and not any(each in kind for each in CONVOLUTIONAL)
    return f"the GUI does not pass it on for {kind}" if is_of_lycoris or is_of_locon else ""


def _is_kohyas(name: str) -> bool:
    return name in ROWS or name in ALIASES or name.startswith(LAUNCHER) or name in ("network_args", "optimizer_args")


def _translate(option: Option, name: str, value: object) -> None:
    """Change a value that the GUI writes in another way than kohya's scripts."""
    if name == "lr_warmup":
        option.value = _share(value)
    elif name == "xformers":
        option.name = "sdpa" if str(value).lower() == "sdpa" else "xformers"
        option.value = True
    elif name in ("optimizer_args", "network_args"):
        option.value = str(value).split()
    elif name == "max_token_length" and str(value) == "75":
        option.value = 75


def _share(value: object) -> object:
    """Return per cent as kohya's share."""
    try:
        return float(str(value)) / 100
    except ValueError:
        return value


def _free_text(text: str, file: str, line: int, found: Configuration) -> list[Option]:
    """Return the options of the field for further parameters."""
    try:
        words = shlex.split(text.replace("\\", "\\\\"))
    except ValueError:
        found.remarks.append(Remark("additional_parameters has a quote that is not closed", file, line))
        words = text.split()
    options: list[Option] = []
    for word in words:
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            options.append(
                Option(full_name(name), value if sign else True, f"additional_parameters --{name}", file, line)
            )
        elif options and options[-1].value is True:
            options[-1].value = word
        elif options:
            options[-1].value = f"{options[-1].value} {word}"
    return options
