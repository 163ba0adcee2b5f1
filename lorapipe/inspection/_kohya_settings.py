"""Translate sd-scripts' `ss_*` metadata to knobs of `prepare` and `train`.

The fields are those of sd-scripts' `train_network.py` and `library/train_util.py`. A knob is found by kohya's name for it
(`param(kohya=…)`), so that a new adapter or optimizer needs nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorapipe.inspection._kohya_network import adapter_document
from lorapipe.inspection._metadata_values import Metadata, as_number, as_value
from lorapipe.spec import Spec, knobs, plain
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.schedulers import Scheduler

TRAIN: tuple[tuple[str, str], ...] = (
    ("batch", "ss_batch_size_per_device"), ("accumulation", "ss_gradient_accumulation_steps"),
    ("clip_skip", "ss_clip_skip"), ("max_tokens", "ss_max_token_length"), ("max_grad_norm", "ss_max_grad_norm"),
    ("scale_weight_norms", "ss_scale_weight_norms"), ("seed", "ss_seed"),
    ("prior_loss_weight", "ss_prior_loss_weight"), ("noise.offset", "ss_noise_offset"),
    ("noise.offset_random", "ss_noise_offset_random_strength"), ("noise.offset_adaptive", "ss_adaptive_noise_scale"),
    ("noise.multires_iterations", "ss_multires_noise_iterations"),
    ("noise.multires_discount", "ss_multires_noise_discount"), ("noise.perturbation", "ss_ip_noise_gamma"),
    ("noise.perturbation_random", "ss_ip_noise_gamma_random_strength"),
    ("captions.shuffle", "ss_shuffle_caption"), ("captions.keep_tokens", "ss_keep_tokens"),
    ("captions.dropout", "ss_caption_dropout_rate"), ("captions.dropout_epochs", "ss_caption_dropout_every_n_epochs"),
    ("captions.tag_dropout", "ss_caption_tag_dropout_rate"),
)  # fmt: skip
"""Knob of `train` ← field; values are numbers and truth values."""
NOISE_PAIRS = {"multires_discount": "multires_iterations", "offset_random": "offset", "offset_adaptive": "offset",
               "perturbation_random": "perturbation"}  # fmt: skip
"""A knob of the noise → the knob without which it has no effect."""
LOSSES = {"l2": "mse", "huber_pseudo": "huber"}
PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16", "fp32": "fp32", "float": "fp32"}
DENOISER = "U-Net"


def without_defaults(cls: type[Spec], document: Mapping[str, Any]) -> dict[str, object]:
    """Return the knobs of a document that differ from their defaults; unknown knobs are left out."""
    found: dict[str, object] = {}
    for knob in knobs(cls):
        if knob.name not in document:
            continue
        value, default = document[knob.name], knob.default()
        if knob.required or value != plain(default):
            short = _short(default, value) if isinstance(value, dict) else value
            if short != {} and not (isinstance(default, Spec) and default.registry and short == default.name):
                found[knob.name] = short
    return found


def _short(default: object, value: dict[str, Any]) -> object:
    """Return a nested document without defaults: a registered name alone where nothing else remains."""
    if not isinstance(default, Spec):
        return value
    cls = type(default)
    if cls.registry is None:
        return without_defaults(cls, value)
    tag = cls.tag
    kind = value.get(tag)
    if not isinstance(kind, str) or kind not in cls.registry:
        return value
    rest = without_defaults(cls.registry.get(kind), value)
    return {tag: kind, **rest} if rest else kind


def train_knobs(
    told: Metadata,
    algorithms: Sequence[str],
    rank: int,
    alpha: float,
    parts: Sequence[str],
    words: Mapping[str, int],
) -> tuple[dict[str, object], list[str]]:
    """Return the knobs of `train`, and remarks. All but `told` are facts of the file's tensors; empty where unknown."""
    remarks: list[str] = []
    found: dict[str, Any] = {"adapter": adapter_document(told, algorithms, rank, alpha, words, remarks)}
    optimizer = _optimizer(told.text("ss_optimizer"), remarks)
    found |= ({"optimizer": optimizer} if optimizer else {}) | _rates(told, parts)
    found |= _scheduler(told, remarks)
    if (steps := told.number("ss_max_train_steps") or told.number("ss_steps")) is not None and steps >= 1:
        found["steps"] = int(steps)
    if told.fields:
        found["weighting"] = _weighting(told)
    found |= _scalars(told)
    if (loss := _loss(told)) is not None:
        found["loss"] = loss
    if precision := PRECISIONS.get(told.text("ss_mixed_precision").lower()):
        found["precision"] = precision
    if told.flag("ss_gradient_checkpointing"):
        found["gradient_checkpointing"] = True
    if told.flag("ss_fp8_base") or told.flag("ss_full_fp16"):
        remarks.append("Its weights were held in fp16 or fp8; here trained weights are fp32.")
    return found, remarks


