"""The optimizer with the defaults of its library, which the original uses, and the learning rates of each part."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.config_import.mapping.captions import encodes_raw
from lorapipe.config_import.option_values import converted, literal
from lorapipe.pipeline.contracts import contracts
from lorapipe.pipeline.yaml_text import number
from lorapipe.spec import Knob, Spec, knobs, registry_of

USUAL_RATE = 2e-6
"""kohya's `learning_rate` where it is not given."""
NAMES: Mapping[str, str] = {
    "adamw": "adamw", "adamw8bit": "adamw8bit", "pagedadamw": "adamw", "pagedadamw8bit": "adamw8bit",
    "pagedadamw32bit": "adamw", "lion": "lion", "lion8bit": "lion8bit", "pagedlion8bit": "lion8bit",
    "sgdnesterov": "sgd_nesterov", "sgdnesterov8bit": "sgd_nesterov8bit", "adafactor": "adafactor",
    "dadaptation": "dadapt_adam", "dadaptadam": "dadapt_adam", "dadaptadampreprint": "dadapt_adam",
    "dadaptlion": "dadapt_lion", "dadaptsgd": "dadapt_sgd", "prodigy": "prodigy", "came": "came",
    "adamwschedulefree": "schedule_free_adamw", "prodigyplusschedulefree": "prodigy_plus_schedule_free",
    "adam": "adamw", "adam8bit": "adamw8bit",
}  # fmt: skip
"""Optimizer, without the library's path and in small letters → ours."""
UNLIKE: Mapping[str, str] = {
    "dadaptation": "D-Adaptation's preprint version is not offered: dadapt_adam is its successor",
    "dadaptadampreprint": "D-Adaptation's preprint version is not offered: dadapt_adam is its successor",
    "pagedadamw": "paging of the optimizer's state is left out: it changes memory alone",
    "pagedadamw8bit": "paging of the optimizer's state is left out: it changes memory alone",
    "pagedadamw32bit": "paging of the optimizer's state is left out: it changes memory alone",
    "pagedlion8bit": "paging of the optimizer's state is left out: it changes memory alone",
    "adam": "Adam without decoupled weight decay is not offered: adamw without weight decay is the same",
}
LIBRARY: Mapping[str, Mapping[str, object]] = {
    "lion": {"weight_decay": 0.0}, "lion8bit": {"weight_decay": 0.0}, "schedule_free_adamw": {"weight_decay": 0.0},
    "dadapt_adam": {"weight_decay": 0.0, "decouple": False}, "dadapt_lion": {"weight_decay": 0.0},
    "dadapt_sgd": {"momentum": 0.0, "growth_rate": None},
    "prodigy": {"weight_decay": 0.0, "d_coef": 1.0, "use_bias_correction": False},
    "adafactor": {"warmup_init": False}, "came": {"weight_decay": 0.0},
}  # fmt: skip
"""The library's defaults, where ours (the guide's) differ."""
SMALLER: Mapping[str, str] = {"adamw8bit": "adamw", "lion8bit": "lion", "sgd_nesterov8bit": "sgd_nesterov"}
"""8-bit optimizer → the same in 32 bits."""
STEEP = 0.02
"""Rates that optimizers of a fixed rate stay below, and adaptive ones above."""


def translate(made: Translation) -> None:
    """Write the optimizer and the rates."""
    kind = _kind(made)
    _arguments(made, kind)
    _rates(made, kind)


def class_of(kind: str) -> type[Spec]:
    """Return the class of an optimizer."""
    return registry_of(contracts()["optimizer"]).get(kind)


def follows_rate(made: Translation) -> bool:
    """Whether the optimizer uses learning rates and schedules: Adafactor has its own by default."""
    return (
        made.draft.get(f"{TRAIN}.optimizer.type") != "adafactor"
        or made.draft.get(f"{TRAIN}.optimizer.relative_step") is False
    )


def is_adaptive(made: Translation) -> bool:
    """Whether rates are factors on a step size that the optimizer finds."""
    return getattr(class_of(str(made.draft.get(f"{TRAIN}.optimizer.type"))), "adaptive", False) is True


