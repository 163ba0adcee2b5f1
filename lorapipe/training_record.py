"""The record of a training: `training.json` beside its snapshots.

It has no times or absolute paths, so that the same training gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.spec import Duration


@dataclass(frozen=True)
class TrainingRecord:
    """The base, settings and data of a training.

    `settings` are the train stage's knobs in document form. `rates` are the learning rates by part as they were used;
    `tags` counts each tag of the captions per folder; `buckets` counts pictures as `{"512x768": 3}`; `folders` has of each
    its `n_repeats` and `img_count`. `stopped` says why it was stopped early, after `steps`; empty where it was not.
    """

    family: str
    base_model_version: str
    architecture: str
    prediction: str
    base_name: str
    settings: Mapping[str, Any]
    rates: Mapping[str, float]
    rank: int
    alpha: float
    pictures: int
    pictures_per_epoch: int
    batches_per_epoch: int
    steps: int
    resolution: tuple[int, int]
    buckets: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warmup_steps: int = 0
    zero_terminal_snr: bool = False
    regularisation_per_epoch: int = 0
    held_out: int = 0
    folders: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    regularisation_folders: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    augmented: Mapping[str, bool] = field(default_factory=dict)
    stopped: str = ""

    @property
    def reading(self) -> dict[str, Any]:
        """How captions were encoded, and prompts must be: arguments of `Model.encode_text`."""
        found = {name: self.settings[name] for name in ("max_tokens", "clip_skip")}
        return found | {"weighted": (self.settings.get("captions") or {}).get("weighted", False)}

    @property
    def planned_steps(self) -> int:
        """The steps of the whole schedule: more than `steps` where the training was stopped, or ended before (`until`)."""
        length = Duration.parse(self.settings.get("steps", self.steps), Path())
        return length.steps(self.batches_per_epoch / self.settings.get("accumulation", 1))

    def save(self, path: Path) -> None:
        """Write the record atomically as JSON."""
        told = {name: value for name, value in dataclasses.asdict(self).items() if name != "stopped" or value}
        text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False)
        write_text(f"{text}\n", path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record. `InputError` if the file is invalid."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            known = {each.name for each in dataclasses.fields(cls)}
            kept = {name: value for name, value in data.items() if name in known}  # others are from an earlier version
            return cls(**{**kept, "resolution": tuple(data["resolution"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"is not a training record: {error}.", where=str(path), cure="Train again.") from None
