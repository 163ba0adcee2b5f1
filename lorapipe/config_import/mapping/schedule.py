"""The length of the training, the schedule of the rate, batches, snapshots and previews."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.config_import.mapping.optimizer import follows_rate
from lorapipe.config_import.option_values import converted
from lorapipe.config_import.user_paths import found

USUAL_STEPS = 1600
"""kohya's `max_train_steps` where it is not given."""
LEAST_RATE = 1e-7
"""The final rate of transformers' polynomial schedule (`lr_end`)."""
NAMES: Mapping[str, str] = {
    "constant": "constant", "constant_with_warmup": "constant_with_warmup", "linear": "linear", "cosine": "cosine",
    "cosine_with_restarts": "cosine_with_restarts", "polynomial": "polynomial", "cosine_with_min_lr": "cosine",
    "warmup_stable_decay": "warmup_stable_decay", "rex": "rex", "cosineannealinglr": "cosine",
}  # fmt: skip
"""kohya's schedule → ours."""


def translate(made: Translation) -> None:
    """Write length, batch, schedule, snapshots and previews."""
    _batch(made)
    _length(made)
    _schedule(made)
    _snapshots(made)
    _previews(made)


def _batch(made: Translation) -> None:
    options = made.options
    sizes = {view.whole("batch_size") for view in made.views if view.given("batch_size")}
    batch = max(sizes) if sizes else options.whole("train_batch_size", 1) or 1
    if len(sizes) > 1:
        made.differences.append(f"datasets have batches of {sorted(sizes)}; here one training has one: {batch}")
    made.draft.put(f"{TRAIN}.batch", batch, options.mark("train_batch_size", usual="batch_size of the dataset"))
    made.effective["batch"] = str(batch)
    for view in made.views:
        view.settle("batch_size", "used", f"{TRAIN}.batch: {batch}")
    if sizes:
        made.idle("train_batch_size", "the dataset has a batch_size of its own")
    else:
        options.settle("train_batch_size", "used", f"{TRAIN}.batch: {batch}")
    seed = options.option("seed")
    if seed is None and "seed" not in options.implied:
        made.differences.append("no seed is given: the original draws one each time, lorapipe uses 0")
    else:
        made.use("seed", "seed", options.whole("seed") % 2**32)


def _length(made: Translation) -> None:
    options = made.options
    epochs, steps = options.whole("max_train_epochs"), options.whole("max_train_steps", USUAL_STEPS)
    if epochs > 0:
        unit = "epoch" if epochs == 1 else "epochs"
        made.use("max_train_epochs", "steps", f"{epochs} {unit}")
        made.idle("max_train_steps", "max_train_epochs counts")
    else:
        made.idle("max_train_epochs", "0 is unset")
        made.use("max_train_steps", "steps", max(1, steps))


def total_steps(made: Translation) -> int:
    """Return the number of steps where it is known without the pictures; else 0."""
    value = made.draft.get(f"{TRAIN}.steps")
    return value if isinstance(value, int) else 0


def _schedule(made: Translation) -> None:
    options = made.options
    name = options.text("lr_scheduler", "constant").lower()
    name = _own_kind(made, name)
    kind = NAMES.get(name)
    if not follows_rate(made):
        for each in SCHEDULE:
            made.idle(each, "AdaFactor with relative_step has its own schedule")
        return
    if kind is None:
        kind = "constant"
        made.refuse("lr_scheduler", f"{name[:40]} is not offered: constant is written in its place")
        made.differences.append(f"the schedule {name[:40]} is not offered; the rate is constant")
    warmup = _warmup(made, kind)
    if kind == "constant_with_warmup" and not warmup:
        kind = "constant"
    made.draft.put(f"{TRAIN}.scheduler.type", kind, options.mark("lr_scheduler", "lr_scheduler_type", usual=made.usual))
    made.say("lr_scheduler", f"scheduler: {kind}")
    if warmup:
        made.use("lr_warmup_steps", "scheduler.warmup", warmup)
        made.effective["warm-up"] = f"{warmup}; its first step has a rate above 0 here, 0 in the original"
        _guard_prodigy(made)
    elif kind == "warmup_stable_decay":
        made.draft.put(f"{TRAIN}.scheduler.warmup", 0, made.usual)
    _shape(made, kind, name)


