"""Metadata of adapter files: kohya's `ss_*` (sd-scripts, `train_network.py`) and Stability's modelspec (1.0.1).

Other programs read these fields, so they have kohya's names, and values are text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorapipe import __version__
from lorapipe.formats import EMBEDDING
from lorapipe.formats.algorithms import Algorithm
from lorapipe.models import Family
from lorapipe.training.adapters import Adapter
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from lorapipe.formats import AdapterWeights

Pair = tuple[int, int]
Privacy = Literal["full", "private", "none"]
"""How much metadata to write: `private` leaves out names, captions, tags and folders; `none` keeps what loaders need."""


def kohya_metadata(
    record: TrainingRecord, title: str, step: int, epoch: int, privacy: Privacy, algorithms: Sequence[str] = ("lora",)
) -> dict[str, str]:
    """Return the `ss_*` metadata of a trained adapter, as sd-scripts writes it; fields without a meaning here are None.

    `algorithms` are those of the weights in the file (`AdapterWeights.algorithms`).
    """
    args = _network_args(record.settings.get("adapter") or {})
    family = _family(record)
    loader = _loader(family, record.base_model_version, algorithms, record.rank, record.alpha, args)
    if privacy == "none":
        return _as_text(loader)
    chosen = {**loader, **_run(record, step, epoch), **_knobs(record), **_data(record)}
    if privacy == "full":
        chosen |= {
            **({"ss_output_name": title} if title else {}),
            "ss_sd_model_name": record.base_name,
            "ss_tag_frequency": json.dumps(record.tags, ensure_ascii=False),
            "ss_dataset_dirs": json.dumps(record.folders, ensure_ascii=False),
            "ss_reg_dataset_dirs": json.dumps(record.regularisation_folders, ensure_ascii=False),
            "lorapipe_settings": json.dumps(record.settings, sort_keys=True, ensure_ascii=False),
        }
    return _as_text({**chosen, "lorapipe_version": __version__})


def untrained_metadata(
    family: type[Family], base_model_version: str, learned: AdapterWeights, privacy: Privacy
) -> dict[str, str]:
    """Return the metadata of weights that were not trained here: what loaders need, from the weights themselves."""
    widest = max(learned.modules.values(), key=lambda module: module.rank, default=None)
    rank, alpha = (widest.rank, widest.alpha) if widest else (0, 0.0)
    loader = _loader(family, base_model_version, learned.algorithms, rank, alpha, {})
    return _as_text(loader if privacy == "none" else {**loader, "lorapipe_version": __version__})


def origin_metadata(path: Path) -> dict[str, str]:
    """Return what the file of weights that were not trained says of their origin: `lorapipe_merge` and others of a tool."""
    try:
        own = _safetensors_header(path).get("__metadata__", {})
    except (OSError, ValueError, MemoryError, OverflowError):  # a snapshot in another format has none
        return {}
    about = ("lorapipe_version", "lorapipe_seal", "lorapipe_settings")
    return {
        key: value
        for key, value in own.items()
        if (key.startswith("lorapipe_") and key not in about) or key == "modelspec.merged_from"
    }


def _safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return found


def _loader(
    family: type[Family],
    base_model_version: str,
    algorithms: Sequence[str],
    rank: int,
    alpha: float,
    args: Mapping[str, str],
) -> dict[str, object]:
    """Return the fields that programs need to load a file; for an embedding only its base."""
    of_base = {"ss_v2": base_model_version.startswith("sd_v2"), "ss_base_model_version": base_model_version}
    if not algorithms:
        return of_base
    found = [Algorithm.of(name) for name in algorithms]
    modules = {algorithm.network_module or family.lora_module for algorithm in found}
    module = modules.pop() if len(modules) == 1 and not BEYOND_LORA & args.keys() else Algorithm.network_module
    kind = {"algo": found[0].algo or found[0].name} if module == Algorithm.network_module and len(found) == 1 else {}
    return {
        **of_base,
        "ss_network_module": module,
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
        "ss_network_args": json.dumps({**kind, **args}),
    }


def _as_text(values: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


BEYOND_LORA = {"dora_wd", "train_norm"}
"""Arguments that only LyCORIS knows, also for a LoRA."""
ORDER = (
    "conv_dim", "loraplus_lr_ratio", "loraplus_text_encoder_lr_ratio", "block_dims", "conv_block_dims", "block_lr",
    "block_alphas", "conv_alpha", "conv_block_alphas", "dropout", "rank_dropout", "module_dropout",
)  # fmt: skip
"""The order of arguments in existing files, so that exports have the same bytes; others follow."""


def _network_args(adapter: Mapping[str, Any]) -> dict[str, str]:
    """Return an adapter's settings as kohya's `network_args`."""
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]
    assert contract.registry is not None
    kind = adapter.get("type", "lora")
    found = contract.registry.get(kind).network_args(adapter) if kind in contract.registry else {}
    known = {name: found[name] for name in ORDER if name in found}
    return {**known, **found}


def _run(record: TrainingRecord, step: int, epoch: int) -> dict[str, Any]:
    accumulation = record.settings.get("accumulation") or 1
    return {
        "ss_steps": step,
        "ss_epoch": epoch,
        "ss_max_train_steps": record.steps,
        "ss_num_epochs": max(1, -(-record.steps * accumulation // max(1, record.batches_per_epoch))),
        "ss_num_train_images": record.pictures_per_epoch,
        "ss_num_reg_images": record.regularisation_per_epoch,
        "ss_num_validation_images": record.held_out,
        "ss_num_batches_per_epoch": record.batches_per_epoch,
        "ss_unet_lr": record.rates.get(_denoiser(record)),
        "ss_text_encoder_lr": _text_encoder_rates(record),
        "ss_learning_rate": max(record.rates.values(), default=None),
        "ss_training_comment": None,
        "ss_sd_scripts_commit_hash": None,
    }


def _denoiser(record: TrainingRecord) -> str:
    """Return the family's name of the denoiser."""
    return _family(record).denoiser


