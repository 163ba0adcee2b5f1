"""Caption augmentation, in the order of kohya's `process_caption`."""

from __future__ import annotations

from collections.abc import Callable

from lorapipe.config_import.mapping import Translation
from lorapipe.config_import.option_values import Options

RAW = ("caption_prefix", "caption_suffix", "enable_wildcard", "secondary_separator")
"""Options that sd-scripts passes over where it caches text encoder outputs."""
VARYING = ("shuffle_caption", "caption_dropout_rate", "caption_tag_dropout_rate", "token_warmup_step")
"""Options at which it stops there."""
CACHED_TEXT = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
Use = Callable[[str, str, object], None]
"""Writes the option `name` as the setting `knob` of `captions`."""
TEXTS = {"caption_prefix": "prefix", "caption_suffix": "suffix", "caption_separator": "separator",
         "secondary_separator": "secondary_separator"}  # fmt: skip


def captioning(made: Translation, view: Options, is_frozen: bool) -> dict[str, tuple[object, str]]:
    """Return the settings of `captions` with their comments, and settle the options. `is_frozen`: no encoder is trained."""
    found: dict[str, tuple[object, str]] = {}

    def use(name: str, knob: str, value: object) -> None:
        found[knob] = (value, view.mark(name, usual=made.usual))
        view.settle(name, "used", f"captions.{knob}: {value}")

    _texts(view, use, encodes_raw(made))
    _dropped(view, use)
    _flag(view, use, "shuffle_caption", "shuffle")
    dropped = view.number("caption_tag_dropout_rate") or 0.0
    if 0 < dropped < 1:
        use("caption_tag_dropout_rate", "tag_dropout", dropped)
    else:
        view.settle("caption_tag_dropout_rate", "no effect", "0 is off")
    warmed = _token_warmup(view, use, is_frozen)
    _kept(view, use, "shuffle" in found or "tag_dropout" in found or warmed)
    _flag(view, use, "weighted_captions", "weighted")
    return found


def _texts(view: Options, use: Use, is_raw: bool) -> None:
    """Write prefix, suffix, separators and wildcards; `is_raw`: the original encodes captions as they are in the files."""
    for name in RAW if is_raw else ():
        what = "cache_text_encoder_outputs encodes captions as they are in the files, and does not say so"
        view.settle(name, "no effect", what)
    for name, knob in TEXTS.items():
        text = view.text(name)
        if text and not (is_raw and name in RAW) and (name, text) != ("caption_separator", ","):
            use(name, knob, text)
    view.settle("caption_separator", "used", "captions.separator: ,")
    if not is_raw:
        _flag(view, use, "enable_wildcard", "wildcards")


def _flag(view: Options, use: Use, name: str, knob: str) -> None:
    if view.flag(name):
        use(name, knob, True)
    else:
        view.settle(name, "no effect", "is off")


def encodes_raw(made: Translation) -> bool:
    """Whether the original caches the text encoders' outputs, which it makes of captions without prefix and the like."""
    return any(made.options.flag(name) for name in CACHED_TEXT)


def _dropped(view: Options, use: Use) -> None:
    """Write the dropout of whole captions; `caption_dropout_every_n_epochs=1` drops every caption."""
    rate, every = view.number("caption_dropout_rate") or 0.0, view.whole("caption_dropout_every_n_epochs")
    if every == 1:
        use("caption_dropout_every_n_epochs", "dropout", 1.0)
        view.settle(
            "caption_dropout_rate", "no effect", "caption_dropout_every_n_epochs=1 drops every caption of every epoch"
        )
        return
    if 0 < rate <= 1:
        use("caption_dropout_rate", "dropout", rate)
    else:
        view.settle("caption_dropout_rate", "no effect", "0 is off")
    if every > 1:
        use("caption_dropout_every_n_epochs", "dropout_epochs", every)
    else:
        view.settle("caption_dropout_every_n_epochs", "no effect", "0 is off")


def _token_warmup(view: Options, use: Use, is_frozen: bool) -> bool:
    steps = view.number("token_warmup_step") or 0.0
    if steps <= 0:
        view.settle("token_warmup_step", "no effect", "0 is off")
        view.settle("token_warmup_min", "no effect", "there is no token warm-up")
        return False
    if is_frozen:
        reason = "with a frozen text encoder captions are encoded before the training; use captions.tag_dropout"
        view.settle("token_warmup_step", "refused", reason)
        view.settle("token_warmup_min", "no effect", "there is no token warm-up")
        return False
    use("token_warmup_step", "token_warmup_step", f"{steps * 100:g} %" if steps < 1 else f"{int(steps)} steps")
    if view.given("token_warmup_min"):
        use("token_warmup_min", "token_warmup_min", view.whole("token_warmup_min", 1))
    return True


def _kept(view: Options, use: Use, is_rearranged: bool) -> None:
    """Write the tags that stay in place, which only matters where others move."""
    reason = "tags are neither shuffled nor dropped, so all stay"
    kept, mark = view.whole("keep_tokens"), view.text("keep_tokens_separator")
    if kept > 0 and is_rearranged:
        use("keep_tokens", "keep_tokens", kept)
    else:
        view.settle("keep_tokens", "no effect", reason if kept > 0 else "0 keeps none")
    if mark and is_rearranged:
        use("keep_tokens_separator", "keep_separator", mark)
    else:
        view.settle("keep_tokens_separator", "no effect", reason)