SCHEDULE = ("lr_scheduler", "lr_scheduler_type", "lr_warmup_steps", "lr_scheduler_num_cycles", "lr_scheduler_power",
            "lr_decay_steps", "lr_scheduler_min_lr_ratio")  # fmt: skip


def _own_kind(made: Translation, name: str) -> str:
    """Return the schedule's name, with a class of one's own (`lr_scheduler_type`) before it."""
    options = made.options
    for each in options.under("lr_scheduler_args"):
        made.refuse(f"lr_scheduler_args.{each}", "arguments of a scheduler of one's own are not offered")
    written = options.text("lr_scheduler_type")
    if not written:
        return name
    plain = written.rpartition(".")[2].lower()
    if plain in NAMES:
        made.say("lr_scheduler_type", f"scheduler: {NAMES[plain]}")
        made.idle("lr_scheduler", "lr_scheduler_type counts")
        return plain
    made.refuse("lr_scheduler_type", "schedulers of one's own are not offered")
    made.idle("lr_scheduler", "lr_scheduler_type counts")
    return plain


def _warmup(made: Translation, kind: str) -> str:
    """Return the warm-up as our language has it; empty for none."""
    options = made.options
    text = str(options.value("lr_warmup_steps") or "").strip()
    share = converted(text.removesuffix("%").strip(), "number") if text else None
    if not isinstance(share, float) or share <= 0:
        if text and not isinstance(share, float):
            made.refuse("lr_warmup_steps", f"{text[:40]!r} is neither a number of steps nor a share")
        else:
            made.idle("lr_warmup_steps", "0 is none")
        return ""
    if kind == "constant":
        made.idle("lr_warmup_steps", "the schedule constant has no warm-up; constant_with_warmup has")
        return ""
    if text.endswith("%") or share < 1:
        per_cent = share if text.endswith("%") else share * 100
        return f"{round(per_cent, 9):g} %"
    return f"{int(share)} steps"


def _guard_prodigy(made: Translation) -> None:
    """Prodigy's estimate is misled by a warm-up without its safeguard."""
    place = f"{TRAIN}.optimizer"
    if made.draft.get(f"{place}.type") == "prodigy" and not made.draft.get(f"{place}.safeguard_warmup"):
        made.draft.put(f"{place}.safeguard_warmup", True, "the warm-up would mislead the step size without it")
        made.conflicts.append("Prodigy with a warm-up but without safeguard_warmup=True: the small rates mislead its step "
                              "size; safeguard_warmup: true is written")  # fmt: skip
        made.refuse("optimizer_args.safeguard_warmup", "with a warm-up it has to be true")


def _shape(made: Translation, kind: str, name: str) -> None:
    """Write cycles, power, decay and end of the schedule."""
    options, rate = made.options, made.options.number("learning_rate", 2e-6)
    if kind == "cosine_with_restarts":
        made.use(
            "lr_scheduler_num_cycles",
            "scheduler.cycles",
            max(1, int(options.number("lr_scheduler_num_cycles", 1) or 1)),
        )
    else:
        made.idle("lr_scheduler_num_cycles", f"{name} has no cycles")
    if kind == "polynomial":
        made.use("lr_scheduler_power", "scheduler.power", options.number("lr_scheduler_power", 1.0) or 1.0)
        if rate and rate > LEAST_RATE:
            made.draft.put(f"{TRAIN}.scheduler.end", LEAST_RATE / rate, "the original ends at a rate of 1e-7")
    else:
        made.idle("lr_scheduler_power", f"{name} has no power")
    _end(made, name)
    if kind == "warmup_stable_decay":
        _decay(made)
    else:
        made.idle("lr_decay_steps", f"{name} has no decay of its own length")