def _family(record: TrainingRecord) -> type[Family]:
    contract: type[Family] = Family  # type: ignore[type-abstract]
    assert contract.registry is not None
    return contract.registry.get(record.family)


def _text_encoder_rates(record: TrainingRecord) -> float | list[float] | None:
    """Return the text encoder's rate, or a list if there are several, as kohya writes it."""
    found = [rate for part, rate in record.rates.items() if part not in (_denoiser(record), EMBEDDING)]
    return found if len(found) > 1 else next(iter(found), None)


def _knobs(record: TrainingRecord) -> dict[str, Any]:
    settings = record.settings
    return {
        "ss_optimizer": _spelled(settings.get("optimizer")),
        "ss_lr_scheduler": (settings.get("scheduler") or {}).get("type"),
        "ss_lr_warmup_steps": record.warmup_steps,
        "ss_seed": settings.get("seed"),
        "ss_clip_skip": settings.get("clip_skip"),
        "ss_max_token_length": settings.get("max_tokens"),
        **_objective(settings),
        "ss_max_grad_norm": settings.get("max_grad_norm"),
        "ss_mixed_precision": settings.get("precision"),
        **dict.fromkeys(("ss_full_fp16", "ss_fp8_base", "ss_fp8_base_unet", "ss_lowram"), False),
        "ss_gradient_checkpointing": settings.get("gradient_checkpointing"),
        "ss_gradient_accumulation_steps": settings.get("accumulation"),
        "ss_network_dropout": (settings.get("adapter") or {}).get("dropout"),
        "ss_cache_latents": True,
        "ss_zero_terminal_snr": record.zero_terminal_snr,
        "ss_prior_loss_weight": settings.get("prior_loss_weight", 1.0),
        "ss_scale_weight_norms": settings.get("scale_weight_norms") or None,
    }


