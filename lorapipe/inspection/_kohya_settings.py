"""Translate sd-scripts' `ss_*` metadata to knobs of `prepare` and `train`.

The fields are those of sd-scripts' `train_network.py` and `library/train_util.py`. A knob is found by kohya's name for it
(`param(kohya=…)`), so that a new adapter or optimizer needs nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorapipe.formats.algorithms import Algorithm
from lorapipe.inspection._metadata_values import Metadata, as_number, as_value
from lorapipe.spec import Spec, knobs, plain
from lorapipe.training.adapters import Adapter
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
    found: dict[str, Any] = {"adapter": _adapter(told, algorithms, rank, alpha, words, remarks)}
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


# -------------------------------------------------------------------------------------------------------- the adapter


def _adapter(
    told: Metadata,
    algorithms: Sequence[str],
    rank: int,
    alpha: float,
    words: Mapping[str, int],
    remarks: list[str],
) -> object:
    args = {str(key): str(value) for key, value in (told.mapping("ss_network_args") or {}).items()}
    module = told.text("ss_network_module")
    if words and not module and not algorithms:
        (word, vectors), *others = words.items()
        if others:
            remarks.append(f"It holds more words: {', '.join(each for each, _ in others)}; each is a training.")
        return {"type": "embedding", "trigger": word, "vectors": vectors}
    algorithm = _algorithm(module, args.pop("algo", ""), algorithms, remarks)
    kind = _adapter_of(algorithm, is_wide=bool(module.startswith("lycoris") or "conv_dim" in args), remarks=remarks)
    cls = _adapters()[kind]
    size = told.number("ss_network_dim") or rank or None
    of_alpha = told.number("ss_network_alpha")
    given = {"network_dim": size, "network_alpha": as_number(str(alpha)) if of_alpha is None else of_alpha}
    dropout = told.number("ss_network_dropout")
    given |= {"network_dropout": dropout} if dropout else {}
    found = _by_kohya_names(cls, {**given, **{key: as_value(value) for key, value in args.items()}}, remarks)
    if "conv_rank" not in found and _has(cls, "conv_rank") and module.startswith("lycoris") and size:
        found["conv_rank"] = size  # LyCORIS' default is network_dim
        if found.get("alpha") and "conv_alpha" not in found:
            found["conv_alpha"] = found["alpha"]
    if isinstance(of_rank := found.get("rank"), int) and float(found.get("alpha", 0)) > of_rank:
        found["force_alpha"] = True
    return {"type": kind, **found} if found else kind


def _algorithm(module: str, algo: str, algorithms: Sequence[str], remarks: list[str]) -> str:
    """Return the registered algorithm that trained a file, by its network module and LyCORIS' `algo`."""
    names = Algorithm.registry.names()
    by_algo = {Algorithm.of(name).algo or name: name for name in names}
    last = module.rsplit(".", 1)[-1].removeprefix("lora_")
    if algo and algo not in ("lora", "locon", *by_algo):
        remarks.append(f"It was trained with LyCORIS' {algo}, which is not trained here: lora stands in its place.")
    told = by_algo.get(algo) or (last if last in names else "")
    return told or ("lora" if module or not algorithms else algorithms[0])


def _adapters() -> dict[str, type[Adapter]]:
    contract: type[Adapter] = Adapter  # type: ignore[type-abstract]  # the registry finds the files
    assert contract.registry is not None
    return {name: contract.registry.get(name) for name in contract.registry.names()}


def _adapter_of(algorithm: str, is_wide: bool, remarks: list[str]) -> str:
    """Return the adapter that trains an algorithm; with several, one that has convolutions if `is_wide`."""
    fitting = [name for name, cls in _adapters().items() if getattr(cls, "algorithm", "") == algorithm]
    if not fitting:
        remarks.append(f"It is {algorithm}, for which there is no adapter here: lora stands in its place.")
        return "lora"
    alike = [name for name in fitting if bool(getattr(_adapters()[name], "convolutions", False)) == is_wide]
    return (alike or fitting)[0]


def _has(cls: type[Spec], name: str) -> bool:
    return any(knob.name == name for knob in knobs(cls))


def _by_kohya_names(cls: type[Spec], given: Mapping[str, object], remarks: list[str]) -> dict[str, Any]:
    """Return the knobs of a class by kohya's names of them, without defaults; others become a remark."""
    names = {name.removeprefix("network_"): knob for knob in knobs(cls) for name in knob.param.kohya}
    found: dict[str, Any] = {}
    unknown = []
    for name, value in given.items():
        knob = names.get(name.removeprefix("network_"))
        if value is None or value is False or value == "":
            continue
        if knob is None:
            unknown += [] if name in ("network_dim", "network_alpha") else [f"{name}={value}"]
            continue
        is_list = isinstance(plain(knob.default()), list)
        shaped = value if not is_list or isinstance(value, list) else [value]
        if shaped != plain(knob.default()):
            found[knob.name] = shaped
    if unknown:
        remarks.append(f"Not translated, of network_args: {', '.join(unknown)}.")
    return found


# ----------------------------------------------------------------------------------- optimizer, rates, scheduler, loss