def _end(made: Translation, name: str) -> None:
    least = made.options.number("lr_scheduler_min_lr_ratio", 0.0) or 0.0
    if name in ("cosine_with_min_lr", "warmup_stable_decay") and 0 < least < 1:
        made.use("lr_scheduler_min_lr_ratio", "scheduler.end", least)
    else:
        made.idle("lr_scheduler_min_lr_ratio", f"{name} has no least rate")


def _decay(made: Translation) -> None:
    steps, decay = total_steps(made), made.options.number("lr_decay_steps", 0.0) or 0.0
    if 0 < decay < 1:
        made.use("lr_decay_steps", "scheduler.decay", decay)
    elif decay >= 1 and steps:
        made.use("lr_decay_steps", "scheduler.decay", round(min(1.0, decay / steps), 6))
    else:
        made.refuse("lr_decay_steps", "a share of the training is written here; a fifth is usual")
    made.differences.append("the decay of warmup_stable_decay falls as 1 − √t here, by a cosine in the original")


# ------------------------------------------------------------------------------------------------- snapshots, previews


def _snapshots(made: Translation) -> None:
    options = made.options
    epochs, steps = options.whole("save_every_n_epochs"), options.whole("save_every_n_steps")
    ratio, total = options.whole("save_n_epoch_ratio"), options.whole("max_train_epochs")
    if ratio > 0:
        made.idle("save_every_n_epochs", "save_n_epoch_ratio counts")
        every = f"every {max(1, total // ratio)} epochs" if total else ratio
        made.use("save_n_epoch_ratio", "snapshots", every)
    elif epochs > 0:
        made.use("save_every_n_epochs", "snapshots", f"every {epochs} epochs")
    elif steps > 0:
        made.use("save_every_n_steps", "snapshots", f"every {steps} steps")
    else:
        made.draft.put(f"{TRAIN}.snapshots", 1, f"{made.usual}: only the end is saved")
    if (ratio > 0 or epochs > 0) and steps > 0:
        made.refuse("save_every_n_steps", "snapshots have one distance here, that of the epochs")
    for name in ("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio"):
        made.idle(name, "0 is off")


def _previews(made: Translation) -> None:
    options = made.options
    prompts = _prompts(made) if options.given("sample_prompts") else []
    epochs, steps = options.whole("sample_every_n_epochs"), options.whole("sample_every_n_steps")
    if not prompts:
        for name in ("sample_every_n_epochs", "sample_every_n_steps", "sample_prompts"):
            made.idle(
                name, "there are no prompts to sample" if name != "sample_prompts" else "there are no prompts in it"
            )
        return
    if not (epochs > 0 or steps > 0):
        made.idle("sample_prompts", "sample_every_n_epochs or sample_every_n_steps says how often")
        return
    made.draft.put(f"{TRAIN}.preview_prompts", prompts, options.mark("sample_prompts"))
    made.say("sample_prompts", f"preview_prompts: {len(prompts)} prompts, without their own sizes, seeds and steps")
    if epochs > 0:
        made.use("sample_every_n_epochs", "previews", f"every {epochs} epochs")
        made.idle("sample_every_n_steps", "sample_every_n_epochs counts")
    else:
        made.idle("sample_every_n_epochs", "0 is off")
        made.use("sample_every_n_steps", "previews", f"every {steps} steps")


def _prompts(made: Translation) -> list[str]:
    """Return the prompts of the file that the option names, or those in it."""
    value = made.options.value("sample_prompts")
    text = str(value)
    if "\n" not in text and text.endswith((".txt", ".json", ".toml")):
        path = found(text, made.folder)
        if path is None or path.suffix != ".txt":
            what = "the file is not here" if path is None else "prompts are read from .txt files"
            made.refuse("sample_prompts", f"{what}: write preview_prompts")
            return []
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(100_000)
    lines = [re.sub(r"\s--[a-z]+\s.*", "", line).strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")][:20]