def _kind(made: Translation) -> str:
    options = made.options
    written = options.text("optimizer_type", "AdamW")
    for name, meant in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if options.flag(name):
            if options.given("optimizer_type"):
                made.idle(name, "optimizer_type is given too: the original stops at both")
                made.conflicts.append(
                    f"{name} and optimizer_type together: the original stops; optimizer_type counts here"
                )
            else:
                written = meant
                made.say(name, f"optimizer: {NAMES[meant.lower()]}")
        else:
            made.idle(name, "is off")
    plain = re.sub(r"[^a-z0-9]", "", written.rpartition(".")[2].lower())
    kind = NAMES.get(plain)
    if kind is None:
        kind = "adamw"
        made.refuse("optimizer_type", f"{written[:60]} is not offered: adamw is written in its place")
        made.differences.append(f"the optimizer {written[:60]} is not offered; adamw is written, with the same rates")
    elif plain in UNLIKE:
        made.differences.append(UNLIKE[plain])
    if kind in SMALLER and any("needs" in problem.what for problem in class_of(kind)().problems()):
        made.differences.append(
            f"{kind} needs bitsandbytes, which is not installed here: {SMALLER[kind]} is the same in 32 bits"
        )
        kind = SMALLER[kind]
    made.draft.put(f"{TRAIN}.optimizer.type", kind, options.mark("optimizer_type", "use_8bit_adam", "use_lion_optimizer",
                                                                 usual=made.usual))  # fmt: skip
    made.say("optimizer_type", f"optimizer: {kind}")
    return kind


def _arguments(made: Translation, kind: str) -> None:
    """Write the library's defaults and the arguments that are given."""
    if not made.configuration.settings:
        for name, value in LIBRARY.get(kind, {}).items():
            made.draft.put(f"{TRAIN}.optimizer.{name}", value, "the library's default")
    known = {knob.name: knob for knob in knobs(class_of(kind)) if knob.name != "arguments"}
    for name, text in made.options.under("optimizer_args").items():
        full, value = f"optimizer_args.{name}", literal(text)
        if name == "betas":
            _betas(made, full, value, known)
        elif name in ("lr", "params"):
            made.idle(full, "the rates count")
        elif name not in known:
            _further(made, kind, full, name, value)
        else:
            _argument(made, full, known[name], value)
    if kind == "adafactor":
        _adafactor(made)


def _argument(made: Translation, full: str, knob: Knob, value: object) -> None:
    """Write an argument that is a setting of the optimizer."""
    wanted = knob.shape.kind
    if wanted == "boolean" and isinstance(value, (bool, int)):
        value = bool(value)
    elif wanted == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = float(value)
    elif not (wanted == "integer" and type(value) is int) and not (value is None and knob.shape.optional):
        made.refuse(full, f"{str(value)[:60]!r} is no value for it")
        return
    made.draft.put(f"{TRAIN}.optimizer.{knob.name}", value, made.options.mark(full))
    made.options.settle(full, "used", f"{TRAIN}.optimizer.{knob.name}: {value}")


def _betas(made: Translation, full: str, value: object, known: Mapping[str, object]) -> None:
    numbers = (
        value if isinstance(value, (tuple, list)) else [converted(each, "number") for each in str(value).split(",")]
    )
    names = [name for name in ("beta1", "beta2", "beta3") if name in known]
    if not names or len(numbers) < len(names) or not all(isinstance(each, (int, float)) for each in numbers):
        made.refuse(full, "these betas do not fit the optimizer")
        return
    for name, each in zip(names, numbers, strict=False):
        made.draft.put(f"{TRAIN}.optimizer.{name}", float(str(each)), made.options.mark(full))
    made.options.settle(full, "used", f"{TRAIN}.optimizer: {', '.join(names)}")


def _further(made: Translation, kind: str, full: str, name: str, value: object) -> None:
    """Write an argument that is no setting of its own, if the library's class knows it."""
    probe = class_of(kind)(arguments={name: value})  # type: ignore[call-arg]
    if isinstance(value, tuple):
        value = list(value)
    if any(probe.problems()):
        made.refuse(full, f"{kind}'s library has no such argument here")
        return
    made.draft.put(f"{TRAIN}.optimizer.arguments.{name}", value, made.options.mark(full))
    made.options.settle(full, "used", f"{TRAIN}.optimizer.arguments.{name}")