# ----------------------------------------------------------------------------------- optimizer, rates, scheduler, loss


def _optimizer(told: str, remarks: list[str]) -> object:
    """Translate `bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))`; empty where there is none."""
    if not told:
        return ""
    path, _, arguments = told.partition("(")
    kind = _optimizer_kind(path.strip().rsplit(".", 1)[-1].lower())
    if kind is None:
        remarks.append(f"Its optimizer is not known here: {told}.")
        return ""
    names = {knob.name for knob in knobs(kind)}
    given = dict(_arguments(arguments.strip().removesuffix(")")))
    given |= _betas(given.pop("betas", None))
    found = {key: value for key, value in given.items() if key in names}
    beyond = {key: value for key, value in given.items() if key not in (*names, "lr", "params")}
    chosen = found | ({"arguments": beyond} if beyond else {})
    assert kind.registry is not None
    name = kind.registry.name_of(kind)
    return {"type": name, **chosen} if chosen else name


def _betas(betas: object) -> dict[str, object]:
    return {f"beta{number}": value for number, value in enumerate(betas, 1)} if isinstance(betas, list) else {}


def _optimizer_kind(name: str) -> type[Optimizer] | None:
    """Return the optimizer with this name, or of the library's class with this name, both in small letters."""
    contract: type[Optimizer] = Optimizer
    assert contract.registry is not None
    classes = {each: contract.registry.get(each) for each in contract.registry.names()}
    by_class = {str(cls.implementation).rpartition(":")[2].lower(): cls for cls in classes.values()}
    return classes.get(name) or by_class.get(name)


def _arguments(text: str) -> Iterator[tuple[str, object]]:
    """Yield the arguments of a call: `weight_decay=0.1,betas=(0.9, 0.99)`."""
    for found in re.finditer(r"(\w+)\s*=\s*(\([^()]*\)|\[[^\[\]]*\]|[^,]+)", text):
        yield found[1], as_value(found[2].strip().strip("'\""))


def _rates(told: Metadata, parts: Sequence[str]) -> dict[str, object]:
    """Return the learning rates; a part that is not in the file has 0."""
    usual, unet = told.number("ss_learning_rate"), told.number("ss_unet_lr")
    texts = told.text("ss_text_encoder_lr").strip("[]").replace(",", " ").split()
    rates = [*map(as_number, texts)] or [usual]
    found = {"unet_lr": usual if unet is None else unet, "text_encoder_lr": rates[0]}
    if len({*rates}) > 1:
        found["text_encoder_2_lr"] = rates[1]
    if parts and DENOISER not in parts:
        found["unet_lr"] = 0
    if parts and not any(part.startswith("text encoder") for part in parts):
        found = {"unet_lr": found["unet_lr"], "text_encoder_lr": 0}
    return {key: value for key, value in found.items() if value is not None}


def _scheduler(told: Metadata, remarks: list[str]) -> dict[str, object]:
    name, warmup = told.text("ss_lr_scheduler").lower(), told.number("ss_lr_warmup_steps")
    if not name:
        return {}
    contract: type[Scheduler] = Scheduler  # type: ignore[type-abstract]  # the registry finds the files
    assert contract.registry is not None
    if name not in contract.registry:
        remarks.append(f"Its scheduler is not known here: {name}.")
        return {}
    if warmup and name == "constant":
        warmup = None  # sd-scripts' constant ignores it
    return {"scheduler": {"type": name, "warmup": f"{int(warmup)} steps"} if warmup else name}


def _weighting(told: Metadata) -> object:
    if told.flag("ss_debiased_estimation"):
        return "debiased"
    gamma = told.number("ss_min_snr_gamma")
    return {"type": "min_snr", "gamma": gamma} if gamma else "none"


