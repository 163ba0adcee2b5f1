"""Recognise files of other programs that are given as a pipeline.

A row of `BEGINNINGS` is recognised by the first bytes, a row of `PROGRAMS` by names in the text: all of `has`, and at least
`least` of `of`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lorapipe.errors import Problem
from lorapipe.file_signatures import PACKED, PICTURES, kind_of

UNPRINTED = bytes({*range(32)} - {9, 10, 12, 13, 27})
"""Bytes that do not occur in text."""
HEAD = 4096
"""Bytes at the beginning that are examined."""
SETTINGS = (
    "Write its settings into a copy of pipelines/train-sd15.yaml: `lorapipe show --network_dim` finds a flag's setting."
)
IMPORT = "Turn it into a pipeline: `lorapipe import FILE --to penny.yaml`."
FOLDER = "Name it in a pipeline, as images of a prepare stage; `lorapipe check` takes the YAML file."
WEIGHTS = "Name it in a pipeline, as checkpoint of the base; `lorapipe check` takes the YAML file."

ZIP = f"Unpack pictures into a folder. {WEIGHTS}"
OFFICE = "Save it as plain text (UTF-8)."
BEGINNINGS: dict[str, tuple[str, str]] = {
    "zip": ("a zip file (pictures, a .ckpt or a document)", ZIP),
    **dict.fromkeys(PICTURES, ("a picture", FOLDER)),
    "safetensors": ("a safetensors file", WEIGHTS),
    "pickle": ("a checkpoint in pickle form", WEIGHTS),
    "GGUF": ("a GGUF file", "Take the model as .safetensors: a quantised one cannot be trained."),
    **dict.fromkeys(PACKED, ("a packed file", "Unpack it, and name the YAML file.")),
    **dict.fromkeys(("PDF", "OLE", "RTF"), ("a document of an office program", OFFICE)),
    "SQLite": ("a database", "Name a YAML file."),
    "program": ("a program", "Name a YAML file."),
    "Git LFS": ("a pointer to a file that was not downloaded (Git LFS)", "Run `git lfs pull`."),
}
"""Kind by the first bytes → what it is, and the cure."""


class Program(NamedTuple):
    """A kind of file that another program writes."""

    what: str
    has: frozenset[str]
    of: frozenset[str] = frozenset()
    least: int = 1
    cure: str = SETTINGS


def _row(what: str, has: str, of: str = "", least: int = 1, cure: str = SETTINGS) -> Program:
    return Program(what, frozenset(has.split()), frozenset(of.split()), least if of else 0, cure)


GUI = "train_data_dir logging_dir max_train_epochs save_every_n_epochs mixed_precision caption_extension lr_scheduler"
TRAINER = (
    "network_dim network_alpha network_module network_args network_weights train_batch_size max_train_steps "
    "max_train_epochs train_data_dir dataset_config optimizer_type optimizer_args unet_lr text_encoder_lr learning_rate "
    "lr_scheduler "
    "mixed_precision save_every_n_epochs clip_skip sample_prompts min_snr_gamma noise_offset cache_latents save_precision"
)
PROGRAMS: tuple[Program, ...] = (
    _row("a kohya_ss (bmaltais) configuration", "LoRA_type pretrained_model_name_or_path", GUI, 2, IMPORT),
    _row("an ai-toolkit configuration", "job config process",
         "sd_trainer network linear linear_alpha datasets folder_path", 2, IMPORT),
    _row("an OneTrainer configuration", "training_method",
         "base_model_name concept_file_name model_type __version lora_rank", 2, IMPORT),
    _row("OneTrainer's list of concepts", "include_subdirectories", "image_variations text_variations balancing", 2),
    _row("a SimpleTuner configuration", "",
         "model_type model_family data_backend_config lora_rank lora_type resume_from_checkpoint "
         "pretrained_model_name_or_path optimizer caption_dropout_probability report_to", 5),
    _row("SimpleTuner's list of data", "instance_data_dir", "cache_dir_vae caption_strategy crop_style dataset_type", 2),
    _row("a ComfyUI workflow", "nodes links", "last_node_id last_link_id widgets_values extra groups", 1,
         "Open it in ComfyUI; its node `Save pipeline` writes a graph of lorapipe's nodes as a pipeline."),
    _row("a ComfyUI prompt (API form)", "class_type inputs", "_meta KSampler seed", 1,
         "Open it in ComfyUI; its node `Save pipeline` writes a graph of lorapipe's nodes as a pipeline."),
    _row("a dataset configuration of kohya's scripts", "datasets image_dir", cure=IMPORT),
    _row("a configuration of kohya's scripts", "", TRAINER, 3, IMPORT),
    _row("a diffusers model's description", "_class_name _diffusers_version",
         cure="Name its folder as checkpoint of the base."),
    _row("a musubi-tuner or kohya configuration", "", "dit vae network_module network_dim fp8_base timestep_sampling", 3),
)  # fmt: skip
# Patterns are strings here, compiled on first use and cached by `re`: most starts of lorapipe need none of them.
NAMED = (
    r"""(?m)(?:^|[\s,{\[("'])(?:--)?([A-Za-z_][\w-]*)["']?\]*\s*[:=]|\[\[?([\w.]+)\]\]?[ \t]*(?:#.*)?$|--([a-z]\w+)"""
)
SCRIPT = (
    r"accelerate(?:\s+|\.commands\.)launch|\b(?:python3?|%run|py)\s+\S*\w*train\w*\.py"
    r"|\b(?:sdxl_|flux_|sd3_)?train_network\.py"
)
TABLE = r"(?m)^\s*\[\[?[\w.\"' -]+\]\]?[ \t]*(?:#.*)?$"
ASSIGNED = r"(?m)^\s*[\w.-]+[ \t]*=[ \t]*\S"
"""A text is TOML (or an .ini file) if it has a `[table]` and a `name = value`."""
PAGE = r"(?i)\s*(<!doctype html|<html|<\?xml|<!--)"


def of_bytes(data: bytes, name: str) -> Problem | None:
    """Return a problem that names a file's kind if it is not text; None if it may be text."""
    head = data[:HEAD]
    if (found := BEGINNINGS.get(kind_of(head))) is not None:
        what, cure = found
        return Problem(f"is {what}, not a pipeline.", name, cure)
    unprinted = len(head) - len(head.translate(None, UNPRINTED))
    if unprinted * 10 > len(head) > 8 and not _is_wide_text(head):
        return Problem("is not a text file, so it is not a pipeline.", name, "Name a YAML file.")
    return None


def of_text(text: str, name: str) -> Problem | None:
    """Return a problem that names the program whose file a text is; None if it is unknown."""
    if re.match(PAGE, text):
        return Problem("is a web page, not a pipeline.", name, "Download the file itself (on GitHub: Raw).")
    if re.search(SCRIPT, text):
        return Problem("is a script that starts kohya's trainer, not a pipeline.", name, IMPORT)
    names = {match[match.lastindex] for match in re.finditer(NAMED, text) if match.lastindex}
    program = next((each for each in PROGRAMS if each.has <= names and len(each.of & names) >= each.least), None)
    if program is not None:
        return Problem(f"is {program.what}, not a pipeline.", name, program.cure)
    if "stages" not in names and re.search(TABLE, text) and re.search(ASSIGNED, text):
        return Problem("is a TOML file of another program, not a pipeline.", name, SETTINGS)
    return None


def _is_wide_text(head: bytes) -> bool:
    """Whether bytes are UTF-16, as older versions of Windows' Notepad wrote; those get another message."""
    return head[:2] in (b"\xff\xfe", b"\xfe\xff") or not head[1::2].strip(b"\0") or not head[0::2].strip(b"\0")