def _adafactor(made: Translation) -> None:
    place = f"{TRAIN}.optimizer"
    if made.draft.get(f"{place}.relative_step") is False and made.draft.get(f"{place}.warmup_init"):
        made.draft.put(f"{place}.warmup_init", False, "sd-scripts switches it off without relative_step")
        made.idle("optimizer_args.warmup_init", "sd-scripts switches it off without relative_step")


# --------------------------------------------------------------------------------------------------------------- rates


def _rates(made: Translation, kind: str) -> None:
    options = made.options
    master = options.number("learning_rate", USUAL_RATE)
    assert master is not None
    own = _text_rates(made)
    rates = {"unet_lr": options.number("unet_lr", master), "text_encoder_lr": own[0] if own else master}
    if len(own) > 1 and made.family == "sdxl" and own[1] != own[0]:
        rates["text_encoder_2_lr"] = own[1]
    trained = _trained(made, rates)
    if not follows_rate(made):
        _own_schedule(made, rates, trained)
        return
    embedding = made.draft.get(f"{TRAIN}.adapter.type") == "embedding"
    if embedding:
        rates = {"embedding_lr": master}
    _adjust(made, kind, rates)
    _put_rates(made, rates, master)
    _settle_rates(made, rates, embedding)


def _put_rates(made: Translation, rates: Mapping[str, float | None], master: float) -> None:
    """Write the effective rates, with the option that each comes from."""
    for name, rate in rates.items():
        source = _source(made, name)
        value = float(rate or 0)
        comment = _mark(made, name) or f"{source}: {number(master)}"
        if not value:
            source = comment = "not trained in the original"
        made.draft.put(f"{TRAIN}.{name}", value, comment)
        made.effective[name] = f"{number(value)}, {source}" if not value else f"{number(value)}, from {source}"


def _text_rates(made: Translation) -> list[float]:
    """Return the rates of the text encoders that are given."""
    options = made.options
    for name in ("text_encoder_lr", "text_encoder_lr1", "learning_rate_te", "learning_rate_te1"):
        value = options.value(name)
        items = value if isinstance(value, list) else [] if value is None else [value]
        numbers = [rate for each in items if isinstance(rate := converted(each, "number"), float)]
        second = next(
            (options.number(each) for each in ("text_encoder_lr2", "learning_rate_te2") if options.given(each)), None
        )
        if numbers:
            return [*numbers[:1], second] if second is not None else numbers
    return []


def _trained(made: Translation, rates: dict[str, float | None]) -> bool:
    """Set rates of parts that are not trained to 0, and return whether any is trained."""
    options = made.options
    frozen = _frozen_text(made)
    for flag, part in (("network_train_unet_only", "text"), ("network_train_text_encoder_only", "unet")):
        if options.flag(flag) and not (part == "unet" and "text" in frozen):
            frozen.add(part)
            made.say(flag, "text_encoder_lr: 0" if part == "text" else "unet_lr: 0")
        else:
            made.idle(flag, "is off, or the other part is left out already")
    rates.update({name: 0.0 for name in rates if name.startswith(tuple(frozen) or "-")})
    return any(rates.values())


def _frozen_text(made: Translation) -> set[str]:
    """Return `{"text"}` where the script or its cache leaves the text encoders out."""
    options, script = made.options, made.configuration.script
    made.say("train_text_encoder", "text_encoder_lr")
    if script == "train_db" and options.given("stop_text_encoder_training"):
        if options.whole("stop_text_encoder_training") < 0:
            made.say("stop_text_encoder_training", "text_encoder_lr: 0")
            return {"text"}
        made.refuse("stop_text_encoder_training", "it is trained to the end; a lower text_encoder_lr is nearest")
    if encodes_raw(made) and not options.flag("network_train_unet_only"):
        made.conflicts.append("cache_text_encoder_outputs without network_train_unet_only: sd-scripts stops, since encoders "
                              "whose outputs are cached cannot be trained; text_encoder_lr: 0 is written")  # fmt: skip
        return {"text"}
    trains = script.endswith(("train_network", "textual_inversion", "train_db")) or options.flag("train_text_encoder")
    return set() if trains else {"text"}


