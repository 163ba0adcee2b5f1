"""Metadata of extracted and resized files: what loaders need, hashes, and how the file was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import __version__
from lorapipe.formats import AdapterWeights, ModuleWeights
from lorapipe.metadata import modelspec, untrained_metadata
from lorapipe.pipeline.delivery_log import HASH, OF_BYTES, OURS, sealed

if TYPE_CHECKING:
    from lorapipe.lora_tools.adapter_output import ModuleTensors
    from lorapipe.lora_tools.kept_report import KeptReport
    from lorapipe.models import Family

EXTRACT, RESIZE = "lorapipe_extract", "lorapipe_resize"
"""Fields that say how a file was made, as JSON."""
PART = 0x10000


def model_hash(path: Path) -> str:
    """Return kohya's and A1111's short hash of a checkpoint: SHA-256 of 64 KiB at 1 MiB, 8 digits; empty for a folder."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(PART)).hexdigest()[:8]


def extract_metadata(
    tuned: Family,
    base: Family,
    settings: Mapping[str, object],
    modules: Sequence[ModuleTensors],
    report: KeptReport,
    digest: str,
) -> Mapping[str, str]:
    """Return an extracted file's metadata. `settings` are those of the extraction, `digest` is the tensors' SHA-256."""
    prediction = base.prediction_type()
    told = {key: value for key, value in settings.items() if value not in (None, ())}
    files = {"tuned": tuned.checkpoint.path, "base": base.checkpoint.path}
    told |= {name: {"file": path.name, "hash": model_hash(path)} for name, path in files.items()}
    told["kept"] = round(report.kept, 6)
    chosen = {
        **untrained_metadata(type(base), base.base_model_version(prediction), as_weights(modules), "full"),
        **modelspec(base.architecture(prediction), prediction, tuned.checkpoint.path.stem, ""),
        "ss_sd_model_name": base.checkpoint.path.name,
        "ss_sd_model_hash": model_hash(base.checkpoint.path),
        EXTRACT: json.dumps(told, ensure_ascii=False),
    }
    return sealed({key: value for key, value in chosen.items() if value} | _own(digest))


def as_weights(modules: Sequence[ModuleTensors]) -> AdapterWeights:
    """Return modules as weights of the right shapes, without numbers."""
    import torch

    found = {}
    for number, module in enumerate(modules):
        tensors = {short: torch.empty(shape, device="meta") for short, shape in module.shapes.items()}
        found["", str(number)] = ModuleWeights(module.algorithm, tensors, module.alpha)
    return AdapterWeights(found)


def _own(digest: str) -> dict[str, str]:
    """Return what is true of this file alone: lorapipe's version, and the digest of its tensors."""
    return {OURS: __version__, HASH: digest}


def resize_metadata(
    own: Mapping[str, str], settings: Mapping[str, object], report: KeptReport, digest: str
) -> Mapping[str, str]:
    """Return a resized file's metadata: its source's, with the new rank, hashes, and how it was made."""
    ranks = [module.rank for module in report.modules]
    told = {key: value for key, value in settings.items() if value is not None}
    kept = {key: value for key, value in own.items() if key not in OF_BYTES}
    before = kept.get("ss_network_dim", "")
    alpha = _number(kept.get("ss_network_alpha", ""))
    changed = {"ss_network_dim": str(max(ranks))}
    if alpha is not None and (rank := _number(before)):
        changed["ss_network_alpha"] = str(alpha / rank * max(ranks))
    if kept.get("ss_network_module", "").startswith("lycoris") and any("LoRAs now" in each for each in report.remarks):
        changed["ss_network_args"] = json.dumps({"algo": "locon"})
    told = {**told, "from": before, "kept": round(report.kept, 6)}
    return sealed({**kept, **changed, RESIZE: json.dumps(told, ensure_ascii=False), **_own(digest)})


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
