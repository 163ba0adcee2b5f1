"""What a configuration of another trainer says: its options, with their places, before any of them is translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["used", "translated", "no effect", "refused", "unknown"]
"""What became of an option. `used`: a setting of the same meaning; `translated`: other settings, or what always happens
here; `no effect`: it did nothing in the original either; `refused`: not offered here; `unknown`: not understood."""
KINDS: tuple[Kind, ...] = ("used", "translated", "no effect", "refused", "unknown")

SECRETS = ("api_key", "huggingface_token", "password", "secret")
"""Parts of names of options whose values are not shown."""


@dataclass(frozen=True)
class Outcome:
    """What became of an option, with the reason or the place in the pipeline."""

    kind: Kind
    text: str


@dataclass(eq=False)
class Option:
    """A key of the configuration. Two options are equal only if they are the same key in the same place.

    `name` is kohya's name for it, `written` the name in the file; `unresolved` says why its value is unknown. `outcome` is
    set where the reader already knows what becomes of it.
    """

    name: str
    value: object
    written: str
    file: str = ""
    line: int = 0
    unresolved: str = ""
    outcome: Outcome | None = None

    @property
    def place(self) -> str:
        """`train.sh:12`."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Remark:
    """Something in the file that is no option: a line that was not understood, a second training."""

    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.text}"


@dataclass(frozen=True)
class Subset:
    """A folder of pictures with the options that apply to it alone; `dataset` are those of the group it belongs to."""

    own: Sequence[Option]
    dataset: Sequence[Option] = ()
    general: Sequence[Option] = ()


@dataclass
class Configuration:
    """All options of one training.

    `trainer` names the program, `script` its training script (`sdxl_train_network`), `implied` the values of options that
    are not written, where they differ from kohya's defaults. `linked` are files that options name, to be read too.
    """

    trainer: str
    script: str = "train_network"
    options: list[Option] = field(default_factory=list)
    subsets: list[Subset] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    implied: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """The metadata of a file that lorapipe has made, which holds every setting."""

    @property
    def keys(self) -> list[Option]:
        """Every option of the input, each once, in the order of the files."""
        grouped = [part for subset in self.subsets for part in (subset.general, subset.dataset, subset.own)]
        inside = [option for part in grouped for option in part]
        return list({id(option): option for option in (*self.options, *inside)}.values())
