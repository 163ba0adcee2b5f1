"""The network: its kind, rank, alpha, blocks, dropouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.config_import.mapping.block_rates import block_rates, plain_number
from lorapipe.config_import.option_table import BLOCK_RATES, NETWORK_ARGS
from lorapipe.config_import.option_values import converted, literal
from lorapipe.config_import.user_paths import located
from lorapipe.pipeline.contracts import contracts
from lorapipe.pipeline.yaml_text import number
from lorapipe.spec import knobs, registry_of

USUAL_RANK, USUAL_ALPHA = 4, 1.0
"""kohya's `network_dim` and `network_alpha` where they are not given."""
LYCORIS: Mapping[str, str] = {
    "lora": "locon", "locon": "locon", "loha": "loha", "lokr": "lokr", "glora": "glora", "ia3": "ia3", "full": "full",
    "diag-oft": "oft", "oft": "oft",
}  # fmt: skip
"""LyCORIS' algorithm → adapter."""
MODULES: Mapping[str, str] = {"networks.lora": "lora", "networks.loha": "loha", "networks.lokr": "lokr",
                              "networks.oft": "oft", "locon.locon_kohya": "locon", "networks.lora_fa": "lora",
                              "networks.dylora": "lora"}  # fmt: skip
"""kohya's module → adapter."""
UNLIKE: Mapping[str, str] = {
    "networks.lora_fa": "LoRA-FA keeps `down` fixed; here both matrices are trained",
    "networks.dylora": "DyLoRA trains for several ranks at once; here the rank is the one that is set",
}
LISTS = ("block_ranks", "conv_block_ranks", "block_alphas", "conv_block_alphas")
FLAGS = ("tucker", "dora", "rs_lora", "norms", "decompose_both", "full_matrix", "on_input")


def translate(made: Translation) -> None:
    """Write the adapter."""
    if made.configuration.script.endswith("textual_inversion"):
        _embedding(made)
        return
    if not made.configuration.script.endswith("train_network"):
        _finetune(made)
        return
    kind = _kind(made)
    made.draft.put(f"{TRAIN}.adapter.type", kind, made.options.mark("network_module", "network_args.algo",
                                                                    usual="networks.lora"))  # fmt: skip
    _size(made, kind)
    _arguments(made, kind)
    if weights := made.options.text("network_weights"):
        path, remark = located(weights, made.folder, made.target)
        made.use("network_weights", "start_from", path)
        if remark:
            made.conflicts.append(f"network_weights {path}{remark}")


def _kind(made: Translation) -> str:
    """Return the adapter."""
    options = made.options
    module, algo = options.text("network_module", "networks.lora"), options.text("network_args.algo", "lora").lower()
    if module.startswith("lycoris"):
        kind = LYCORIS.get(algo)
        if kind is None:
            made.refuse("network_args.algo", f"LyCORIS' {algo} is not offered: a LoRA is written in its place")
            made.differences.append(f"algo={algo} is not offered; the pipeline trains a LoRA of convolutions (locon)")
            kind = "locon"
        made.say("network_args.algo", f"adapter: {kind}")
    else:
        kind = MODULES.get(module, "")
        made.idle("network_args.algo", f"only lycoris.kohya reads it, not {module}")
    if kind == "lora" and options.given("network_args.conv_dim"):
        kind = "locon"
    if kind:
        made.say("network_module", f"adapter: {kind}")
    else:
        made.refuse("network_module", f"{module} is not offered: a LoRA is written in its place")
    if module in UNLIKE:
        made.differences.append(UNLIKE[module])
    return kind or "lora"


def names_of(kind: str) -> set[str]:
    """Return the settings that an adapter has."""
    return {knob.name for knob in knobs(registry_of(contracts()["adapter"]).get(kind))}


def _size(made: Translation, kind: str) -> None:
    """Write rank and alpha, with kohya's defaults."""
    options, known = made.options, names_of(kind)
    rank = options.whole("network_dim") or USUAL_RANK
    alpha = options.number("network_alpha", USUAL_ALPHA) or 0.0
    if "rank" in known:
        made.use("network_dim", "adapter.rank", rank)
        made.use("network_alpha", "adapter.alpha", alpha)
        scale = (alpha or rank) / rank
        made.effective["scale"] = f"alpha {number(alpha or float(rank))} / rank {rank} = {scale:.4g}"
        if alpha > rank:
            made.draft.put(
                f"{TRAIN}.adapter.force_alpha", True, "alpha above the rank over-fits; so it is in the original"
            )
    elif "block_size" in known:
        made.use("network_dim", "adapter.block_size", rank)
        if options.text("network_module") == "networks.oft":
            made.use("network_alpha", "adapter.constraint", alpha)
        made.idle("network_alpha", f"{kind} has no alpha")
    else:
        made.idle("network_dim", f"{kind} has no rank")
        made.idle("network_alpha", f"{kind} has no alpha")


