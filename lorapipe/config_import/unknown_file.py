"""What a file is that is no configuration of a training, and what to do with it."""

from __future__ import annotations

import re
from dataclasses import replace

from lorapipe.config_import.source_file import SourceFile
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline import foreign_files

READ = (
    "lorapipe import reads scripts of kohya's sd-scripts, their TOML files, kohya_ss' JSON, OneTrainer's JSON, ai-toolkit's "
    "YAML, and trained .safetensors files."
)
OTHERS = (
    (r'"class_type"\s*:|"last_node_id"', "is a workflow of ComfyUI, not a configuration of a training.",
     "Open it in ComfyUI; lorapipe's nodes there save a pipeline."),
    (r'"concepts?"\s*:|"include_subdirectories"', "is OneTrainer's list of concepts alone.",
     "Import OneTrainer's configuration, which names it (Save config)."),
    (r'"instance_data_dir"|"data_backend_config"', "is a configuration of SimpleTuner, which is not read.",
     "`lorapipe new FOLDER` writes a pipeline for the same pictures."),
    (r'"_class_name"|"_diffusers_version"', "is a description of a diffusers model, not a configuration of a training.",
     "Name its folder as checkpoint of a base."),
    (r"(?m)^\[tool\.|^\[project\]|^\[package\]|^\[build-system\]", "is a configuration of a programming project.", ""),
    (r"(?m)^stages:|^extends:", "is a pipeline of lorapipe already.", "Run it: `lorapipe run`."),
    (r"(?i)\s*(<!doctype html|<html)", "is a web page.", "Download the file itself (on GitHub: Raw)."),
    (r"\bdef \w+\(|^import \w+|^from \w+ import", "is a Python program.",
     "Import the script or the configuration that starts it."),
)  # fmt: skip
"""Pattern in the text → what it is, and what to do."""


def what_it_is(source: SourceFile) -> InputError:
    """Return an error that says what a file is, and what to do."""
    name = source.name
    if not source.data.strip():
        return InputError("is empty.", where=name, cure=READ)
    if (problem := foreign_files.of_bytes(source.data, name)) is not None:
        return InputError(_reworded(problem))
    if not source.is_text:
        return InputError("is not a text file, and no file of tensors.", where=name, cure=READ)
    for pattern, what, cure in OTHERS:
        if re.search(pattern, source.text[:200_000], re.MULTILINE):
            return InputError(what, where=name, cure=cure or READ)
    if source.suffix == ".json":
        _ = source.json  # a syntax error has a line
        return InputError("is JSON, but none of a trainer that is known.", where=name, cure=READ)
    if source.suffix in (".toml", ".tml"):
        return InputError("is TOML, but has no option of kohya's sd-scripts.", where=name, cure=READ)
    return InputError("is no configuration of a training that is known.", where=name, cure=READ)


def _reworded(problem: Problem) -> Problem:
    """Return the message about a file that is no text, for this command."""
    what = problem.what.replace("not a pipeline", "not a configuration of a training")
    cure = READ if "pipeline" in problem.cure and "prepare" not in problem.cure else problem.cure
    return replace(problem, what=what, cure=cure)
