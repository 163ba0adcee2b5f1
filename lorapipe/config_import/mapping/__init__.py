"""Translation of kohya's options to a pipeline: one module for each part of a training.

Every function takes the `Translation`, writes what its options mean, defaults of the original included, and says of each
option what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lorapipe.config_import.configuration import Configuration
from lorapipe.config_import.draft import Draft
from lorapipe.config_import.option_values import Ledger, Options

TRAIN, FILE = "lora", "file"
"""Names of the stages."""
SET = "kohya's default"
"""The comment of a value that is not written in the original, where lorapipe's default differs."""


@dataclass
class Translation:
    """A configuration on its way to a pipeline."""

    configuration: Configuration
    options: Options
    ledger: Ledger
    folder: Path
    """The folder of the configuration's file, from which relative paths start."""
    target: Path
    """The folder of the pipeline's file."""
    draft: Draft = field(default_factory=Draft)
    conflicts: list[str] = field(default_factory=list)
    """What cannot work together in the original."""
    differences: list[str] = field(default_factory=list)
    """What lorapipe does otherwise."""
    effective: dict[str, str] = field(default_factory=dict)
    """Values that result from several options."""
    views: list[Options] = field(default_factory=list)
    """The options of each subset of a dataset's file."""
    pictures: list[tuple[str, int | None, int]] = field(default_factory=list)
    """Of each folder of training pictures: its name, its number of pictures (None: unknown), its repeats."""
    base: Mapping[str, object] = field(default_factory=dict)
    """The base of the prepare stages, in document form."""

    @property
    def family(self) -> str:
        """The family of the base."""
        return str(self.base.get("family", "sd15"))

    @property
    def usual(self) -> str:
        """The comment of a default of the original."""
        name = self.configuration.trainer
        return SET if name.startswith("kohya") else f"{name}'s default"

    def use(self, name: str, path: str, value: object, usual: str = "") -> None:
        """Write an option's value at a place; `usual` is the comment where the option is not written."""
        full = path if path.startswith(("dataset", "regularisation", FILE)) else f"{TRAIN}.{path}"
        self.draft.put(full, value, self.options.mark(name, usual=usual or self.usual))
        self.options.settle(name, "used", f"{full}: {shown(value)}")

    def say(self, name: str, text: str) -> None:
        """Say what an option was translated to."""
        self.options.settle(name, "translated", text)

    def idle(self, name: str, reason: str) -> None:
        """Say why an option has no effect in the original."""
        self.options.settle(name, "no effect", reason)

    def refuse(self, name: str, reason: str) -> None:
        """Say why an option is not offered."""
        self.options.settle(name, "refused", reason)


def shown(value: object) -> str:
    """Return a value as the pipeline has it, shortened."""
    from lorapipe.config_import.draft import scalar
    from lorapipe.errors import shortened

    return shortened(scalar(value), 80)
