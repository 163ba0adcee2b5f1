"""Facts about a training from a file's metadata (kohya's `ss_*` and modelspec)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

MOST_TAGS = 10
FIELDS: Mapping[str, tuple[str, ...]] = {
    "title": ("modelspec.title", "ss_output_name"),
    "base": ("ss_base_model_version", "modelspec.architecture"),
    "base_file": ("ss_sd_model_name",),
    "network": ("ss_network_module",),
    "network_args": ("ss_network_args",),
    "rank": ("ss_network_dim",),
    "alpha": ("ss_network_alpha",),
    "steps": ("ss_steps", "ss_max_train_steps"),
    "epochs": ("ss_epoch", "ss_num_epochs"),
    "rate": ("ss_learning_rate",),
    "unet_rate": ("ss_unet_lr",),
    "text_encoder_rate": ("ss_text_encoder_lr",),
    "optimizer": ("ss_optimizer",),
    "scheduler": ("ss_lr_scheduler",),
    "pictures": ("ss_num_train_images",),
    "resolution": ("ss_resolution", "modelspec.resolution"),
    "clip_skip": ("ss_clip_skip",),
    "seed": ("ss_seed",),
    "comment": ("ss_training_comment",),
    "author": ("modelspec.author",),
    "date": ("modelspec.date",),
    "trainer": ("lorapipe_version", "ss_sd_scripts_commit_hash", "modelspec.implementation", "software"),
}
"""Fact → the metadata fields that may have it; the first that is not empty counts."""
NOTHING = ("", "None", "null", "{}")
TRIGGERS = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_word", "instance_prompt")
MOST_LETTERS = 300


def of_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that the metadata has, each shortened to a line."""
    found = {fact: _first(metadata, fields) for fact, fields in FIELDS.items()}
    return {fact: value for fact, value in found.items() if value}


def trigger(metadata: Mapping[str, str]) -> str:
    """Return the trigger word or phrase; empty if there is none."""
    return _first(metadata, TRIGGERS)


def tags(metadata: Mapping[str, str]) -> dict[str, int]:
    """Return the most frequent tags of the captions with their counts, over all folders."""
    try:
        told = json.loads(metadata.get("ss_tag_frequency", "{}"))
        counts = Counter[str]()
        for folder in told.values():
            counts.update({str(tag).strip(): int(count) for tag, count in folder.items()})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
    return dict(counts.most_common(MOST_TAGS))


def _first(metadata: Mapping[str, str], fields: tuple[str, ...]) -> str:
    return next(_said(metadata, fields), "")


def _said(metadata: Mapping[str, str], fields: tuple[str, ...]) -> Iterator[str]:
    for field in fields:
        value = " ".join(metadata.get(field, "").split())
        if value not in NOTHING:
            yield value if len(value) <= MOST_LETTERS else f"{value[:MOST_LETTERS]}…"
