"""The file that is written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorapipe.config_import.mapping import FILE, TRAIN, Translation
from lorapipe.config_import.user_paths import DRIVE, located

DTYPES: Mapping[str, str] = {"float": "fp32", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}


def translate(made: Translation) -> None:
    """Write the export stage."""
    options, put = made.options, made.draft.put
    put(f"{FILE}.uses", "export")
    put(f"{FILE}.weights", f"${TRAIN}")
    put(f"{FILE}.to", _path(made), options.mark("output_dir", "output_name", usual=made.usual))
    _format(made)
    usual = "bf16" if options.flag("full_bf16") else "fp16" if options.flag("full_fp16") else "fp32"
    made.use("save_precision", f"{FILE}.dtype", DTYPES.get(options.text("save_precision", usual).lower(), "fp16"))
    if options.flag("no_metadata"):
        put(f"{FILE}.metadata", "none", options.mark("no_metadata"))
        made.say("no_metadata", f"{FILE}.metadata: none")
    else:
        made.idle("no_metadata", "is off")
    if not made.configuration.script.endswith(("train_network", "textual_inversion")):
        put(f"{FILE}.convert", "checkpoint", "the whole model")


def _path(made: Translation) -> str:
    options = made.options
    name = re.sub(r"\.(safetensors|ckpt|pt)$", "", options.text("output_name", "last"))
    name = re.sub(r'[<>:"|?*\x00-\x1f/\\]', "_", name)[:150].strip() or "last"
    folder = options.text("output_dir", "./output")
    is_elsewhere = bool(DRIVE.match(folder))
    path = "./output" if is_elsewhere else located(folder, made.folder, made.target)[0].rstrip("/")
    full = f"{path}/{name}.safetensors".replace("\\", "/")
    remark = "; a folder of Windows: files go to ./output" if is_elsewhere else ""
    for option in ("output_dir", "output_name"):
        options.settle(option, "used", f"{FILE}.to: {full}{remark if option == 'output_dir' else ''}")
    return full


def _format(made: Translation) -> None:
    written = made.options.text("save_model_as", "safetensors").lower()
    if written in ("safetensors", "diffusers_safetensors"):
        made.say("save_model_as", "the file's ending: .safetensors")
    elif written in ("ckpt", "pt"):
        made.refuse("save_model_as", "files are .safetensors, which every program reads")
    else:
        made.refuse("save_model_as", f"{written[:40]} is not offered: .safetensors")
