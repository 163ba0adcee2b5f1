"""Settings of commands that write an adapter's file; torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from lorapipe.errors import InputError
from lorapipe.formats import Format
from lorapipe.spec import Destination, Spec, from_dict, param


@dataclass(frozen=True)
class AdapterFileOptions(Spec):
    """How an adapter's file is written."""

    format: Format = param(Format.default("kohya"), "the keys: kohya, diffusers, peft, a1111")


@dataclass(frozen=True)
class MergedFileOptions(AdapterFileOptions):
    """How a sum of adapters is written; as the stage `merge_loras`."""

    dtype: Literal["fp16", "bf16", "fp32"] = param("fp16", "number type of the file")
    rank: int | None = param(None, "re-compress every module to this rank; empty: exact", ge=1, le=768)


@dataclass(frozen=True)
class ConvertedFileOptions(AdapterFileOptions):
    """How a converted adapter is written; as the stage `export`."""

    dtype: Literal["own", "fp16", "bf16", "fp32"] = param("own", "number type of the file; own: as it was")
    convert: Literal["own", "lora", "diff"] = param(
        "own", "form: its own, a LoRA by singular values, a dense difference"
    )
    convert_rank: int = param(32, "with convert: lora, the rank", ge=1, le=768)


Options = TypeVar("Options", bound=AdapterFileOptions)


def ready(kind: type[Options], document: Mapping[str, object], target: Path) -> Options:
    """Return the options. `InputError` for wrong ones, and where the target's name does not fit the format."""
    found = from_dict(kind, dict(document))
    if complaint := Destination(target).complaint(found.format.ending):
        raise InputError(complaint[0], where=str(target), cure=complaint[1])
    if not found.format.ending and target.suffix == ".safetensors":
        what = f"{found.format.name} is a folder of files, not one file."
        raise InputError(what, where=str(target), cure=f"Write {target.stem}/.")
    return found