def _optimizer(told: str, remarks: list[str]) -> object:
    """Translate `bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))`; empty where there is none."""
    if not told:
        return ""
    path, _, arguments = told.partition("(")
    name = path.strip().rsplit(".", 1)[-1].lower()
    contract: type[Optimizer] = Optimizer
    assert contract.registry is not None
    classes = {each: contract.registry.get(each) for each in contract.registry.names()}
    by_class = {str(cls.implementation).rpartition(":")[2].lower(): each for each, cls in classes.items()}
    kind = name if name in classes else by_class.get(name, "")
    if not kind:
        remarks.append(f"Its optimizer is not known here: {told}.")
        return ""
    names = {knob.name for knob in knobs(classes[kind])}
    found, beyond = dict[str, object](), dict[str, object]()
    for key, value in _arguments(arguments.strip().removesuffix(")")):
        if key == "betas" and isinstance(value, list):
            given = zip(("beta1", "beta2", "beta3"), value, strict=False)
            found |= {beta: number for beta, number in given if beta in names}
        elif key in names:
            found[key] = value
        elif key not in ("lr", "params"):
            beyond[key] = value
    chosen = found | ({"arguments": beyond} if beyond else {})
    return {"type": kind, **chosen} if chosen else kind


def _arguments(text: str) -> Iterator[tuple[str, object]]:
    """Yield the arguments of a call: `weight_decay=0.1,betas=(0.9, 0.99)`."""
    for found in re.finditer(r"(\w+)\s*=\s*(\([^()]*\)|\[[^\[\]]*\]|[^,]+)", text):
        yield found[1], as_value(found[2].strip().strip("'\""))


def _rates(told: Metadata, parts: Sequence[str]) -> dict[str, object]:
    """Return the learning rates; a part that is not in the file has 0."""
    usual = told.number("ss_learning_rate")
    texts = told.text("ss_text_encoder_lr").strip("[]").split(",")
    rates = [as_number(each.strip()) for each in texts if each.strip()]
    unet = told.number("ss_unet_lr")
    found: dict[str, object] = {"unet_lr": unet if unet is not None else usual}
    found["text_encoder_lr"] = rates[0] if rates else usual
    if len(rates) > 1 and rates[1] != rates[0]:
        found["text_encoder_2_lr"] = rates[1]
    if parts:
        found |= {"unet_lr": 0} if DENOISER not in parts else {}
        if not any(part.startswith("text encoder") for part in parts):
            found = {key: value for key, value in found.items() if key == "unet_lr"} | {"text_encoder_lr": 0}
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
    found: dict[str, Any] = {}
    for path, name in TRAIN:
        value = as_value(told.text(name)) if told.text(name) else None
        if value is None or value is False or (value == 0 and path != "max_grad_norm"):
            continue
        knob, _, inner = path.partition(".")
        if inner:
            found.setdefault(knob, {})[inner] = value
        elif value != 1 or path in ("scale_weight_norms", "seed"):
            found[knob] = value
    noise = found.get("noise", {})
    kept = {key: value for key, value in noise.items() if NOISE_PAIRS.get(key, key) in noise}
    found |= {"noise": kept} if kept else {}
    if not kept:
        found.pop("noise", None)
    captions = found.get("captions", {})
    if captions.keys() == {"keep_tokens"}:  # without an effect, and refused
        del found["captions"]
    return found


# --------------------------------------------------------------------------------------------------------- the pictures


def prepare_knobs(told: Metadata) -> dict[str, object]:
    """Return the knobs of `prepare` that all of a training's folders share."""
    found: dict[str, object] = {}
    if size := _resolution(told.text("ss_resolution")):
        found["resolution"] = size
    has_buckets = told.text("ss_enable_bucket") != "False"
    if not has_buckets:
        found["enable_bucket"] = False
    is_free = told.flag("ss_bucket_no_upscale")
    for name in ("min_bucket_reso", "max_bucket_reso"):
        value = told.number(f"ss_{name}")
        if value and has_buckets and not is_free:
            found[name] = value
    if is_free and has_buckets:
        found["bucket_no_upscale"] = True
    flags = {
        "flip": told.flag("ss_flip_aug"),
        "colour": told.flag("ss_color_aug"),
        "random_crop": told.flag("ss_random_crop"),
    }
    augment: dict[str, object] = {name: True for name, given in flags.items() if given}
    faces = as_value(told.text("ss_face_crop_aug_range")) if told.text("ss_face_crop_aug_range") else None
    if isinstance(faces, list):
        augment["face_crop"] = faces
        augment.pop("random_crop", None)
    return {**found, "augment": augment} if augment else found


def _resolution(told: str) -> object:
    sides = [int(side) for side in re.findall(r"\d+", told)][:2]
    if not sides or not all(sides):
        return None
    return sides[0] if len({*sides}) == 1 else f"{sides[0]}x{sides[1]}"


def subsets(told: Metadata) -> tuple[list[dict[str, object]], bool]:
    """Return the knobs of each dataset of a dataset config (`ss_datasets`), and whether there was regularisation."""
    has_reg = bool(told.mapping("ss_reg_dataset_dirs"))
    found: list[dict[str, object]] = []
    sets = told.json("ss_datasets")
    for each in sets if isinstance(sets, list) else []:
        if not isinstance(each, dict):
            continue
        size = _resolution(str(each.get("resolution", "")))
        knobs_of_it: dict[str, object] = {"resolution": size} if size else {}
        parts = each.get("subsets")
        inner = [part for part in (parts if isinstance(parts, list) else []) if isinstance(part, dict)]
        has_reg = has_reg or any(part.get("is_reg") for part in inner)
        own = [part for part in inner if not part.get("is_reg")]
        for part in own or [{}]:
            one = dict(knobs_of_it)
            if isinstance(part.get("num_repeats"), int) and part["num_repeats"] > 1:
                one["repeats"] = part["num_repeats"]
            if part.get("class_tokens"):
                one["class_word"] = str(part["class_tokens"])
            if part.get("flip_aug"):
                one["augment"] = {"flip": True}
            found.append(one)
    return found, has_reg


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