def _arguments(made: Translation, kind: str) -> None:
    """Write the arguments of the network."""
    options, known = made.options, names_of(kind)
    is_lycoris = options.text("network_module").startswith("lycoris")
    if dropout := options.number("network_dropout"):
        _written(made, kind, "network_dropout", "dropout", dropout)
    else:
        made.idle("network_dropout", "0 is off")
    for name, knob in NETWORK_ARGS.items():
        full = f"network_args.{name}"
        if not options.given(full) and full not in options.implied:
            continue
        if knob in known or knob == "preset":
            _argument(made, kind, full, knob)
        else:
            made.idle(full, f"{kind} has no such setting")
    if is_lycoris:
        _of_lycoris(made, kind, known)
    elif kind == "locon" and not options.given("network_args.conv_alpha"):
        made.draft.put(f"{TRAIN}.adapter.conv_alpha", 1.0, made.usual)
    _strong_convolutions(made)
    if any(options.given(f"network_args.{name}") for name in BLOCK_RATES):
        block_rates(made)


def _strong_convolutions(made: Translation) -> None:
    rank, alpha = (made.draft.get(f"{TRAIN}.adapter.{name}") for name in ("conv_rank", "conv_alpha"))
    if isinstance(rank, int) and isinstance(alpha, float) and rank and alpha > rank:
        made.draft.put(f"{TRAIN}.adapter.force_alpha", True, "alpha above the rank over-fits; so it is in the original")


def _written(made: Translation, kind: str, name: str, knob: str, value: object) -> None:
    if knob in names_of(kind):
        made.use(name, f"adapter.{knob}", value)
    else:
        made.idle(name, f"{kind} has no {knob}")


def _argument(made: Translation, kind: str, name: str, knob: str) -> None:
    """Write an argument with the type of its setting."""
    text = str(made.options.value(name))
    value = argument_value(text, knob)
    if value is None:
        made.refuse(name, f"{text[:60]!r} is no value for it")
    elif knob.endswith("dropout") and not value:
        made.idle(name, "0 is off")
    elif knob == "lora_plus" and value == 1.0:
        made.idle(name, "1 is plain LoRA")
    else:
        made.use(name, f"adapter.{knob}", value)


def argument_value(text: str, knob: str) -> object:
    """Return an argument's value for a setting of an adapter; None if it is none."""
    if knob in LISTS:
        numbers = [plain_number(part) for part in re.split(r"[,\s]+", text.strip("[]() ")) if part]
        return None if None in numbers else numbers
    if knob in SPELLED:
        return SPELLED[knob](text)
    if knob in ("conv_rank", "factor", "block_size"):
        return converted(text, "whole")
    return converted(text, "flag" if knob in FLAGS else "number")


def _patterns(text: str) -> list[str]:
    value = literal(text)
    return [str(each) for each in value] if isinstance(value, list) else [text]


def _module_ranks(text: str) -> dict[str, int] | None:
    pairs = [part.partition("=") for part in text.split(",")]
    return {key.strip(): int(rank) for key, _, rank in pairs if rank.strip().isdigit()} or None


SPELLED: Mapping[str, Callable[[str], object]] = {
    "dora_axis": lambda text: "output" if text.lower() == "true" else "input",
    "preset": lambda text: None if text.endswith(".toml") else text,
    "include": _patterns, "exclude": _patterns, "module_ranks": _module_ranks,
}  # fmt: skip
"""Settings whose values are neither numbers nor flags."""


def _of_lycoris(made: Translation, kind: str, known: set[str]) -> None:
    """Write LyCORIS' defaults, where ours differ."""
    put, usual = made.draft.put, "LyCORIS' default"
    given = made.options.given
    if "preset" in known and not given("network_args.preset"):
        put(f"{TRAIN}.adapter.preset", "full", usual)
    if "conv_rank" in known and not given("network_args.conv_dim"):
        put(f"{TRAIN}.adapter.conv_rank", made.options.whole("network_dim") or USUAL_RANK, f"{usual}: as network_dim")
    if "conv_alpha" in known and not given("network_args.conv_alpha"):
        put(
            f"{TRAIN}.adapter.conv_alpha",
            made.options.number("network_alpha", USUAL_ALPHA),
            f"{usual}: as network_alpha",
        )
    if kind == "lokr" and not given("network_args.factor"):
        put(f"{TRAIN}.adapter.factor", -1, usual)
    if made.draft.get(f"{TRAIN}.adapter.dora") and not given("network_args.wd_on_output"):
        put(f"{TRAIN}.adapter.dora_axis", "output", f"{usual} since 3.2")


def _embedding(made: Translation) -> None:
    put, options = made.draft.put, made.options
    put(f"{TRAIN}.adapter.type", "embedding", made.configuration.script)
    made.use("token_string", "adapter.trigger", options.text("token_string", "word"), usual="name the word")
    made.use("num_vectors_per_token", "adapter.vectors", options.whole("num_vectors_per_token", 1))
    if options.given("init_word"):
        made.use("init_word", "adapter.init", options.text("init_word"))
    if options.given("weights"):
        made.refuse("weights", "an embedding starts from words here (init_word)")
    made.effective["trained"] = f"{options.whole('num_vectors_per_token', 1)} vectors of one word"


def _finetune(made: Translation) -> None:
    made.draft.put(f"{TRAIN}.adapter.type", "finetune", f"{made.configuration.script}.py trains the whole model")
    if made.options.flag("full_bf16"):
        made.draft.put(f"{TRAIN}.adapter.weights", "bf16", made.options.mark("full_bf16"))
    if made.options.flag("fused_backward_pass"):
        made.use("fused_backward_pass", "adapter.fused_backward", True)
    made.effective["trained"] = "every weight of the base (a fine-tune)"
