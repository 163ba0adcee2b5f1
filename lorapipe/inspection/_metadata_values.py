"""Typed access to a file's metadata, whose values are text, with a record of what has been read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NOTHING = frozenset({"", "none", "null", "{}", "[]", "()"})
"""Texts that mean no value, in small letters."""
SILENT = ("False", "0", "0.0")
"""Values of unread fields that mean nothing was asked for."""
BESIDE = (
    "ss_session_id", "ss_training_started_at", "ss_training_finished_at", "ss_output_name", "ss_steps", "ss_epoch",
    "ss_num_epochs", "ss_num_train_images", "ss_num_reg_images", "ss_num_validation_images", "ss_num_batches_per_epoch",
    "ss_sd_scripts_commit_hash", "ss_training_comment", "ss_tag_frequency", "ss_bucket_info", "ss_cache_latents",
    "ss_total_batch_size", "ss_lowram", "ss_resize_interpolation", "ss_text_encoder_2_lr", "ss_validation_seed",
    "ss_max_validation_steps", "ss_validate_every_n_epochs", "ss_validate_every_n_steps", "ss_enable_bucket",
    "ss_learning_rate", "ss_highvram", "ss_xformers",
)  # fmt: skip
"""Fields that need no setting: facts of one run, and what is always so here."""


class Metadata:
    """A file's metadata. Each method returns a field's value as a type, and an empty or default one where there is none."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = fields
        self._read: set[str] = set()

    def take(self, *names: str) -> None:
        """Count fields as read."""
        self._read.update(names)

    def read_all(self, *starts: str) -> None:
        """Count all fields with one of these beginnings as read."""
        self._read.update(name for name in self.fields if name.startswith(starts))

    def text(self, name: str) -> str:
        """Return a field's text on one line; empty where there is none."""
        self._read.add(name)
        value = " ".join(str(self.fields.get(name, "")).split())
        return "" if value.lower() in NOTHING else value

    def flag(self, name: str) -> bool:
        """Return whether a field says True."""
        return self.text(name).lower() in ("true", "1")

    def number(self, name: str) -> int | float | None:
        """Return a field's number, whole where it is; None where there is none."""
        return as_number(self.text(name))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return a field's JSON object; None where there is none."""
        found = self.json(name)
        return found if isinstance(found, dict) else None

    def json(self, name: str) -> object:
        """Return a field's JSON value; None where there is none."""
        try:
            found: object = json.loads(self.text(name))
        except (ValueError, RecursionError):
            return None
        return found

    def unread(self) -> list[str]:
        """Return the `ss_*` fields with a value that nothing has read."""
        known = self._read.union(BESIDE)
        names = (name for name in self.fields if name.startswith("ss_") and name not in known)
        return sorted(name for name in names if self.text(name) and self.text(name) not in SILENT)


def as_number(text: str) -> int | float | None:
    """Return a text's number, whole where it is; None where it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def as_value(text: str) -> object:
    """Return a text as it would be written in YAML: a truth value, a number, a list of numbers, or the text."""
    plain = text.strip()
    if plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    if (number := as_number(plain)) is not None:
        return number
    items = [as_number(each.strip()) for each in plain.strip("[]()").split(",") if each.strip()]
    return items if len(items) > 1 and None not in items else plain
