"""`lorapipe merge`: adapters into a checkpoint, adapters to one adapter, or checkpoints to one checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lorapipe.commands import DONE, takes_force, takes_quiet, takes_sets, takes_target
from lorapipe.commands._weighted_file import HOW, WeightedPath, weighted_path

HELP = "merge LoRAs into a checkpoint, LoRAs to one LoRA, or checkpoints: BASE LORA:0.8 LORA2:0.5 --to FILE"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    text = (
        "the base first, if there is one, then adapters: FILE, FILE:0.8, FILE:0.8,text=0.5 (the text encoders'), "
        "FILE:1,blocks=1/0/… (each block's of the denoiser). Checkpoints alone: A B:0.3 is 0.7 A + 0.3 B, and "
        "A B:0.8 C:-0.8 adds a difference"
    )
    parser.add_argument("files", metavar="FILE[:STRENGTH]", nargs="+", help=text)
    takes_target(parser, "the file to write, or the folder for a base that is one", required=True)
    takes_sets(
        parser, "dtype=own|fp16|bf16|fp32, title=TEXT; of adapters alone rank=16, format=diffusers", "KNOB=VALUE"
    )
    takes_force(parser)
    takes_quiet(parser)


def main(options: argparse.Namespace) -> int:
    """Merge, by what the files are."""
    from lorapipe.commands._one_stage import may_replace, settings
    from lorapipe.lora_tools.detected_base import are_bases, is_folder
    from lorapipe.lora_tools.publication import require_other

    files = [weighted_path(text) for text in options.files]
    require_other(options.to, [Path(file.path) for file in files])
    bases = are_bases([file.path for file in files])
    sets = settings(options.set)
    if not any(bases):
        _merge_loras(files, options, sets)
        return DONE
    may_replace(options.to, options.force, folder=is_folder(files[0].path))
    if all(bases):
        _merge_checkpoints(files, options, sets)
    else:
        _merge_adapters(files, bases, options, sets)
    return DONE


def _merge_adapters(
    files: Sequence[WeightedPath], bases: Sequence[bool], options: argparse.Namespace, sets: dict[str, object]
) -> None:
    from lorapipe.commands._one_stage import parsed, run_alone
    from lorapipe.errors import InputError

    if not bases[0] or sum(bases) > 1:
        what = "is no base, but another of the files is." if not bases[0] else "is one of several bases among LoRAs."
        raise InputError(what, where=files[0].path, cure="Name one base, first, and then LoRAs.")
    if files[0] != WeightedPath(files[0].path):
        what = "is the base: it has no strength."
        raise InputError(what, where=files[0].path, cure=f"Give strengths to the LoRAs: {HOW}.")
    adapters = [_adapter(file) for file in files[1:]]
    stage = parsed("merge", {"base": _base(files[0].path), "adapters": adapters, **sets})
    run_alone(stage, options.to, lambda made: made.path, quiet=options.quiet)  # type: ignore[attr-defined]


def _adapter(file: WeightedPath) -> dict[str, object]:
    given = {
        "strength": file.strength, "text_encoder_strength": file.text_encoder, "block_strengths": [*file.blocks] or None,
    }  # fmt: skip
    return {"file": file.path, **{name: value for name, value in given.items() if value is not None}}


def _base(path: str) -> dict[str, object]:
    from lorapipe.lora_tools.detected_base import detected_base

    return {"family": detected_base(path).name, "checkpoint": path}


def _merge_checkpoints(files: Sequence[WeightedPath], options: argparse.Namespace, sets: dict[str, object]) -> None:
    from lorapipe.commands._one_stage import parsed, run_alone
    from lorapipe.errors import InputError

    first, *others = files
    if not others:
        raise InputError("is the only file.", where=first.path, cure="Name LoRAs or checkpoints after it.")
    if parts := [file.path for file in files if file.text_encoder is not None or file.blocks]:
        raise InputError("is a checkpoint: it has one weight.", where=parts[0], cure="Write FILE:0.3.")
    weights = [0.5 if file.strength is None else file.strength for file in others]
    if first.strength is not None and abs(first.strength + sum(weights) - 1) > 1e-6:
        what = f"the weights' sum is {first.strength + sum(weights):g}, not 1."
        raise InputError(what, where=first.path, cure="Leave out the first's: it gets what the others leave of 1.")
    added = [{"checkpoint": file.path, "weight": weight} for file, weight in zip(others, weights, strict=True)]
    stage = parsed("merge_checkpoints", {"base": _base(first.path), "others": added, **sets})
    run_alone(stage, options.to, lambda made: made.path, quiet=options.quiet)  # type: ignore[attr-defined]


def _merge_loras(files: Sequence[WeightedPath], options: argparse.Namespace, sets: dict[str, object]) -> None:
    from lorapipe.commands._one_stage import may_replace, module_progress
    from lorapipe.lora_tools.adapter_sum import merge_loras
    from lorapipe.lora_tools.file_options import MergedFileOptions, ready
    from lorapipe.lora_tools.merge_metadata import lora_metadata
    from lorapipe.lora_tools.published_base import published_base
    from lorapipe.lora_tools.weighted_adapters import Strengths, WeightedFile
    from lorapipe.terminal import Printer

    to: Path = options.to
    knobs = ready(MergedFileOptions, sets, to)
    may_replace(to, options.force, folder=not knobs.format.ending)
    base = published_base([Path(file.path) for file in files])
    inputs = [
        WeightedFile(
            Path(file.path), Strengths(1.0 if file.strength is None else file.strength, file.text_encoder, file.blocks)
        )
        for file in files
    ]
    with module_progress("merge", quiet=options.quiet) as tell:
        found = merge_loras(
            base, base.module_names(), inputs, to, knobs.format,
            rank=knobs.rank, dtype=knobs.dtype, metadata=lora_metadata(base), tell=tell,
        )  # fmt: skip
    Printer(sys.stdout).line(f"{to}: {found.in_words()}")