def _adjust(made: Translation, kind: str, rates: dict[str, float | None]) -> None:
    """Change rates that the optimizer cannot use: different ones for one estimate, or those of another kind."""
    positive = {rate for rate in rates.values() if rate}
    if len(positive) > 1 and getattr(class_of(kind), "one_rate", False) is True:
        chosen = rates["unet_lr"] or max(positive)
        rates.update(dict.fromkeys(filter(rates.get, rates), chosen))
        made.conflicts.append(f"{kind} finds one step size: different rates for U-Net and text encoder cannot work; "
                              f"{number(chosen)} is written for both")  # fmt: skip
    adaptive = is_adaptive(made)
    what = TOO_LOW if adaptive else TOO_HIGH
    for name, rate in [(name, rate) for name, rate in rates.items() if _is_wrong(rate, adaptive)]:
        rates[name] = usual = 1.0 if adaptive else USUAL_RATES[name]
        made.conflicts.append(
            f"{name} {number(rate or 0)} is no rate for {kind}, which {what}: {number(usual)} is written"
        )


def _is_wrong(rate: float | None, adaptive: bool) -> bool:
    """Whether a rate above 0 is for the other kind of optimizer."""
    return bool(rate) and adaptive != (float(rate or 0) >= STEEP)


TOO_LOW = "multiplies its own step size by it, and would learn next to nothing"
TOO_HIGH = "uses it as it is, and would destroy the network within a few steps"
USUAL_RATES = {"unet_lr": 1e-4, "text_encoder_lr": 5e-5, "text_encoder_2_lr": 5e-5, "embedding_lr": 5e-3}


def _own_schedule(made: Translation, rates: Mapping[str, float | None], trained: bool) -> None:
    """Leave the rates to an optimizer that has its own."""
    for name in ("learning_rate", "unet_lr", "text_encoder_lr"):
        made.idle(name, "AdaFactor with relative_step sets its own rate")
    for name, rate in rates.items():
        if rate == 0 and trained:
            made.draft.put(f"{TRAIN}.{name}", 0.0, "not trained in the original")
    made.effective["rates"] = "AdaFactor's own (relative_step): at most 1/√step"


def _source(made: Translation, name: str) -> str:
    """Return the option that an effective rate comes from."""
    options = made.options
    if name == "unet_lr" and options.given("unet_lr"):
        return "unet_lr"
    if name.startswith("text") and (given := [each for each in TEXT_RATES if options.given(each)]):
        return given[0]
    return (
        "learning_rate"
        if options.given("learning_rate") or "learning_rate" in options.implied
        else "learning_rate's default"
    )


TEXT_RATES = ("text_encoder_lr", "text_encoder_lr1", "learning_rate_te", "learning_rate_te1")


def _mark(made: Translation, name: str) -> str:
    source = _source(made, name)
    return made.options.mark(source)


def _settle_rates(made: Translation, rates: Mapping[str, float | None], embedding: bool) -> None:
    options = made.options
    told = sorted(rates.items(), key=lambda pair: bool(pair[1]))  # a rate above 0 says more of an option than 0
    sources = {_source(made, name): f"{TRAIN}.{name}: {number(float(rate or 0))}" for name, rate in told}
    for name in ("unet_lr", *TEXT_RATES, "text_encoder_lr2", "learning_rate_te2"):
        if embedding:
            made.idle(name, "textual inversion trains vectors alone")
        elif name in sources:
            options.settle(name, "used", sources[name])
        elif name.endswith("2") and "text_encoder_2_lr" in rates:
            options.settle(name, "used", f"{TRAIN}.text_encoder_2_lr: {number(float(rates['text_encoder_2_lr'] or 0))}")
        else:
            made.idle(name, "another option counts")
    used = [text for source, text in sources.items() if source == "learning_rate"]
    if used:
        options.settle("learning_rate", "used", used[0])
    else:
        made.idle("learning_rate", "each part has a rate of its own")
