"""The base: its family, from the script and v2, its file, its VAE, what it predicts."""

from __future__ import annotations

from lorapipe.config_import.mapping import Translation
from lorapipe.config_import.user_paths import located
from lorapipe.errors import InputError

OTHERS = {
    "flux_": "FLUX", "sd3_": "SD3", "lumina_": "Lumina", "anima_": "Anima", "hunyuan_image_": "HunyuanImage",
}  # fmt: skip


def translate(made: Translation) -> None:
    """Write the base, which every prepare stage names. `InputError` for a family that lorapipe does not train."""
    options, script = made.options, made.configuration.script
    for prefix, name in OTHERS.items():
        if script.startswith(prefix):
            cure = "lorapipe trains SD1.x, SD2 and SDXL; keep this training where it is."
            raise InputError(f"is a training of {name}.", where=made.configuration.trainer, cure=cure)
    family = "sd15"
    if script.startswith("sdxl_") or options.flag("sdxl"):
        family = "sdxl"
        made.say("sdxl", "base.family: sdxl")
    if options.flag("v2"):
        if family == "sdxl":
            made.idle("v2", "sdxl_train_network.py ignores it")
        else:
            family = "sd2"
            made.say("v2", "base.family: sd2")
    else:
        made.idle("v2", "is off")
    base: dict[str, object] = {"family": family}
    checkpoint = options.text("pretrained_model_name_or_path")
    if checkpoint and checkpoint != "pocket":
        path, remark = located(checkpoint, made.folder, made.target)
        comment = options.mark("pretrained_model_name_or_path")
        base["checkpoint"] = made.draft.variable("checkpoint", path, f"{comment}{remark}")
        made.say("pretrained_model_name_or_path", f"base.checkpoint: {path}{remark}")
    else:
        base["checkpoint"] = made.draft.variable("checkpoint", checkpoint or "./base.safetensors", "the base model")
        made.say("pretrained_model_name_or_path", "base.checkpoint: pocket")
        if not checkpoint:
            made.conflicts.append("no base model is named (pretrained_model_name_or_path): set vars.checkpoint")
    if vae := options.text("vae"):
        path, remark = located(vae, made.folder, made.target)
        base["vae"] = made.draft.variable("vae", path, f"{options.mark('vae')}{remark}")
        made.say("vae", f"base.vae: {path}{remark}")
    made.base = base
    _prediction(made, base)


def _prediction(made: Translation, base: dict[str, object]) -> None:
    options = made.options
    if options.flag("v_parameterization"):
        base["prediction"] = "v_prediction"
        made.say("v_parameterization", "base.prediction: v_prediction")
    elif options.given("v_parameterization"):
        made.idle("v_parameterization", "is off; lorapipe reads from the base what it predicts")
    elif options.given("pretrained_model_name_or_path") and not made.configuration.settings:
        made.effective["prediction"] = (
            "read from the base by lorapipe; epsilon in the original (v_parameterization is off)"
        )
    if options.flag("zero_terminal_snr"):
        if base.get("prediction") == "v_prediction":
            base["zero_terminal_snr"] = True
            made.say("zero_terminal_snr", "base.zero_terminal_snr: true")
        else:
            made.refuse("zero_terminal_snr", "it is for bases that predict v (v_parameterization)")
            made.conflicts.append(
                "zero_terminal_snr without v_parameterization: at the last timestep there is nothing to predict"
            )
    else:
        made.idle("zero_terminal_snr", "is off")
