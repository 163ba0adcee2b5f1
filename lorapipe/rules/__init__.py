"""Rules: settings of a training that are valid, but probably not what its user wants, each with the reason and the change.

They come from the training guide and from what goes wrong with the reference trainers. A rule is a class in a file here; the
file's name is its id, which `allow: [ID]` in the training silences. `findings` gets the settings and what is known of the
pictures (`Facts`), and yields what it finds. A rule of level `error` refuses the pipeline, also while it is loaded, so it
must use the settings alone; others are told by `check`, `plan` and before a run.

To add one, create a file here, and a case on either side in `tests/contracts/test_rules.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.errors import Problem
from lorapipe.registry import Registry

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.training.options import TrainingOptions

Level = Literal["warning", "error"]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Pictures:
    """What is known of one dataset before a run: `stage` is the name of the stage that prepares it.

    `count` are the pictures to train on, `showings` those of an epoch, repeats included, `repeats` the least and the most
    of one picture. `sizes` are (width, height) in pixels. `captions` are as the trainer reads them, empty ones included;
    `written` is how many come from files.
    """

    stage: str
    count: int = 0
    showings: int = 0
    repeats: Pair = (1, 1)
    sizes: tuple[Pair, ...] = ()
    captions: tuple[str, ...] = ()
    written: int = 0
    resolution: Pair | None = None
    flip: bool = False
    enlarges: bool = True
    """Whether pictures smaller than the resolution are enlarged."""


@dataclass(frozen=True)
class Facts:
    """What is known beside a training's settings. Datasets that do not exist yet, or are not folders, are left out.

    `total` is the number of steps, None if unknown; `per_epoch` those of an epoch. `base_name` is the checkpoint's file.
    """

    base: Family | None = None
    base_name: str = ""
    datasets: tuple[Pictures, ...] = ()
    regularisation: Pictures | None = None
    total: int | None = None
    per_epoch: float = 1.0

    @property
    def pictures(self) -> int:
        """Number of pictures to train on, regularisation left out; 0 if unknown."""
        return sum(each.count for each in self.datasets)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The captions of all datasets but regularisation."""
        return tuple(caption for each in self.datasets for caption in each.captions)

    @property
    def is_pocket(self) -> bool:
        """Whether the base is the bundled pocket base, which has other rates and sizes than real ones."""
        return self.base_name == "pocket"


@dataclass(frozen=True)
class Finding:
    """What a rule found: a sentence with the values, the setting's address in the training, and what to write instead.

    Where the setting is in another stage, `stage` is its name. Without a `change`, the rule's holds.
    """

    what: str
    path: tuple[str | int, ...] = ()
    change: str = ""
    stage: str = ""


class Rule(ABC):
    """Something that a training's settings should not do without a reason. Its docstring says what."""

    registry: ClassVar[Registry[Rule]]
    level: ClassVar[Level] = "warning"
    why: ClassVar[str]
    """The reason, a sentence."""
    change: ClassVar[str]
    """What to write instead, a sentence."""

    @abstractmethod
    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        """Yield what is found. Unknown facts are empty or None: a rule that needs them then yields nothing."""


Rule.registry = Registry(__name__, Rule)  # type: ignore[type-abstract]  # the contract of its files


def names() -> list[str]:
    """Return the ids of all rules, sorted."""
    return Rule.registry.names()


def problems(training: TrainingOptions, facts: Facts, level: Level | None = None, stage: str = "") -> Iterator[Problem]:
    """Yield the findings of all rules (of a level), without those that the training allows, the gravest first.

    A problem's path begins with a stage's name: the training's (`stage`, if given), or that of a finding.
    """
    for name in sorted(set(names()) - set(training.allow), key=_gravity):
        rule = Rule.registry.get(name)
        if level is None or rule.level == level:
            for found in rule().findings(training, facts):
                place = found.stage or stage
                path = (place, *found.path) if place else found.path
                yield Problem(f"{found.what} {rule.why}", cure=found.change or rule.change, path=path, rule=name)


def _gravity(name: str) -> tuple[bool, str]:
    return Rule.registry.get(name).level != "error", name
