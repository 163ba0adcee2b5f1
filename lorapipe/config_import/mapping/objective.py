"""The loss, its weighting by noise level, the noise, the text encoder's layer, and the precision."""

from __future__ import annotations

from collections.abc import Mapping

from lorapipe.config_import.mapping import TRAIN, Translation

LOSSES: Mapping[str, str] = {"l2": "mse", "mse": "mse", "l1": "l1", "huber": "huber", "smooth_l1": "smooth_l1"}
PRECISIONS: Mapping[str, str] = {"no": "fp32", "fp16": "auto", "bf16": "bf16", "float": "fp32", "fp32": "fp32"}


def translate(made: Translation) -> None:
    """Write loss, weighting, noise, clip skip, tokens and precision."""
    _loss(made)
    _weighting(made)
    _noise(made)
    _text(made)
    _precision(made)


def _loss(made: Translation) -> None:
    options = made.options
    name = options.text("loss_type", "l2").lower()
    kind = LOSSES.get(name)
    if kind is None:
        made.refuse("loss_type", f"{name[:40]} is not offered: mse is written in its place")
        kind = "mse"
    if options.given("loss_type"):
        made.draft.put(f"{TRAIN}.loss.type", kind, options.mark("loss_type"))
        made.say("loss_type", f"loss: {kind}")
    if kind not in ("huber", "smooth_l1"):
        for each in ("huber_schedule", "huber_c", "huber_scale"):
            made.idle(each, f"the loss is {name}")
        return
    schedule = options.text("huber_schedule", "snr").lower()
    if schedule not in ("snr", "exponential", "constant"):
        made.refuse("huber_schedule", f"{schedule[:40]} is not offered: snr is written in its place")
        schedule = "snr"
    made.use("huber_schedule", "loss.schedule", schedule)
    made.use("huber_c", "loss.c", options.number("huber_c", 0.1))
    if schedule == "snr":
        made.idle("huber_scale", "the snr schedule has no scale")
    elif options.given("huber_scale"):
        made.use("huber_scale", "loss.scale", options.number("huber_scale", 1.0))


def _weighting(made: Translation) -> None:
    """Write one weighting; sd-scripts multiplies several, which is not offered."""
    options = made.options
    wanted = [name for name in WEIGHTINGS if options.number(name) or options.flag(name)]
    unfit = "scale_v_pred_loss_like_noise_pred" if made.base.get("prediction") != "v_prediction" else "v_pred_like_loss"
    if unfit in wanted:
        wanted.remove(unfit)
        made.idle(unfit, "it is for bases that predict v (v_parameterization)" if unfit.startswith("scale")
                  else "it is for bases that predict noise")  # fmt: skip
    chosen = wanted[0] if wanted else ""
    for name in wanted[1:]:
        made.refuse(name, f"one weighting alone is offered: {chosen} counts")
        made.differences.append(f"{name} is multiplied with {chosen} in the original; here {chosen} alone counts")
    kind, knob = WEIGHTINGS.get(chosen, ("none", ""))
    made.draft.put(f"{TRAIN}.weighting.type", kind, options.mark(chosen, usual=made.usual))
    if knob:
        made.use(chosen, f"weighting.{knob}", options.number(chosen))
    else:
        made.say(chosen, f"weighting: {kind}")
    for name in WEIGHTINGS:
        made.idle(name, "0 is off")


WEIGHTINGS: Mapping[str, tuple[str, str]] = {
    "min_snr_gamma": ("min_snr", "gamma"), "debiased_estimation_loss": ("debiased", ""),
    "scale_v_pred_loss_like_noise_pred": ("as_epsilon", ""), "v_pred_like_loss": ("v_like", "share"),
}  # fmt: skip
"""Option → weighting, and its setting that takes the option's number."""


def _noise(made: Translation) -> None:
    options = made.options
    offset, layers = options.number("noise_offset") or 0.0, options.whole("multires_noise_iterations")
    if offset and layers:
        made.conflicts.append(
            "noise_offset and multires_noise_iterations together: sd-scripts stops at both; the offset counts"
        )
        made.refuse("multires_noise_iterations", "noise_offset has the same purpose, and counts")
        layers = 0
    if offset:
        made.use("noise_offset", "noise.offset", offset)
        _switch(made, "noise_offset_random_strength", "noise.offset_random")
        if adaptive := options.number("adaptive_noise_scale"):
            made.use("adaptive_noise_scale", "noise.offset_adaptive", adaptive)
    if layers:
        made.use("multires_noise_iterations", "noise.multires_iterations", layers)
        if options.given("multires_noise_discount"):
            made.use("multires_noise_discount", "noise.multires_discount", options.number("multires_noise_discount"))
    if gamma := options.number("ip_noise_gamma"):
        made.use("ip_noise_gamma", "noise.perturbation", gamma)
        _switch(made, "ip_noise_gamma_random_strength", "noise.perturbation_random")
    reasons = {"noise_offset": "0 is off", "adaptive_noise_scale": "0 is off" if offset else "it needs noise_offset",
               "noise_offset_random_strength": "there is no noise_offset", "multires_noise_iterations": "0 is off",
               "multires_noise_discount": "there is no multires noise", "ip_noise_gamma": "0 is off",
               "ip_noise_gamma_random_strength": "there is no ip_noise_gamma"}  # fmt: skip
    for name, reason in reasons.items():
        made.idle(name, reason)


def _switch(made: Translation, name: str, path: str) -> None:
    if made.options.flag(name):
        made.use(name, path, True)
    else:
        made.idle(name, "is off")


def _text(made: Translation) -> None:
    options = made.options
    skip = options.whole("clip_skip", 1)
    if made.family == "sdxl":
        made.idle("clip_skip", "SDXL always uses the last layer but one; sd-scripts warns, and ignores it")
    elif skip < 2:
        made.idle("clip_skip", "1 is the last layer, as without it")
    else:
        made.use("clip_skip", "clip_skip", min(skip, 12))
    tokens = options.whole("max_token_length", 75)
    if tokens not in (75, 150, 225):
        made.refuse("max_token_length", f"{tokens} is not 75, 150 or 225")
    elif options.given("max_token_length"):
        made.use("max_token_length", "max_tokens", tokens)
    made.effective["tokens"] = str(tokens if tokens in (75, 150, 225) else 75)


def _precision(made: Translation) -> None:
    options = made.options
    written = options.text("mixed_precision", "no").lower()
    precision = PRECISIONS.get(written, "auto")
    if options.flag("full_bf16"):
        precision = "bf16"
        made.say("full_bf16", "precision: bf16; the trained weights stay in fp32")
    else:
        made.idle("full_bf16", "is off")
    if options.flag("full_fp16"):
        precision = "auto"
        made.say("full_fp16", "precision: auto; the trained weights stay in fp32")
    else:
        made.idle("full_fp16", "is off")
    comment = options.mark("mixed_precision", usual=made.usual)
    if precision == "auto":
        comment += "; auto: bf16 or fp16, as the GPU can; fp32 on a CPU"
    made.draft.put(f"{TRAIN}.precision", precision, comment)
    made.say("mixed_precision", f"precision: {precision}")