def _loss(told: Metadata) -> object:
    name = told.text("ss_loss_type")
    kind = LOSSES.get(name, name)
    schedule, c, scale = told.text("ss_huber_schedule"), told.number("ss_huber_c"), told.number("ss_huber_scale")
    if not kind or kind == "mse":
        return None
    if kind == "l1":
        return kind
    given = {"schedule": schedule or None, "c": c, "scale": scale if scale != 1 else None}
    return {"type": kind, **{key: value for key, value in given.items() if value is not None}}


def _scalars(told: Metadata) -> dict[str, object]:
    """Return the knobs of `TRAIN`; those without an effect, which are refused, are left out."""
    found: dict[str, Any] = {}
    for path, name in TRAIN:
        value = as_value(told.text(name)) if told.text(name) else None
        knob, _, inner = path.partition(".")
        if value is None or value is False or (value == 0 and path != "max_grad_norm"):
            continue
        if inner:
            found.setdefault(knob, {})[inner] = value
        else:
            found[knob] = value
    noise = found.pop("noise", {})
    kept = {key: value for key, value in noise.items() if NOISE_PAIRS.get(key, key) in noise}
    if found.get("captions", {}).keys() == {"keep_tokens"}:
        del found["captions"]
    return {**found, "noise": kept} if kept else found


# --------------------------------------------------------------------------------------------------------- the pictures


def prepare_knobs(told: Metadata) -> dict[str, object]:
    """Return the knobs of `prepare` that all of a training's folders share."""
    size = _resolution(told.text("ss_resolution"))
    found: dict[str, object] = {"resolution": size} if size else {}
    found |= _buckets(told)
    flags = {"flip": "ss_flip_aug", "colour": "ss_color_aug", "random_crop": "ss_random_crop"}
    augment: dict[str, object] = {name: True for name, field in flags.items() if told.flag(field)}
    faces = as_value(told.text("ss_face_crop_aug_range"))
    if isinstance(faces, list):
        augment["face_crop"] = faces
        augment.pop("random_crop", None)
    return {**found, "augment": augment} if augment else found


def _buckets(told: Metadata) -> dict[str, object]:
    bounds = {name: told.number(f"ss_{name}") for name in ("min_bucket_reso", "max_bucket_reso")}
    is_free = told.flag("ss_bucket_no_upscale")
    if told.text("ss_enable_bucket") == "False":
        return {"enable_bucket": False}
    if is_free:
        return {"bucket_no_upscale": True}
    return {name: value for name, value in bounds.items() if value}


def _resolution(told: str) -> object:
    sides = [int(side) for side in re.findall(r"\d+", told)][:2]
    if not sides or not all(sides):
        return None
    return sides[0] if len({*sides}) == 1 else f"{sides[0]}x{sides[1]}"


def subsets(told: Metadata) -> tuple[list[dict[str, object]], bool]:
    """Return the knobs of each dataset of a dataset config (`ss_datasets`), and whether there was regularisation."""
    has_reg = bool(told.mapping("ss_reg_dataset_dirs"))
    found: list[dict[str, object]] = []
    for each in _objects(told.json("ss_datasets")):
        inner = _objects(each.get("subsets"))
        own = [part for part in inner if not part.get("is_reg")]
        has_reg = has_reg or len(own) < len(inner)
        size = _resolution(str(each.get("resolution", "")))
        of_all: dict[str, object] = {"resolution": size} if size else {}
        found += [{**of_all, **_subset(part)} for part in own or [{}]]
    return found, has_reg


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list; nothing for any other value."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _subset(part: Mapping[str, Any]) -> dict[str, object]:
    repeats, words = part.get("num_repeats"), part.get("class_tokens")
    found: dict[str, object] = {"repeats": repeats} if isinstance(repeats, int) and repeats > 1 else {}
    found |= {"class_word": str(words)} if words else {}
    return found | ({"augment": {"flip": True}} if part.get("flip_aug") else {})


def folder_remarks(told: Metadata) -> Iterator[str]:
    """Yield what the metadata says of the folders of pictures: their names, repeats and numbers of pictures."""
    for name, what in (("ss_dataset_dirs", "pictures"), ("ss_reg_dataset_dirs", "regularisation pictures")):
        folders = told.mapping(name) or {}
        words = [
            f"{folder} ({counts.get('img_count', '?')} pictures, {counts.get('n_repeats', 1)} repeats)"
            for folder, counts in folders.items()
            if isinstance(counts, dict)
        ]
        if words:
            yield f"The {what} were in: {', '.join(words)}."