def _objective(settings: Mapping[str, Any]) -> dict[str, Any]:
    loss, weighting, noise = (settings.get(name) or {} for name in ("loss", "weighting", "noise"))
    kind = str(loss.get("type"))
    return {
        "ss_loss_type": {"mse": "l2"}.get(kind, kind),
        "ss_huber_schedule": loss.get("schedule"),
        "ss_huber_c": loss.get("c"),
        "ss_huber_scale": loss.get("scale"),
        "ss_min_snr_gamma": weighting.get("gamma") if weighting.get("type") == "min_snr" else None,
        "ss_debiased_estimation": weighting.get("type") == "debiased",
        "ss_noise_offset": noise.get("offset") or None,
        "ss_adaptive_noise_scale": noise.get("offset_adaptive") or None,
        "ss_noise_offset_random_strength": noise.get("offset_random", False),
        "ss_multires_noise_iterations": noise.get("multires_iterations") or None,
        "ss_multires_noise_discount": noise.get("multires_discount"),
        "ss_ip_noise_gamma": noise.get("perturbation") or None,
        "ss_ip_noise_gamma_random_strength": noise.get("perturbation_random", False),
    }


def _spelled(optimizer: Mapping[str, Any] | None) -> str:
    settings = {key: value for key, value in (optimizer or {}).items() if key != "type" and value != {}}
    arguments = ",".join(f"{key}={value}" for key, value in settings.items())
    return f"{(optimizer or {}).get('type')}({arguments})" if arguments else str((optimizer or {}).get("type"))


def _data(record: TrainingRecord) -> dict[str, Any]:
    captions = record.settings.get("captions") or {}
    buckets = {
        str(index): {"resolution": [int(side) for side in size.split("x")], "count": count}
        for index, (size, count) in enumerate(record.buckets.items())
    }
    return {
        "ss_resolution": f"({record.resolution[0]}, {record.resolution[1]})",
        "ss_batch_size_per_device": record.settings.get("batch"),
        "ss_total_batch_size": record.settings.get("batch"),
        "ss_enable_bucket": len(buckets) > 1,
        **dict.fromkeys(("ss_min_bucket_reso", "ss_max_bucket_reso", "ss_bucket_no_upscale"), None),
        "ss_resize_interpolation": None,
        "ss_bucket_info": json.dumps({"buckets": buckets}),
        "ss_shuffle_caption": captions.get("shuffle", False),
        "ss_keep_tokens": captions.get("keep_tokens", 0),
        "ss_caption_dropout_rate": captions.get("dropout", 0.0),
        "ss_caption_dropout_every_n_epochs": captions.get("dropout_epochs", 0),
        "ss_caption_tag_dropout_rate": captions.get("tag_dropout", 0.0),
        "ss_flip_aug": record.augmented.get("flip", False),
        "ss_color_aug": record.augmented.get("colour", False),
        "ss_face_crop_aug_range": None,
        "ss_random_crop": record.augmented.get("crop", False),
    }


def modelspec(
    architecture: str, prediction: str, title: str, date: str, resolution: Pair | None = None, clip_skip: int = 1,
    trigger: str = "", hint: str = "", thumbnail: str = "", kind: str = "lora",
) -> dict[str, str]:  # fmt: skip
    """Return `modelspec.*` metadata (Stability AI's model metadata standard 1.0.1). `thumbnail` is a data URL.

    `kind` is `lora` or `textual-inversion`, and empty of a checkpoint.
    """
    values = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{architecture}/{kind}".removesuffix("/"),
        "implementation": "https://github.com/Stability-AI/generative-models",
        "title": title,
        "resolution": f"{resolution[0]}x{resolution[1]}" if resolution else "",
        "date": date,
        "prediction_type": {"v_prediction": "v"}.get(prediction, prediction),
        "encoder_layer": str(clip_skip),
        "trigger_phrase": trigger,
        "usage_hint": hint,
        "thumbnail": thumbnail,
    }
    return {f"modelspec.{key}": value for key, value in values.items() if value}


def hashes(data: bytes | memoryview) -> dict[str, str]:
    """Return kohya's two hashes of a safetensors file: of its tensors' bytes, and A1111's old one of 64 KiB at 1 MiB."""
    start = 8 + int.from_bytes(data[:8], "little")
    return {
        "sshs_model_hash": hashlib.sha256(data[start:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(data[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8],
    }
