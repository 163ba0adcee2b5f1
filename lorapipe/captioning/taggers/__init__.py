"""Taggers: models that caption pictures.

A tagger is a spec; `load` makes the model. It captions pictures in batches, while other threads decode the next ones and
call `prepare`. `mistakes` says what is wrong with its files before anything is loaded.

To add one, create a file here; import torch and the like inside methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.spec import Spec, param

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Tagging:
    """What a tagger says of a picture: the caption, and how sure it is of each tag (0 … 1), where it knows."""

    caption: str
    scores: Mapping[str, float] = field(default_factory=dict)


class LoadedTagger(ABC):
    """A tagger's model in memory. `notes` are warnings for the user."""

    notes: tuple[str, ...] = ()

    @abstractmethod
    def prepare(self, picture: Image) -> Any:
        """Return what `tag` needs of a picture (RGB, upright, any size). Threads call it, several at once."""

    @abstractmethod
    def tag(self, prepared: Sequence[Any]) -> list[Tagging]:
        """Return what the model says of a batch of prepared pictures, in order."""


@dataclass(frozen=True)
class Tagger(Spec, contract="type"):
    """A model that captions pictures."""

    batch: int = param(
        8, "pictures that are computed at once; fewer need less memory", ge=1, le=1024, content=False, rare=True
    )

    @abstractmethod
    def load(self, device: str) -> LoadedTagger:
        """Load the model on a torch device (cpu, cuda:0, mps). `InputError` if its files are unusable."""

    def files(self) -> Iterator[Path]:
        """Yield the files and folders that it reads."""
        return iter(())
