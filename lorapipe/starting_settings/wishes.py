"""What a user wants to train, which cannot be seen in the pictures: the flags and questions of `lorapipe new`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lorapipe.errors import Problem
from lorapipe.models import Checkpoint
from lorapipe.spec import Spec, param
from lorapipe.training.subjects import CATEGORIES, SUBJECTS, Difficulty, Subject

USUAL: dict[Subject, Difficulty] = {"character": "B", "style": "C", "concept": "C", "vehicle": "E"}
"""The difficulty of a subject where none is given."""


@dataclass(frozen=True)
class Wishes(Spec):
    """What is trained, on what, and for which card."""

    subject: Subject = param("character", "what is trained: " + "; ".join(f"{k}: {v}" for k, v in SUBJECTS.items()))
    difficulty: Difficulty | None = param(
        None,
        "how difficult the subject is: "
        + "; ".join(f"{letter}: {category.what}" for letter, category in CATEGORIES.items())
        + ". Male characters count half a category more, where captions say so (1boy, man)",
    )
    quality: Literal["good", "poor"] = param(
        "good", "how good the pictures are: sharp, varied and of the subject alone, or the best that there are"
    )
    base: Checkpoint | None = param(
        None, "the base model: a diffusers folder, a .safetensors or .ckpt file; empty: the bundled pocket base"
    )
    vram: float | None = param(None, "memory of the graphics card in GB; empty: no limit", gt=0, le=1000)
    aim: Literal["quality", "training-speed"] = param(
        "quality", "what matters more: the result, or the time that the training takes"
    )
    trigger: str = param("", "the word that shall call the subject; empty: from the captions, or the folder's name")

    def problems(self) -> Iterator[Problem]:
        if self.subject == "vehicle" and self.difficulty and not "C" <= self.difficulty <= "G":
            yield Problem("a vehicle is of C to G, by detail.", cure="Write E.", path=("difficulty",))

    @property
    def category(self) -> Difficulty:
        """The difficulty, or the usual one of the subject."""
        return self.difficulty or USUAL[self.subject]
